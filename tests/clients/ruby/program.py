"""Ruby: redis-rb from Debian's package."""

from __future__ import annotations

from pathlib import Path

from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import require, tool

SOURCE = Path(__file__).with_name("client.rb")


def command(directory: Path) -> list[str | Path]:
    """The interpreter and the script."""
    ruby = tool("ruby")
    require("ruby-redis", ruby, "-e", "require 'redis'")
    return [ruby, SOURCE]


PROGRAMS = [Program("Ruby", "redis-rb", command, lacks={"RESP3": "redis-rb 4 speaks RESP2 only"})]
