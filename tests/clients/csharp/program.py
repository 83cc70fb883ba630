"""C#: no registry at hand has a client library for mono, so this speaks the protocol through the platform's sockets."""

from __future__ import annotations

from pathlib import Path

from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import build, tool

_HERE = Path(__file__).parent


def command(directory: Path) -> list[str | Path]:
    mono, compiler = tool("mono"), tool("mcs")
    sources = sorted(_HERE.glob("*.cs"))
    build([compiler, "-warnaserror", "-r:System.dll", "-r:System.Core.dll", "-out:client.exe", *sources], directory)
    return [mono, directory / "client.exe"]


PROGRAMS = [
    Program("C#", "System.Net.Sockets (mono)", command),
]
