"""PHP: the phpredis extension and Predis, as Debian packages them."""

from __future__ import annotations

from pathlib import Path

from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import require, tool

_PHPREDIS_LACKS = {"RESP3": "phpredis speaks RESP2 only"}
_PREDIS_LACKS = {"RESP3": "Predis 1 speaks RESP2 only"}


def _phpredis(_: Path) -> list[str | Path]:
    require("php-redis", tool("php"), "-r", "exit(extension_loaded('redis') ? 0 : 1);")
    return ["php", Path(__file__).with_name("phpredis.php")]


def _predis(_: Path) -> list[str | Path]:
    require("php-predis", tool("php"), "-r", "exit(@include('Predis/autoload.php') ? 0 : 1);")
    return ["php", Path(__file__).with_name("predis.php")]


PROGRAMS = [
    Program("PHP", "phpredis", _phpredis, lacks=_PHPREDIS_LACKS),
    Program("PHP", "Predis", _predis, lacks=_PREDIS_LACKS),
]
