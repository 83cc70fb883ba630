"""The types a parameter can have: how each one reads its argument(s), checks them and prints its value.

Texts are `str`; bytes that are not UTF-8 are kept as surrogate escapes. The messages are those that Redis gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from diskkv.codec.numbers import INT64_MAX, format_memory, parse_float, parse_int64, parse_memory
from diskkv.errors import ConfigError

UINT64_MAX: Final = 2**64 - 1
INT32_MAX: Final = 2**31 - 1
INT32_MIN: Final = -(2**31)
UINT32_MAX: Final = 2**32 - 1


class BufferLimit(NamedTuple):
    """When a client with unread replies is disconnected; 0 is no limit."""

    hard_bytes: int
    soft_bytes: int
    soft_seconds: int


BufferLimits = Mapping[str, BufferLimit]
"""The output buffer limits of the client classes ``normal``, ``replica`` and ``pubsub``."""


class Kind:
    """Base of all parameter types."""

    multi_argument = False
    """Whether a configuration line may have more or fewer than one argument."""
    accumulates = False
    """Whether a further line adds to the value of the ones before it."""

    def read(self, arguments: Sequence[str], current: Any) -> Any:
        """The value for the arguments of one line; ConfigError when they are wrong.

        Args:
            arguments: What follows the name; exactly one unless `multi_argument`.
            current: The value so far, for kinds that change a part of it.
        """
        return self.parse(arguments[0])

    def parse(self, text: str) -> Any:
        """The value of a single argument; ConfigError when it is wrong."""
        raise NotImplementedError

    def format(self, value: Any) -> str:
        """What CONFIG GET shows."""
        return str(value)

    def lines(self, value: Any) -> list[list[str]]:
        """The argument lists of the configuration lines that give `value`."""
        return [[self.format(value)]]

    def describe(self) -> str:
        """The type and its range for the reference."""
        raise NotImplementedError


class Boolean(Kind):
    """yes or no."""

    def parse(self, text: str) -> bool:
        match text.lower():
            case "yes":
                return True
            case "no":
                return False
        msg = "argument must be 'yes' or 'no'"
        raise ConfigError(msg)

    def format(self, value: bool) -> str:
        return "yes" if value else "no"

    def describe(self) -> str:
        return "yes, no"


class Integer(Kind):
    """A whole number; `clamp` bounds what is accepted beyond the range that is checked."""

    def __init__(self, low: int, high: int, unsigned: bool = False, clamp: tuple[int, int] | None = None) -> None:
        self.low, self.high, self.unsigned, self.clamp = low, high, unsigned, clamp

    def parse(self, text: str) -> int:
        try:
            value = parse_int64(text.encode("utf-8", "surrogateescape"))
        except ValueError:
            msg = "argument couldn't be parsed into an integer"
            raise ConfigError(msg) from None
        _check_range(value, self.low, self.high, self.unsigned)
        if self.clamp:
            return min(max(value, self.clamp[0]), self.clamp[1])
        return value

    def describe(self) -> str:
        low, high = self.clamp or (self.low, self.high)
        return f"{low} or more" if high in (INT32_MAX, INT64_MAX, UINT32_MAX) else f"{low} to {high}"


class Octal(Kind):
    """File permissions as an octal number."""

    def parse(self, text: str) -> int:
        if not text or text.strip("01234567") or int(text, 8) > 0o777:
            msg = "argument couldn't be parsed as an octal number"
            raise ConfigError(msg)
        return int(text, 8)

    def format(self, value: int) -> str:
        return f"{value:o}"

    def describe(self) -> str:
        return "octal number"


class Memory(Kind):
    """A number of bytes, with a unit: k, kb, m, mb, g, gb."""

    def __init__(self, low: int, high: int, unsigned: bool) -> None:
        self.low, self.high, self.unsigned = low, high, unsigned

    def parse(self, text: str) -> int:
        value = _memory(text)
        if value is None:
            msg = "argument must be a memory value"
            raise ConfigError(msg)
        if value > INT64_MAX and self.unsigned:
            value = -1  # how Redis sees sizes that do not fit
        _check_range(value, self.low, self.high, self.unsigned)
        return value

    def describe(self) -> str:
        return f"memory size, {format_memory(self.low)} or more" if self.low > 1 else "memory size"


class MemoryOrPercent(Memory):
    """A number of bytes, or a percentage of maxmemory: held as a negative number."""

    def parse(self, text: str) -> int:
        if text.endswith("%") and len(text) > 1:
            try:
                percent = parse_int64(text[:-1].encode("utf-8", "surrogateescape"))
            except ValueError:
                percent = -1
            if percent >= 0:
                if percent > 100:
                    msg = "percentage argument must be less or equal to 100"
                    raise ConfigError(msg)
                return -percent
        value = _memory(text)
        if value is None or value > INT64_MAX:
            msg = "argument must be a memory or percent value"
            raise ConfigError(msg)
        return value

    def format(self, value: int) -> str:
        return f"{-value}%" if value < 0 else str(value)

    def describe(self) -> str:
        return "memory size or percentage"


class Choice(Kind):
    """One of several words, in any case; held in lower case. `aliases` maps further words to one of them."""

    def __init__(self, words: Sequence[str], aliases: dict[str, str] | None = None) -> None:
        self.words = tuple(words)
        self.aliases = aliases or {}

    def parse(self, text: str) -> str:
        word = text.lower()
        if word not in self.words:
            msg = "argument(s) must be one of the following: " + ", ".join(self.words)
            raise ConfigError(msg)
        return self.aliases.get(word, word)

    def describe(self) -> str:
        return ", ".join(self.words)


class Flags(Choice):
    """Several of a set of words, the first of which means none; held in the order of the set, joined by spaces."""

    multi_argument = True

    def read(self, arguments: Sequence[str], current: str) -> str:
        chosen = {super(Flags, self).parse(word) for argument in arguments for word in argument.split(" ")}
        if not chosen:
            msg = "wrong number of arguments"
            raise ConfigError(msg)
        if {"save", "nosave"} <= chosen:
            msg = "shutdown options SAVE and NOSAVE can't be used simultaneously"
            raise ConfigError(msg)
        return " ".join(word for word in self.words[1:] if word in chosen) or self.words[0]

    def lines(self, value: str) -> list[list[str]]:
        return [value.split(" ")]


class Text(Kind):
    """Any text; with `forbidden`, a text containing one of these characters fails with `complaint`."""

    def __init__(self, forbidden: str = "", complaint: str = "", what: str = "text") -> None:
        self.forbidden, self.complaint, self.what = forbidden, complaint, what

    def parse(self, text: str) -> str:
        if any(character in text for character in self.forbidden):
            raise ConfigError(self.complaint)
        return text

    def describe(self) -> str:
        return self.what


_WINDOW = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]-(?:[01][0-9]|2[0-3]):[0-5][0-9]")


class TimeWindow(Kind):
    """A part of the day as HH:MM-HH:MM, which may go over midnight; empty for none."""

    def parse(self, text: str) -> str:
        if text and not _WINDOW.fullmatch(text):
            msg = "argument must be a time window such as 02:00-05:00"
            raise ConfigError(msg)
        return text

    def describe(self) -> str:
        return "HH:MM-HH:MM"


class Words(Kind):
    """Any number of words separated by spaces; held as a tuple."""

    multi_argument = True

    def read(self, arguments: Sequence[str], current: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_split(arguments))

    def format(self, value: tuple[str, ...]) -> str:
        return " ".join(value)

    def lines(self, value: tuple[str, ...]) -> list[list[str]]:
        return [list(value) or [""]]

    def describe(self) -> str:
        return "words"


class SavePoints(Kind):
    """Pairs of seconds and changes; held as a tuple of pairs. Lines add up; an empty argument removes all before it."""

    multi_argument = True
    accumulates = True

    def read(self, arguments: Sequence[str], current: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        words = _split(arguments)
        if not words:
            return ()
        if len(words) % 2:
            raise ConfigError(_INVALID_SAVE)
        pairs = []
        for seconds, changes in zip(words[::2], words[1::2], strict=True):
            pairs.append(
                (_bounded(seconds, 1, INT32_MAX, _INVALID_SAVE), _bounded(changes, 0, INT32_MAX, _INVALID_SAVE))
            )
        return (*current, *pairs)

    def format(self, value: tuple[tuple[int, int], ...]) -> str:
        return " ".join(f"{seconds} {changes}" for seconds, changes in value)

    def lines(self, value: tuple[tuple[int, int], ...]) -> list[list[str]]:
        return [[str(number) for number in pair] for pair in value] or [[""]]

    def describe(self) -> str:
        return "pairs of seconds and changes"


class OutputBuffers(Kind):
    """Groups of class, hard limit, soft limit and soft seconds; classes that are not named keep their limits."""

    multi_argument = True
    accumulates = True

    def read(self, arguments: Sequence[str], current: BufferLimits) -> BufferLimits:
        words = _split(arguments)
        if len(words) % 4:
            msg = "Wrong number of arguments in buffer limit configuration."
            raise ConfigError(msg)
        limits = dict(current)
        for start in range(0, len(words), 4):
            name, hard, soft, seconds = words[start : start + 4]
            limits[_buffer_class(name)] = _buffer_limit(hard, soft, seconds)
        return limits

    def format(self, value: BufferLimits) -> str:
        return " ".join(word for line in self.lines(value) for word in line)

    def lines(self, value: BufferLimits) -> list[list[str]]:
        return [["slave" if name == "replica" else name, *map(str, limit)] for name, limit in value.items()]

    def describe(self) -> str:
        return "class, hard limit, soft limit, soft seconds"


class OomScores(Kind):
    """Three numbers from -2000 to 2000."""

    multi_argument = True

    def read(self, arguments: Sequence[str], current: tuple[int, int, int]) -> tuple[int, int, int]:
        words = _split(arguments)
        if len(words) != 3:
            msg = "wrong number of arguments"
            raise ConfigError(msg)
        complaint = "Invalid oom-score-adj-values, elements must be between -2000 and 2000."
        first, second, third = (_bounded(word, -2000, 2000, complaint) for word in words)
        return (first, second, third)

    def format(self, value: tuple[int, int, int]) -> str:
        return " ".join(map(str, value))

    def lines(self, value: tuple[int, int, int]) -> list[list[str]]:
        return [[str(number) for number in value]]

    def describe(self) -> str:
        return "three numbers, -2000 to 2000"


class Percentiles(Kind):
    """Any number of percentages from 0 to 100; held as a tuple of floats."""

    multi_argument = True

    def read(self, arguments: Sequence[str], current: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(map(self._percentile, _split(arguments)))

    def _percentile(self, word: str) -> float:
        try:
            value = parse_float(word.encode("utf-8", "surrogateescape"))
        except ValueError:
            msg = "Invalid latency-tracking-info-percentiles parameters"
            raise ConfigError(msg) from None
        if not 0.0 <= value <= 100.0:
            msg = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
            raise ConfigError(msg)
        return value

    def format(self, value: tuple[float, ...]) -> str:
        return " ".join(f"{percentile:f}".rstrip("0").rstrip(".") for percentile in value)

    def lines(self, value: tuple[float, ...]) -> list[list[str]]:
        return [self.format(value).split(" ")]

    def describe(self) -> str:
        return "percentages"


_CLASSES_OF_A = "g$lshzxetd"
_CLASSES_OUTSIDE_A = "noc"
_CLASS_ORDER = _CLASSES_OF_A + _CLASSES_OUTSIDE_A + "KEm"


class EventClasses(Kind):
    """Keyspace event classes; held as the letters of all classes chosen, with ``A`` expanded."""

    def parse(self, text: str) -> str:
        if text.strip("A" + _CLASS_ORDER):
            msg = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
            raise ConfigError(msg)
        chosen = set(text.replace("A", _CLASSES_OF_A))
        return "".join(letter for letter in _CLASS_ORDER if letter in chosen)

    def format(self, value: str) -> str:
        # Redis' own text: with all of A the classes outside it are not shown.
        chosen = set(value)
        if chosen >= set(_CLASSES_OF_A):
            shown = "A"
        else:
            shown = "".join(letter for letter in _CLASSES_OF_A + _CLASSES_OUTSIDE_A if letter in chosen)
        return shown + "".join(letter for letter in "KEm" if letter in chosen)

    def lines(self, value: str) -> list[list[str]]:
        if set(value) >= set(_CLASSES_OF_A):
            value = "A" + "".join(letter for letter in value if letter not in _CLASSES_OF_A)
        return [[value]]

    def describe(self) -> str:
        return "letters of Ag$lshzxeKEtmdnoc"


class NoMaster(Kind):
    """Where to replicate from: only nowhere, ``no one`` or empty, is accepted; held as an empty text."""

    multi_argument = True

    def read(self, arguments: Sequence[str], current: str) -> str:
        # A server that silently does not follow its master is worse than one that does not start.
        if [word.lower() for word in _split(arguments)] not in ([], ["no", "one"]):
            msg = "diskkv does not replicate"
            raise ConfigError(msg)
        return ""

    def describe(self) -> str:
        return "no one"


class Collected(Kind):
    """Lines of at least `count` (`exact`: exactly) words that add up; held as a tuple of tuples."""

    multi_argument = True
    accumulates = True

    def __init__(self, count: int, exact: bool, what: str) -> None:
        self.count, self.exact, self.what = count, exact, what

    def read(self, arguments: Sequence[str], current: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        if len(arguments) < self.count or (self.exact and len(arguments) > self.count):
            msg = "wrong number of arguments"
            raise ConfigError(msg)
        return (*current, tuple(arguments))

    def format(self, value: tuple[tuple[str, ...], ...]) -> str:
        return " ".join(word for line in value for word in line)

    def lines(self, value: tuple[tuple[str, ...], ...]) -> list[list[str]]:
        return [list(line) for line in value]

    def describe(self) -> str:
        return self.what


_INVALID_SAVE = "Invalid save parameters"


def _split(arguments: Sequence[str]) -> list[str]:
    """The words of a multi-argument line; a single argument is split at each space, an empty one has no words."""
    if len(arguments) == 1:
        return arguments[0].split(" ") if arguments[0] else []
    return list(arguments)


def _check_range(value: int, low: int, high: int, unsigned: bool) -> None:
    if low <= value <= high:
        return
    if unsigned and value < 0:
        msg = "argument must be greater or equal to 0"
    else:
        msg = f"argument must be between {low} and {high} inclusive"
    raise ConfigError(msg)


def _bounded(word: str, low: int, high: int, complaint: str) -> int:
    try:
        value = parse_int64(word.encode("utf-8", "surrogateescape"))
    except ValueError:
        raise ConfigError(complaint) from None
    if not low <= value <= high:
        raise ConfigError(complaint)
    return value


def _memory(text: str) -> int | None:
    # Redis reads a missing number as 0: both "" and "kb" are valid.
    try:
        return parse_memory(text if text[:1].isdigit() else "0" + text)
    except ValueError:
        return None


def _buffer_class(name: str) -> str:
    match name.lower():
        case "normal" | "pubsub" as found:
            return found
        case "slave" | "replica":
            return "replica"
    msg = "Invalid client class specified in buffer limit configuration."
    raise ConfigError(msg)


def _buffer_limit(hard: str, soft: str, seconds: str) -> BufferLimit:
    complaint = "Error in hard, soft or soft_seconds setting in buffer limit configuration."
    hard_bytes, soft_bytes = _memory(hard), _memory(soft)
    if hard_bytes is None or soft_bytes is None or max(hard_bytes, soft_bytes) > UINT64_MAX:
        raise ConfigError(complaint)
    return BufferLimit(hard_bytes, soft_bytes, _bounded(seconds, 0, INT32_MAX, complaint))
