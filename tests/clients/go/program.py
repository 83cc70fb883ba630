"""Go: redigo and go-redis, from Debian's packages of their sources; compiled without any module proxy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import build, require, tool

_HERE = Path(__file__).parent
_GOPATH = "/usr/share/gocode"
_LACKS = {"RESP3": "it speaks RESP2 only"}


def _program(library: str, package: str, source: str) -> Program:
    def command(directory: Path) -> list[str | Path]:
        go = tool("go")
        require(package, "dpkg-query", "-W", package)
        query = ["dpkg-query", "-W", "-f", "${source:Upstream-Version}", package]
        version = subprocess.run(query, check=True, capture_output=True, text=True).stdout
        version = version.removeprefix("1:").partition("+")[0]
        cache = os.environ.get("GOCACHE") or directory / "cache"
        environment = ["env", "GO111MODULE=off", f"GOPATH={_GOPATH}", f"GOCACHE={cache}", "GOFLAGS="]
        flags = ["-ldflags", f"-X main.libraryVersion={version}", "-o", directory / "client"]
        build([*environment, go, "build", *flags, _HERE / "report.go", _HERE / source], directory)
        return [directory / "client"]

    return Program("Go", library, command, lacks=_LACKS)


PROGRAMS = [
    _program("redigo", "golang-github-gomodule-redigo-dev", "redigo.go"),
    _program("go-redis", "golang-gopkg-redis.v5-dev", "goredis.go"),
]
