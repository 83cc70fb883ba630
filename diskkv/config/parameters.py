"""One entry of the parameter table, and the functions that declare entries inside a settings class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack, cast

from diskkv.codec.numbers import INT64_MAX
from diskkv.config import kinds
from diskkv.config.kinds import INT32_MAX, BufferLimits, Kind


class Options(TypedDict, total=False):
    """What every declaration takes besides type, default and description."""

    immutable: bool
    protected: bool
    aliases: tuple[str, ...]
    ignored: str
    secret: bool
    hidden: bool
    volatile: bool
    unit: str


@dataclass(slots=True)
class Parameter:
    """One configuration parameter.

    `immutable`: only at start. `protected`: CONFIG SET only as `enable-protected-configs` allows. `aliases`: other
    names of the same value, in files and CONFIG alike. `ignored`: why it is accepted without any effect, or empty.
    `secret`: never shown in errors. `hidden`: a directive for files and command lines that CONFIG does not know.
    `volatile`: the name of something that can change by itself; setting it counts as a change with the same value too.
    """

    kind: Kind
    default: Any
    doc: str
    immutable: bool = False
    protected: bool = False
    aliases: tuple[str, ...] = ()
    ignored: str = ""
    secret: bool = False
    hidden: bool = False
    volatile: bool = False
    unit: str = ""
    name: str = field(default="", init=False)
    attribute: str = field(default="", init=False)
    section: str = field(default="", init=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The name and all aliases."""
        return (self.name, *self.aliases)


def yes_no(default: bool, doc: str, **options: Unpack[Options]) -> bool:
    """Declare a yes/no parameter."""
    return cast(bool, Parameter(kinds.Boolean(), default, doc, **options))


def integer(
    default: int,
    low: int,
    high: int,
    doc: str,
    *,
    unsigned: bool = False,
    clamp: tuple[int, int] | None = None,
    **options: Unpack[Options],
) -> int:
    """Declare a whole number from `low` to `high`, both included."""
    return cast(int, Parameter(kinds.Integer(low, high, unsigned, clamp), default, doc, **options))


def count(default: int, doc: str, *, low: int = 0, **options: Unpack[Options]) -> int:
    """Declare an unsigned 64-bit number."""
    return integer(default, low, INT64_MAX, doc, unsigned=True, **options)


def seconds(default: int, doc: str, *, low: int = 0, high: int = INT32_MAX, **options: Unpack[Options]) -> int:
    """Declare a number of seconds."""
    options.setdefault("unit", "seconds")
    return integer(default, low, high, doc, **options)


def memory(
    default: int, doc: str, *, low: int = 0, high: int = INT64_MAX, signed: bool = False, **options: Unpack[Options]
) -> int:
    """Declare a memory size."""
    options.setdefault("unit", "bytes")
    return cast(int, Parameter(kinds.Memory(low, high, not signed), default, doc, **options))


def memory_or_percent(default: int, doc: str, **options: Unpack[Options]) -> int:
    """Declare a memory size or a percentage, which is a negative number."""
    return cast(int, Parameter(kinds.MemoryOrPercent(0, INT64_MAX, False), default, doc, **options))


def octal(default: int, doc: str, **options: Unpack[Options]) -> int:
    """Declare file permissions."""
    return cast(int, Parameter(kinds.Octal(), default, doc, **options))


def choice(
    default: str, words: str, doc: str, *, synonyms: dict[str, str] | None = None, **options: Unpack[Options]
) -> str:
    """Declare one of several words, given as one text separated by spaces."""
    return cast(str, Parameter(kinds.Choice(words.split(), synonyms), default, doc, **options))


def flags(default: str, words: str, doc: str, **options: Unpack[Options]) -> str:
    """Declare a set of words; the first one stands for none."""
    return cast(str, Parameter(kinds.Flags(words.split()), default, doc, **options))


def text(
    default: str, doc: str, *, forbidden: str = "", complaint: str = "", what: str = "text", **options: Unpack[Options]
) -> str:
    """Declare any text."""
    return cast(str, Parameter(kinds.Text(forbidden, complaint, what), default, doc, **options))


def secret(doc: str, **options: Unpack[Options]) -> str:
    """Declare a password, empty by default."""
    options["secret"] = True
    return cast(str, Parameter(kinds.Text(), "", doc, **options))


def time_window(doc: str, **options: Unpack[Options]) -> str:
    """Declare a part of the day, none by default."""
    return cast(str, Parameter(kinds.TimeWindow(), "", doc, **options))


def no_master(doc: str, **options: Unpack[Options]) -> str:
    """Declare the master, which must be none."""
    return cast(str, Parameter(kinds.NoMaster(), "", doc, **options))


def words(default: Sequence[str], doc: str, **options: Unpack[Options]) -> tuple[str, ...]:
    """Declare any number of words."""
    return cast(tuple[str, ...], Parameter(kinds.Words(), tuple(default), doc, **options))


def save_points(
    default: tuple[tuple[int, int], ...], doc: str, **options: Unpack[Options]
) -> tuple[tuple[int, int], ...]:
    """Declare pairs of seconds and changes."""
    return cast(tuple[tuple[int, int], ...], Parameter(kinds.SavePoints(), default, doc, **options))


def output_buffers(default: BufferLimits, doc: str, **options: Unpack[Options]) -> BufferLimits:
    """Declare the limits of the three client classes."""
    return cast(BufferLimits, Parameter(kinds.OutputBuffers(), default, doc, **options))


def oom_scores(default: tuple[int, int, int], doc: str, **options: Unpack[Options]) -> tuple[int, int, int]:
    """Declare three OOM scores."""
    return cast(tuple[int, int, int], Parameter(kinds.OomScores(), default, doc, **options))


def percentiles(default: tuple[float, ...], doc: str, **options: Unpack[Options]) -> tuple[float, ...]:
    """Declare any number of percentages."""
    return cast(tuple[float, ...], Parameter(kinds.Percentiles(), default, doc, **options))


def event_classes(doc: str, **options: Unpack[Options]) -> str:
    """Declare keyspace event classes, none by default."""
    return cast(str, Parameter(kinds.EventClasses(), "", doc, **options))


def collected(count: int, exact: bool, what: str, doc: str) -> tuple[tuple[str, ...], ...]:
    """Declare a directive whose lines add up; CONFIG does not know it."""
    kind = kinds.Collected(count, exact, what)
    return cast(tuple[tuple[str, ...], ...], Parameter(kind, (), doc, immutable=True, hidden=True))
