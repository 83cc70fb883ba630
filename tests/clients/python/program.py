"""Python: redis-py, blocking and with asyncio, and coredis, in the interpreter that runs the tests."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import require


def _program(library: str, module: str, script: str, **options: object) -> Program:
    def command(_: Path) -> list[str | Path]:
        require(library, sys.executable, "-c", f"import {module}")
        return [sys.executable, Path(__file__).with_name(script)]

    return Program("Python", library, command, **options)  # type: ignore[arg-type]


PROGRAMS = [
    _program("redis-py", "redis", "redis_py.py"),
    _program("coredis", "coredis", "coredis_client.py"),
    _program("redis-py asyncio", "redis.asyncio", "redis_py_asyncio.py"),
]
