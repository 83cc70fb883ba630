"""Node.js: ioredis and node-redis, from the npm registry."""

from __future__ import annotations

from pathlib import Path

from tests.clients.harness.npm import node_modules
from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import tool

PACKAGES = ("ioredis@^6", "redis@^6")


def _program(library: str, script: str) -> Program:
    def command(_: Path) -> list[str | Path]:
        modules = node_modules(*PACKAGES)
        return ["env", f"NODE_PATH={modules}", tool("node", "nodejs"), Path(__file__).with_name(script)]

    return Program("Node.js", library, command)


PROGRAMS = [
    _program("ioredis", "ioredis.js"),
    _program("node-redis", "node_redis.js"),
]
