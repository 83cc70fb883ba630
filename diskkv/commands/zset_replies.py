"""What the sorted-set commands share: looking keys up, parsing ranges, encoding members with scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from diskkv.codec.header import ZSET, Header
from diskkv.codec.numbers import format_double, parse_float
from diskkv.commands.arguments import parse_integer
from diskkv.datatypes.zset_ranges import LexBorder, LexRange, RankRange, ScoreRange
from diskkv.datatypes.zset_rows import Entry
from diskkv.errors import CommandError, WrongTypeError
from diskkv.services import notifications
from diskkv.services.client import Client

_NOT_A_SCORE_RANGE = b"ERR min or max is not a float"
_NOT_A_LEX_RANGE = b"ERR min or max not valid string range item"


def read(client: Client, key: bytes) -> Header | None:
    """The sorted set at `key` for a read command, None when there is none. Raises WrongTypeError."""
    value = client.db.read(key)
    if value is None:
        return None
    if value.__class__ is bytes or value.type != ZSET:  # type: ignore[union-attr]
        raise WrongTypeError
    return value  # type: ignore[return-value]


def write(client: Client, key: bytes) -> Header | None:
    """As `read`, for a write command."""
    value = client.db.get(key)
    if value is None:
        return None
    if value.__class__ is bytes or value.type != ZSET:  # type: ignore[union-attr]
        raise WrongTypeError
    return value  # type: ignore[return-value]


def notify(client: Client, event: bytes, key: bytes, gone: bool = False) -> None:
    """Publish an event of a key, and that the key is gone if so."""
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.ZSET, event, key, client.db)
        if gone:
            events.event(notifications.GENERIC, b"del", key, client.db)


# ---- arguments


def parse_rank_range(start: bytes, stop: bytes) -> RankRange:
    """Two integers. Raises NotIntegerError."""
    return RankRange(parse_integer(start), parse_integer(stop))


def _score_border(text: bytes) -> tuple[float, bool]:
    # Redis reads C strings: what follows a zero byte is not seen, and nothing at all is 0.
    text = text.partition(b"\0")[0]
    exclusive = text[:1] == b"("
    if exclusive:
        text = text[1:]
    if not text:
        return 0.0, exclusive
    if b"x" in text or b"X" in text:
        # Scores may be hexadecimal, borders may not.
        raise CommandError(_NOT_A_SCORE_RANGE)
    try:
        return parse_float(text), exclusive
    except ValueError:
        return _extreme(text), exclusive


def _extreme(text: bytes) -> float:
    """What parse_float refuses and a border takes: numbers too large or too small for a double."""
    try:
        value = float(text)
    except ValueError:
        raise CommandError(_NOT_A_SCORE_RANGE) from None
    if value != value or text != text.strip() or b"_" in text:
        raise CommandError(_NOT_A_SCORE_RANGE)
    return value


def parse_score_range(low: bytes, high: bytes) -> ScoreRange:
    """Two scores, each exclusive behind ``(``. Raises CommandError."""
    low_score, low_exclusive = _score_border(low)
    high_score, high_exclusive = _score_border(high)
    return ScoreRange(low_score, high_score, low_exclusive, high_exclusive)


def _lex_border(text: bytes) -> LexBorder:
    sign = text[:1]
    if sign == b"[" or sign == b"(":
        return LexBorder(0, text[1:], sign == b"(")
    if text == b"-":
        return LexBorder(-1)
    if text == b"+":
        return LexBorder(1)
    raise CommandError(_NOT_A_LEX_RANGE)


def parse_lex_range(low: bytes, high: bytes) -> LexRange:
    """Two members behind ``[`` (inclusive) or ``(``, or ``-`` and ``+`` for the ends. Raises CommandError."""
    return LexRange(_lex_border(low), _lex_border(high))


EVERYTHING = ScoreRange(-inf, inf)


# ---- replies


def score_bulk(score: float, resp: int) -> bytes:
    """A score: a double, in RESP2 a string."""
    text = format_double(score)
    return b",%b\r\n" % text if resp == 3 else b"$%d\r\n%b\r\n" % (len(text), text)


def entry_items(entries: Iterable[Entry], resp: int) -> Iterator[bytes]:
    """Each member with its score encoded: an array of two in RESP3, two strings in RESP2."""
    text_of = format_double
    if resp == 3:
        for member, score in entries:
            yield b"*2\r\n$%d\r\n%b\r\n,%b\r\n" % (len(member), member, text_of(score))
    else:
        for member, score in entries:
            text = text_of(score)
            yield b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(member), member, len(text), text)


def entries_reply(entries: Iterable[Entry], resp: int) -> bytes:
    """Members with scores: flat in RESP2, pairs in RESP3."""
    items = list(entry_items(entries, resp))
    return b"*%d\r\n%b" % (len(items) if resp == 3 else 2 * len(items), b"".join(items))


def members_reply(members: Iterable[bytes]) -> bytes:
    """Members alone."""
    items = [b"$%d\r\n%b\r\n" % (len(member), member) for member in members]
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def nested_reply(entries: Iterable[Entry], resp: int) -> bytes:
    """Members with scores, as pairs in both protocols."""
    items = [b"*2\r\n$%d\r\n%b\r\n%b" % (len(member), member, score_bulk(score, resp)) for member, score in entries]
    return b"*%d\r\n%b" % (len(items), b"".join(items))
