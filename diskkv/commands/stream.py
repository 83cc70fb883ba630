"""Streams: adding, counting, deleting and trimming entries (XADD, XLEN, XDEL, XDELEX, XTRIM, XSETID)."""

from __future__ import annotations

from diskkv.codec.header import STREAM, Header
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.runs import Columns, run_of
from diskkv.commands.stream_arguments import (
    id_reply,
    notify,
    parse_id,
    parse_ids,
    parse_integer,
    parse_policy,
    parse_trim,
    put_unwatched,
    split_id,
    write_stream,
)
from diskkv.datatypes import streams, streams_edit
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Stream, pack_id, require_stream
from diskkv.errors import CommandError, CommandSyntaxError, WrongTypeError
from diskkv.resp.reply import OK, ZERO, integer, integers
from diskkv.services.client import Client

_NOT_GREATER = b"ERR The ID specified in XADD is equal or smaller than the target stream top item"
_EXHAUSTED = b"ERR The stream has exhausted the last possible ID, unable to add more items"


@command(
    "XADD",
    arity=-5,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KeySpec("RW update", notes="UPDATE instead of INSERT because of the optional trimming feature"),
    group="stream",
    since="5.0.0",
    complexity="O(1) for adding; trimming is O(M) with M being the number of nodes or single entries removed.",
    syntax="key [NOMKSTREAM@6.2.0] [KEEPREF | DELREF | ACKED] [<MAXLEN | MINID@6.2.0> [= | ~] threshold"
    " [LIMIT count]@6.2.0] <* | id> field value [field value ...]",
    tips=("nondeterministic_output",),
)
def xadd(client: Client, argv: list[bytes]) -> bytes:
    """Add an entry to a stream, which is made when there is none."""
    trim = None
    no_create = False
    at = 2
    if argv[2] != b"*":
        at, trim, no_create = parse_trim(client, argv, 2, True)
    asked = None
    if at < len(argv) and argv[at] != b"*":
        asked = split_id(argv[at])
    fields = argv[at + 1 :]
    if not fields or len(fields) % 2:
        raise CommandError(b"ERR wrong number of arguments for 'xadd' command")
    if asked == (0, 0, False):
        raise CommandError(b"ERR The ID specified in XADD must be greater than 0-0")
    key = argv[1]
    database = client.db
    engine = client.engine
    old = database.get(key)
    if old is None:
        if no_create:
            return client.null
        stream = streams.new(engine)
    else:
        if old.__class__ is bytes or old.type != STREAM:  # type: ignore[union-attr]
            raise WrongTypeError
        stream = Stream(old)  # type: ignore[arg-type]
    entry_id = _new_id(stream, engine.now_ms, asked)
    streams_edit.append(engine, stream, entry_id, fields)
    trimmed = 0 if trim is None else streams_edit.trim(engine, stream, trim)
    database.put(key, stream.header(), old)
    if client.instance.notifications.enabled:
        notify(client, b"xadd", key)
        if trimmed:
            notify(client, b"xtrim", key)
    return id_reply(entry_id)


@run_of("xadd", argc=5)
def xadd_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several XADDs of one field, with IDs made by the server, to the same stream."""
    _, keys, ids, fields, values = columns
    key = keys[0]
    database = client.db
    old = database.get(key)
    if keys.count(key) != len(keys) or ids.count(b"*") != len(ids) or old.__class__ is not Header or old.type != STREAM:
        return None
    engine = client.engine
    stream = Stream(old)
    replies = []
    for entry in zip(fields, values, strict=True):
        entry_id = _new_id(stream, engine.now_ms, None)
        streams_edit.append(engine, stream, entry_id, list(entry))
        replies.append(id_reply(entry_id))
    database.put(key, stream.header(), old)
    return replies


def _new_id(stream: Stream, now_ms: int, asked: tuple[int, int, bool] | None) -> bytes:
    """The ID of a new entry; `asked` is None for ``*``."""
    if stream.last == MAX_ID:
        raise CommandError(_EXHAUSTED)
    if asked is None:
        return streams.next_clock_id(stream, now_ms)
    ms, seq, is_open = asked
    if is_open:
        entry_id = streams.next_sequence_id(stream, ms)
        if entry_id is None:
            raise CommandError(_NOT_GREATER)
        return entry_id
    entry_id = pack_id(ms, seq)
    if entry_id <= stream.last:
        raise CommandError(_NOT_GREATER)
    return entry_id


@command(
    "XLEN",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO"),
    group="stream",
    since="5.0.0",
    complexity="O(1)",
    syntax="key",
)
def xlen(client: Client, argv: list[bytes]) -> bytes:
    """Count the entries of a stream."""
    value = client.db.read(argv[1])
    return ZERO if value is None else integer(require_stream(value).count)


@command(
    "XDEL",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW delete"),
    group="stream",
    since="5.0.0",
    complexity="O(1) for each entry, whatever the length of the stream.",
    syntax="key id [id ...]",
)
def xdel(client: Client, argv: list[bytes]) -> bytes:
    """Delete entries by their IDs; answers how many there were."""
    old = write_stream(client, argv[1])
    if old is None:
        return ZERO
    ids = parse_ids(argv[2:])
    stream = Stream(old)
    deleted = streams_edit.delete(client.engine, stream, ids)
    if deleted:
        client.db.put(argv[1], stream.header(), old)
        notify(client, b"xdel", argv[1])
    return integer(deleted)


@command(
    "XDELEX",
    arity=-5,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW delete"),
    group="stream",
    since="8.2.0",
    complexity="O(1) for each entry and consumer group, whatever the length of the stream.",
    syntax="key [KEEPREF | DELREF | ACKED] ids={IDS numids id [id ...]}",
)
def xdelex(client: Client, argv: list[bytes]) -> bytes:
    """Delete entries by their IDs, with a choice of what becomes of pending ones; answers for each what happened."""
    old = write_stream(client, argv[1])
    policy, texts = parse_policy(argv, 2)
    if old is None:
        return integers([streams_edit.NOT_FOUND] * len(texts))
    ids = parse_ids(texts)
    stream = Stream(old)
    results = streams_edit.delete_with(client.engine, stream, ids, policy)
    if stream.length != old.count:
        client.db.put(argv[1], stream.header(), old)
        notify(client, b"xdel", argv[1])
    return integers(results)


@command(
    "XTRIM",
    arity=-4,
    flags=Flag.WRITE,
    keys=KeySpec("RW delete"),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of nodes or single entries removed; the rows of many entries are deleted"
    " in the background.",
    syntax="key {<MAXLEN | MINID@6.2.0> [= | ~] threshold [LIMIT count]@6.2.0 [KEEPREF | DELREF | ACKED]}",
    tips=("nondeterministic_output",),
)
def xtrim(client: Client, argv: list[bytes]) -> bytes:
    """Delete the oldest entries of a stream; answers how many."""
    _, trim, _ = parse_trim(client, argv, 2, False)
    assert trim is not None
    old = write_stream(client, argv[1])
    if old is None:
        return ZERO
    stream = Stream(old)
    nodes = stream.nodes
    deleted = streams_edit.trim(client.engine, stream, trim)
    if deleted or stream.nodes != nodes:
        client.db.put(argv[1], stream.header(), old)
    if deleted:
        notify(client, b"xtrim", argv[1])
    return integer(deleted)


@command(
    "XSETID",
    arity=-3,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KeySpec("RW update"),
    group="stream",
    since="5.0.0",
    complexity="O(1)",
    syntax="key last-id [ENTRIESADDED entries-added]@7.0.0 [MAXDELETEDID max-deleted-id]@7.0.0",
)
def xsetid(client: Client, argv: list[bytes]) -> bytes:
    """Set the last ID of a stream, and with it its counters."""
    last = parse_id(argv[2])
    max_deleted = ZERO_ID
    added = -1
    at = 3
    while at < len(argv):
        option = argv[at].upper()
        if at + 1 == len(argv) or option not in (b"ENTRIESADDED", b"MAXDELETEDID"):
            raise CommandSyntaxError
        if option == b"ENTRIESADDED":
            added = parse_integer(argv[at + 1])
            if added < 0:
                raise CommandError(b"ERR entries_added must be positive")
        else:
            max_deleted = parse_id(argv[at + 1])
            if last < max_deleted:
                raise CommandError(b"ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
        at += 2
    old = write_stream(client, argv[1])
    if old is None:
        raise CommandError(b"ERR no such key")
    stream = Stream(old)
    if last < stream.max_deleted:
        raise CommandError(b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
    if stream.length:
        if last < streams.last_entry_id(client.engine, stream):
            raise CommandError(b"ERR The ID specified in XSETID is smaller than the target stream top item")
        if 0 <= added < stream.length:
            raise CommandError(b"ERR The entries_added specified in XSETID is smaller than the target stream length")
    streams.set_last_id(client.engine, stream, last)
    if added != -1:
        stream.added = added
    if max_deleted != ZERO_ID:
        stream.max_deleted = max_deleted
    put_unwatched(client, argv[1], stream, old)
    notify(client, b"xsetid", argv[1])
    return OK
