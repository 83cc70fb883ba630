"""Example tables: commands only; the expected reply is whatever the reference server says when the test runs.

A table is text. Blocks are separated by blank lines; the first line of a block, after `#`, is the example's name. Lines
are commands in redis-cli's quoting, run on connection 1, or with a prefix:

    2> GET k        on connection 2
    2~ BLPOP l 0    sent on connection 2 without waiting for the reply
    2<              the next reply or push on connection 2
    2!              connection 2 is closed by the server

`{x*70000}` in a word stands for that many x.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.differential.groups import GROUPS, declared
from tests.harness import servers
from tests.harness.compare import explain, same_reply, show
from tests.harness.wire import Reply, Simple, Wire

_PREFIX = re.compile(r"^([1-9])([>~<!])\s*")
_REPEAT = re.compile(rb"\{(.)\*(\d+)\}")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')


_GROUP_OF = {name.encode(): group for group, entry in GROUPS.items() for name in entry.commands.split()}


@dataclass(frozen=True)
class Step:
    """One line of an example: what to do on which connection."""

    connection: int
    action: str
    argv: tuple[bytes, ...]


@dataclass(frozen=True)
class Example:
    """A named sequence of steps that starts on an empty server."""

    name: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return self.name


def split_words(line: str) -> tuple[bytes, ...]:
    """The words of a line; double quotes take escapes as in Python, with every character one byte."""
    words = []
    for word in _WORD.findall(line):
        if word.startswith('"') and word.endswith('"') and len(word) > 1:
            text = word[1:-1].encode().decode("unicode_escape")
        else:
            text = word
        words.append(_REPEAT.sub(lambda match: match[1] * int(match[2]), text.encode("latin-1")))
    return tuple(words)


def parse_examples(text: str) -> list[Example]:
    """The examples of a table that need no group of commands but the declared ones; names must be unique."""
    examples = []
    for block in re.split(r"\n\s*\n", text.strip()):
        title, *lines = [line.strip() for line in block.strip().splitlines()]
        assert title.startswith("# "), f"an example starts with its name: {title!r}"
        steps = []
        for line in lines:
            match = _PREFIX.match(line)
            connection, action = (int(match[1]), match[2]) if match else (1, ">")
            steps.append(Step(connection, action, split_words(line[match.end() :] if match else line)))
        examples.append(Example(title[2:], tuple(steps)))
    names = [example.name for example in examples]
    assert len(set(names)) == len(names), f"a name is used twice: {sorted(names)}"
    return [example for example in examples if not needs(step.argv for step in example.steps) - declared()]


def needs(commands: Iterable[Sequence[bytes]]) -> set[str]:
    """The groups that these commands belong to."""
    return {_GROUP_OF[argv[0].upper()] for argv in commands if argv and argv[0].upper() in _GROUP_OF}


class _Side:
    """One server's connections during an example."""

    def __init__(self, server: servers.ServerProcess, protocol: int) -> None:
        self._server = server
        self._protocol = protocol
        self._wires: dict[int, Wire] = {}
        self.control = server.connect()

    def wire(self, number: int) -> Wire:
        if number not in self._wires:
            wire = self._wires[number] = self._server.connect()
            if self._protocol != 2:
                wire.hello(self._protocol)
        return self._wires[number]

    def do(self, step: Step) -> Reply:
        wire = self.wire(step.connection)
        if step.action == ">":
            wire.send(*step.argv)
            return wire.read_any()
        if step.action == "<":
            return wire.read_any()
        if step.action == "!":
            return wire.is_closed_by_server()
        wire.send(*step.argv)
        # What is sent before a PING on another connection has been read when the second PING is answered: both
        # sockets were readable in the same round of the server's loop, or the first one earlier.
        self.control.call("PING")
        self.control.call("PING")
        return None

    def close(self) -> None:
        for wire in (*self._wires.values(), self.control):
            wire.close()


def run_example(
    example: Example, protocol: int, subject: servers.ServerProcess, reference: servers.ServerProcess
) -> None:
    """Run an example on both servers step by step and compare every reply."""
    sides = []
    try:
        for server in (subject, reference):
            side = _Side(server, protocol)
            sides.append(side)
            assert side.control.call("FLUSHALL") == Simple(b"OK")
        last: dict[int, tuple[bytes, ...]] = {}
        for number, step in enumerate(example.steps, 1):
            last[step.connection] = step.argv or last.get(step.connection, (b"",))
            mine, theirs = (side.do(step) for side in sides)
            argv = last[step.connection]
            where = f"step {number} of {example.name!r}, RESP{protocol}: {step.connection}{step.action} {show(argv)}\n"
            assert same_reply(argv, mine, theirs), where + explain(argv, mine, theirs)
    except BaseException:
        # What the rest of the steps would have undone (a pause, a configuration) must not meet the next example.
        for server in (subject, reference):
            servers.POOL.discard(server)
        raise
    finally:
        for side in sides:
            side.close()
