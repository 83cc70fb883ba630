"""What the stream commands share: looking keys up, parsing IDs and trimming options, encoding entries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from diskkv.codec.header import STREAM, Header
from diskkv.codec.numbers import parse_int64
from diskkv.datatypes import streams_transfer
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Stream, next_id, pack_id, previous_id, unpack_fields, unpack_id
from diskkv.datatypes.streams_edit import ACKED, DELREF, KEEPREF, Trim
from diskkv.errors import CommandError, CommandSyntaxError, NotIntegerError, WrongTypeError
from diskkv.resp.reply import BULK_HEADS
from diskkv.services import notifications
from diskkv.services.client import Client

assert streams_transfer  # registers the operations of streams

INVALID_ID = b"ERR Invalid stream ID specified as stream command argument"
INVALID_START = b"ERR invalid start ID for the interval"
INVALID_END = b"ERR invalid end ID for the interval"
POLICIES = {b"KEEPREF": KEEPREF, b"DELREF": DELREF, b"ACKED": ACKED}

_UINT64_MAX = 2**64 - 1
_MOST_ID_BYTES = 127
_MOST_TRIMMED = 1_000_000
_PLAIN_ID = re.compile(rb"([0-9]{1,19})(?:-([0-9]{1,19}))?")
# What strtoull() takes: white space, a sign (a negative number wraps around), leading zeros.
_NUMBER = re.compile(rb"[ \t-\r]*([+-]?)([0-9]+)")


# ---- keys


def read_stream(client: Client, key: bytes) -> Stream | None:
    """The stream at `key` for a read command, None when there is none. Raises WrongTypeError."""
    value = client.db.read(key)
    if value is None:
        return None
    if value.__class__ is bytes or value.type != STREAM:  # type: ignore[union-attr]
        raise WrongTypeError
    return Stream(value)  # type: ignore[arg-type]


def write_stream(client: Client, key: bytes) -> Header | None:
    """The header of the stream at `key` for a write command, None when there is none. Raises WrongTypeError."""
    value = client.db.get(key)
    if value is None:
        return None
    if value.__class__ is bytes or value.type != STREAM:  # type: ignore[union-attr]
        raise WrongTypeError
    return value  # type: ignore[return-value]


def notify(client: Client, event: bytes, key: bytes) -> None:
    """Publish an event of a key."""
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STREAM, event, key, client.db)


def put_unwatched(client: Client, key: bytes, stream: Stream, old: Header) -> None:
    """Stage a stream's header after a change that, as in Redis, neither WATCH nor client side caching hears of."""
    database = client.db
    observer, database.observer = database.observer, None
    database.put(key, stream.header(), old)
    database.observer = observer


def no_group(key: bytes, group: bytes, tail: bytes = b"") -> CommandError:
    """NOGROUP for a key and a group of which one is missing."""
    return CommandError(b"NOGROUP No such key '%b' or consumer group '%b'%b" % (shown(key), shown(group), tail))


def no_such_group(key: bytes, group: bytes) -> CommandError:
    """NOGROUP for a group that a stream does not have."""
    return CommandError(b"NOGROUP No such consumer group '%b' for key name '%b'" % (shown(group), shown(key)))


def shown(text: bytes) -> bytes:
    """An argument as Redis shows it in errors: up to its first zero byte."""
    return text.partition(b"\x00")[0]


# ---- numbers and IDs


def parse_integer(text: bytes, message: bytes = b"") -> int:
    """A signed 64-bit integer. Raises NotIntegerError, or a CommandError with `message`."""
    try:
        return parse_int64(text)
    except ValueError:
        raise CommandError(message) if message else NotIntegerError() from None


def _parse_half(text: bytes) -> int:
    """Half of an ID, read as Redis does with strtoull(). Raises ValueError."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(text)
    number = int(match[2])
    if number > _UINT64_MAX or (match[1] == b"-" and text[:1] == b"-" and text[1:2] != b"0"):
        raise ValueError(text)
    return (_UINT64_MAX + 1 - number) & _UINT64_MAX if match[1] == b"-" else number


def split_id(text: bytes, missing_seq: int = 0) -> tuple[int, int, bool]:
    """(milliseconds, sequence, whether the sequence is ``*``) of an ID. Raises CommandError."""
    match = _PLAIN_ID.fullmatch(text)
    if match is not None:
        ms, seq = match.groups()
        return int(ms), missing_seq if seq is None else int(seq), False
    try:
        if len(text) > _MOST_ID_BYTES:
            raise ValueError(text)
        text = text.partition(b"\x00")[0]
        left, dash, right = text.partition(b"-")
        if right == b"*":
            return _parse_half(left), 0, True
        return _parse_half(left), _parse_half(right) if dash else missing_seq, False
    except ValueError:
        raise CommandError(INVALID_ID) from None


def parse_id(text: bytes, missing_seq: int = 0) -> bytes:
    """A complete ID, or its milliseconds. Raises CommandError."""
    ms, seq, is_open = split_id(text, missing_seq)
    if is_open:
        raise CommandError(INVALID_ID)
    return pack_id(ms, seq)


def parse_any_id(text: bytes, missing_seq: int = 0) -> bytes:
    """As `parse_id`; ``-`` and ``+`` stand for the lowest and the highest one."""
    if text == b"-":
        return ZERO_ID
    return MAX_ID if text == b"+" else parse_id(text, missing_seq)


def parse_start(text: bytes) -> bytes:
    """The lower end of an interval, exclusive with ``(``. Raises CommandError."""
    if text[:1] != b"(" or len(text) == 1:
        return parse_any_id(text)
    try:
        return next_id(parse_id(text[1:]))
    except OverflowError:
        raise CommandError(INVALID_START) from None


def parse_end(text: bytes) -> bytes:
    """The upper end of an interval, exclusive with ``(``. Raises CommandError."""
    if text[:1] != b"(" or len(text) == 1:
        return parse_any_id(text, _UINT64_MAX)
    try:
        return previous_id(parse_id(text[1:], _UINT64_MAX))
    except OverflowError:
        raise CommandError(INVALID_END) from None


def parse_ids(texts: Iterable[bytes]) -> list[bytes]:
    """Complete IDs. Raises CommandError."""
    return [parse_id(text) for text in texts]


# ---- trimming options


def parse_trim(client: Client, argv: list[bytes], at: int, is_add: bool) -> tuple[int, Trim | None, bool]:
    """The options of XTRIM, or of XADD up to the ID, from argv[at] on.

    Answers where they end, what to trim, and whether NOMKSTREAM is there. Raises CommandError.
    """
    stop = len(argv)
    if is_add and _is_plain_maxlen(argv, at):
        return at + 2, Trim(_parse_maxlen(argv[at + 1])), False
    threshold: int | bytes | None = None
    approximate = no_create = False
    limit: int | None = None
    policy: int | None = None
    while at < stop:
        option = argv[at].upper()
        more = stop - 1 - at
        if is_add and option == b"*":
            break
        if option in (b"MAXLEN", b"MINID") and more:
            if threshold is not None:
                raise CommandError(b"ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
            approximate = False
            if more >= 2 and argv[at + 1] in (b"~", b"="):
                at += 1
                approximate = argv[at] == b"~"
            at += 1
            threshold = _parse_maxlen(argv[at]) if option == b"MAXLEN" else parse_id(argv[at])
        elif option == b"LIMIT" and more:
            at += 1
            limit = parse_integer(argv[at])
            if limit < 0:
                raise CommandError(b"ERR The LIMIT argument must be >= 0.")
        elif is_add and option == b"NOMKSTREAM":
            no_create = True
        elif option in POLICIES and policy is None:
            policy = POLICIES[option]
        elif is_add:
            if option != b"*":
                # An ID that is none is the first error; so it is before what contradicts itself in the options.
                split_id(argv[at])
            break
        else:
            raise CommandSyntaxError
        at += 1
    if threshold is None:
        if limit:
            raise CommandError(b"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
        if not is_add:
            raise CommandError(b"ERR syntax error, XTRIM called without a trimming strategy")
    if limit is None:
        limit = _default_limit(client) if approximate else 0
    elif not approximate:
        raise CommandError(b"ERR syntax error, LIMIT cannot be used without the special ~ option")
    if threshold is None:
        return at, None, no_create
    if isinstance(threshold, bytes):
        trim = Trim(None, threshold, approximate, limit, policy or KEEPREF)
    else:
        trim = Trim(threshold, ZERO_ID, approximate, limit, policy or KEEPREF)
    return at, trim, no_create


def _is_plain_maxlen(argv: list[bytes], at: int) -> bool:
    """Whether the options are ``MAXLEN count *``, the most frequent form."""
    return argv[at] in (b"MAXLEN", b"maxlen") and argv[at + 1].isdigit() and argv[at + 2 : at + 3] == [b"*"]


def _parse_maxlen(text: bytes) -> int:
    maxlen = parse_integer(text)
    if maxlen < 0:
        raise CommandError(b"ERR The MAXLEN argument must be >= 0.")
    return maxlen


def _default_limit(client: Client) -> int:
    limit: int = 100 * client.instance.config.stream_node_max_entries
    return min(limit, _MOST_TRIMMED) if limit > 0 else 10_000


def parse_policy(argv: list[bytes], at: int) -> tuple[int, list[bytes]]:
    """``[KEEPREF | DELREF | ACKED] IDS numids id [id ...]`` in any order from argv[at] on: the policy and the IDs."""
    policy: int | None = None
    texts: list[bytes] = []
    stop = len(argv)
    while at < stop:
        option = argv[at].upper()
        if option == b"IDS" and at + 1 < stop:
            count = parse_integer(argv[at + 1], b"ERR Number of IDs must be a positive integer")
            if count <= 0:
                raise CommandError(b"ERR Number of IDs must be a positive integer")
            if count > stop - at - 2:
                raise CommandError(b"ERR The `numids` parameter must match the number of arguments")
            texts = argv[at + 2 : at + 2 + count]
            at += 1 + count
        elif option in POLICIES and policy is None:
            policy = POLICIES[option]
        else:
            raise CommandSyntaxError
        at += 1
    if not texts:
        raise CommandSyntaxError
    return policy or KEEPREF, texts


# ---- replies


def format_id(entry_id: bytes) -> bytes:
    """An ID as text."""
    return b"%d-%d" % unpack_id(entry_id)


def id_reply(entry_id: bytes) -> bytes:
    """An ID, encoded."""
    text = b"%d-%d" % unpack_id(entry_id)
    return b"$%d\r\n%b\r\n" % (len(text), text)


def ids_reply(ids: Sequence[bytes]) -> bytes:
    """An array of IDs."""
    return b"*%d\r\n%b" % (len(ids), b"".join(map(id_reply, ids)))


def entry_reply(entry_id: bytes, raw: bytes) -> bytes:
    """An entry: its ID, and an array of its fields and values."""
    parts = [id_reply(entry_id)]
    fields = unpack_fields(raw)
    parts.append(b"*%d\r\n" % len(fields))
    for item in fields:
        size = len(item)
        parts.append(BULK_HEADS[size] if size < 2048 else b"$%d\r\n" % size)
        parts.append(item)
        parts.append(b"\r\n")
    return b"*2\r\n" + b"".join(parts)


def entries_reply(entries: Sequence[tuple[bytes, bytes | None]], null_array: bytes) -> bytes:
    """An array of entries; one that does not exist any more has null for its fields."""
    parts = [b"*%d\r\n" % len(entries)]
    for entry_id, raw in entries:
        parts.append(b"*2\r\n" + id_reply(entry_id) + null_array if raw is None else entry_reply(entry_id, raw))
    return b"".join(parts)
