"""Strategies for command arguments, and the registry that command groups add their commands to.

A group's module declares each command as a sequence of parts, for example

    register("string", command("SET", key("s"), VALUE, maybe(choice("NX", "XX"))))

and every state machine that runs the group draws from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

Part = Any
Argv = list[bytes]
ArgvStrategy = st.SearchStrategy[Argv]

# Relative times stay far enough from now that no run is slow enough to see one pass.
FAR_SECONDS = (b"100000", b"99999999", b"86400000")
FAR_MILLISECONDS = (b"100000000", b"86400000000", b"99999999999")
FAR_UNIX_SECONDS = (b"4102444800", b"4102444801", b"9999999999")
FAR_UNIX_MILLISECONDS = (b"4102444800000", b"4102444800001", b"9999999999999")
PAST_UNIX = (b"1", b"1000", b"1600000000")
BAD_TIMES = (b"0", b"-1", b"x", b"1.5", b"9223372036854775807", b"-9223372036854775808", b"", b"9223372036854776")

_commands: dict[str, dict[str, list[ArgvStrategy]]] = {}


def _strategy(part: Part) -> st.SearchStrategy[Any]:
    if isinstance(part, st.SearchStrategy):
        return part
    return st.just(part)


def _flatten(parts: Any, into: Argv) -> Argv:
    for part in parts:
        if isinstance(part, bytes):
            into.append(part)
        elif isinstance(part, str):
            into.append(part.encode())
        elif isinstance(part, int):
            into.append(b"%d" % part)
        else:
            _flatten(part, into)
    return into


def sequence(*parts: Part) -> ArgvStrategy:
    """All parts one after the other; a part is text, a number, a strategy, or a nesting of these."""
    return st.tuples(*map(_strategy, parts)).map(lambda drawn: _flatten(drawn, []))


def command(name: str, *parts: Part) -> ArgvStrategy:
    """A whole command; `name` may have a subcommand after a space."""
    return sequence(*name.split(" "), *parts)


def choice(*parts: Part) -> st.SearchStrategy[Any]:
    """One of the parts."""
    return st.one_of(*map(_strategy, parts))


def maybe(*parts: Part) -> ArgvStrategy:
    """Nothing, or all the parts."""
    return st.one_of(st.just([]), sequence(*parts))


def many(part: Part, least: int = 1, most: int = 4) -> st.SearchStrategy[list[Any]]:
    """The part drawn `least` to `most` times, repetitions included."""
    return st.lists(_strategy(part), min_size=least, max_size=most)


def counted(part: Part, least: int = 1, most: int = 4, width: int = 1) -> ArgvStrategy:
    """The number of parts, then the parts; now and then the number is wrong.

    Args:
        part: What is counted.
        least: The fewest drawn.
        most: The most drawn.
        width: How many arguments one part is.
    """

    def with_count(drawn: tuple[list[Any], int]) -> Argv:
        items = _flatten(drawn[0], [])
        return [b"%d" % (len(items) // width + drawn[1]), *items]

    return st.tuples(many(part, least, most), _mostly(0, 1, -1)).map(with_count)


def _mostly(usual: int, *others: int) -> st.SearchStrategy[int]:
    return st.sampled_from([usual] * 20 + list(others))


def one_of_bytes(*values: bytes) -> st.SearchStrategy[bytes]:
    """One of the values; the first is what failing examples shrink to."""
    return st.sampled_from(values)


SHARED_KEYS = (b"x", b"", b"\x00\xff", b"{t}1")


def key(kind: str = "") -> st.SearchStrategy[bytes]:
    """A key: mostly one of three that this kind of data likes, else one that all kinds fight for."""
    if not kind:
        return st.sampled_from([b"s1", b"s2", b"h1", b"l1", b"t1", b"z1", *SHARED_KEYS])
    own = [f"{kind}{index}".encode() for index in (1, 2, 3)]
    return st.sampled_from(own * 5 + list(SHARED_KEYS))


VALUE = st.one_of(
    st.sampled_from(
        [
            b"v",
            b"",
            b"0",
            b"1",
            b"-1",
            b"10",
            b"hello world",
            b"\x00",
            b"\xff\x00\xff",
            b"\r\n",
            b"007",
            b" 1",
            b"1 ",
            b"+1",
            b"3.0e3",
            b"9223372036854775807",
            b"-9223372036854775808",
            b"9223372036854775808",
            b"x" * 44,
            b"x" * 45,
            b"x" * 65,
            b"y" * 300,
            b"inf",
            b"nan",
            b"1.5",
        ]
    ),
    st.binary(max_size=12),
)

INTEGER = st.one_of(
    st.sampled_from([b"1", b"0", b"-1", b"2", b"3", b"10", b"100", b"-3", b"-100"]),
    st.integers(-20, 20).map(lambda number: b"%d" % number),
    st.sampled_from(
        [
            b"9223372036854775807",
            b"-9223372036854775808",
            b"9223372036854775808",
            b"4294967296",
            b"-2147483649",
            b"",
            b"x",
            b"1.0",
            b" 1",
            b"+1",
            b"-0",
            b"01",
            b"1\x00",
        ]
    ),
)

FLOAT = st.one_of(
    st.sampled_from([b"1", b"0", b"-1", b"0.1", b"1.5", b"-2.25", b"3", b"1e3", b"100", b"10.5"]),
    st.sampled_from(
        [
            b"inf",
            b"-inf",
            b"+inf",
            b"nan",
            b"",
            b"x",
            b"1e308",
            b"1e-320",
            b" 1",
            b"1 ",
            b"0x10",
            b"-0",
            b"-0.0",
            b"1e400",
            b"9007199254740993",
            b"1.7976931348623157e308",
            b"5e-324",
            b"0.30000000000000004",
            b"1e17",
            b"123456789012345678",
        ]
    ),
    st.integers(-50, 50).map(lambda number: b"%d" % number),
)

SMALL_INDEX = st.integers(-12, 12).map(lambda number: b"%d" % number)
GLOB = st.sampled_from(
    [b"*", b"", b"a*", b"*1", b"[a-c]*", b"[^s]*", b"?1", b"s\\1", b"h[12]", b"s1", b"[", b"\\", b"**1"]
)

EXPIRE_OPTION = st.one_of(
    sequence("EX", st.sampled_from(FAR_SECONDS)),
    sequence("PX", st.sampled_from(FAR_MILLISECONDS)),
    sequence("EXAT", st.sampled_from(FAR_UNIX_SECONDS + PAST_UNIX)),
    sequence("PXAT", st.sampled_from(FAR_UNIX_MILLISECONDS + PAST_UNIX)),
    sequence(choice("EX", "PX", "EXAT", "PXAT", "ex", "pXaT"), st.sampled_from(BAD_TIMES)),
)


def register(group: str, *strategies: ArgvStrategy, name: str = "", weight: int = 1) -> None:
    """Add command strategies to a group.

    Args:
        group: The group's name, as in `groups.py` of the differential tests.
        strategies: Each draws whole commands of one command.
        name: The command's name, which decides whether the subject has it.
        weight: How often it is drawn compared with the others.
    """
    _commands.setdefault(group, {}).setdefault(name.upper(), []).extend(list(strategies) * weight)


def registered(groups: Sequence[str]) -> dict[str, list[ArgvStrategy]]:
    """The strategies of these groups by command name."""
    found: dict[str, list[ArgvStrategy]] = {}
    for group in groups:
        for name, strategies in _commands.get(group, {}).items():
            found.setdefault(name, []).extend(strategies)
    return found


def sloppy(strategy: ArgvStrategy) -> ArgvStrategy:
    """The strategy's commands, of which a few have an argument too many or too few, or another case."""

    def spoil(drawn: tuple[Argv, int]) -> Argv:
        argv, how = drawn
        if how == 1 and len(argv) > 1:
            return argv[:-1]
        if how == 2:
            return [*argv, b"junk"]
        if how == 3:
            return [argv[0].lower(), *argv[1:]]
        return argv

    return st.tuples(strategy, st.sampled_from([0] * 24 + [1, 2, 3])).map(spoil)
