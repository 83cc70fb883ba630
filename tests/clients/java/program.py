"""Java: Jedis, compiled with the JDK's compiler."""

from __future__ import annotations

from pathlib import Path

from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import build, tool
from tests.clients.java.jedis import jedis_jar

SOURCE = Path(__file__).with_name("Client.java")


def command(directory: Path) -> list[str | Path]:
    java, javac = tool("java"), tool("javac")
    jar = jedis_jar(directory)
    flags = ["-J-XX:TieredStopAtLevel=1", "-Xlint:all,-processing", "-Werror"]
    build([javac, *flags, "-cp", jar, "-d", ".", SOURCE], directory)
    # Short runs gain nothing from the second compiler.
    return [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{jar}:{directory}", "Client"]


PROGRAMS = [
    Program("Java", "Jedis", command, lacks={"RESP3": "Jedis 3 speaks RESP2 only"}),
]
