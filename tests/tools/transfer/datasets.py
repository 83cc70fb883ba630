"""A dataset with everything in it, in real servers, and its comparison between two of them."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from diskkv.codec.rdb_values import (
    HashValue,
    RdbValue,
    StreamConsumer,
    StreamGroup,
    StreamValue,
)
from tests.codec.rdb_live import (
    IN_FUTURE_MS,
    call,
    comparable,
    fill,
    fill_field_expiry,
    native_version,
    read_back,
)
from tests.harness.servers import Flavour, ServerProcess, diskkv, running
from tests.harness.wire import ErrorReply, Wire
from tools import diskkvctl

LIBRARY = b"#!lua name=mylib\nredis.register_function('f', function() return 'called' end)\n"
Dataset = dict[tuple[int, bytes], tuple[RdbValue, int]]
DATABASES = (0, 3, 15)
LARGE = 2500
"""Elements of collections that come in pieces."""


def fill_all(wire: Wire) -> None:
    """All types, small and large, several databases, times to live, functions, hostile bytes, field expiry if known."""
    fill(wire)
    if native_version(wire) >= 12:
        fill_field_expiry(wire)
    call(wire, "SET", b"\x00\xff\r\n key", bytes(range(256)))
    call(wire, "SET", "", "the empty key")
    call(wire, "SETRANGE", "chunked", 200_000, "end")
    for number in range(20):
        call(wire, "SET", f"ttl:{number}", number, "PXAT", IN_FUTURE_MS + number)
    call(wire, "SET", "dying", "x", "PXAT", 1)
    # A real server may keep it until it is looked at, and until then its RDB file has it.
    call(wire, "EXISTS", "dying")
    for at in range(0, LARGE, 500):
        numbers = range(at, at + 500)
        call(wire, "RPUSH", "large:list", *[f"element {n}" for n in numbers])
        call(wire, "SADD", "large:set", *[f"member {n}" for n in numbers])
        call(wire, "ZADD", "large:zset", *[part for n in numbers for part in (n / 3, f"member {n}")])
        call(wire, "HSET", "large:hash", *[part for n in numbers for part in (f"field {n}", f"value {n}")])
        wire.pipeline([(b"XADD", b"large:stream", b"%d-1" % (n + 1), b"n", b"%d" % n) for n in numbers])
    call(wire, "XGROUP", "CREATE", "large:stream", "group", "0")
    call(wire, "XREADGROUP", "GROUP", "group", "ann", "COUNT", 300, "STREAMS", "large:stream", ">")
    call(wire, "PEXPIREAT", "large:hash", IN_FUTURE_MS)
    call(wire, "FUNCTION", "LOAD", LIBRARY)
    call(wire, "SELECT", 3)
    call(wire, "SET", "other", "database")
    call(wire, "SELECT", 15)
    call(wire, "ZADD", "last", 1.5, "member", "-inf", "low")
    call(wire, "SELECT", 0)


def dataset(server: ServerProcess, *, times: bool = True, reads: bool = True, active: bool = True) -> Dataset:
    """Everything that a server holds. Without `times`, when consumers were seen is left out, without `reads` how many
    entries groups have read, without `active` when consumers got something."""
    found: Dataset = {}
    with server.connect() as wire:
        for index in DATABASES:
            call(wire, "SELECT", index)
            for key in call(wire, "KEYS", "*"):
                value = comparable(read_back(wire, key))
                if isinstance(value, StreamValue):
                    value = _without(value, times, reads, active)
                found[index, key] = (value, call(wire, "PEXPIRETIME", key))
            assert call(wire, "DBSIZE") == sum(place[0] == index for place in found)
        call(wire, "SELECT", 0)
        libraries = [dict(zip(one[::2], one[1::2], strict=True)) for one in call(wire, "FUNCTION", "LIST")]
        assert [one[b"library_name"] for one in libraries] in ([b"mylib"], [])
    return found


def _without(stream: StreamValue, times: bool, reads: bool, active: bool) -> StreamValue:
    groups = [
        StreamGroup(
            group.name,
            group.last_id,
            group.entries_read if reads else -1,
            group.pending,
            [
                StreamConsumer(
                    one.name,
                    one.seen_time_ms if times else 0,
                    one.active_time_ms if times and active else 0,
                    one.pending,
                )
                for one in group.consumers
            ],
        )
        for group in stream.groups
    ]
    return StreamValue(stream.entries, stream.last_id, stream.max_deleted_id, stream.entries_added, groups)


def without_field_expiry(data: Dataset) -> Dataset:
    """As a server that does not know it has it."""
    return {
        place: (
            HashValue([(name, text, 0) for name, text, _ in value.entries]) if isinstance(value, HashValue) else value,
            expire_ms,
        )
        for place, (value, expire_ms) in data.items()
    }


def assert_same(found: Dataset, expected: Dataset) -> None:
    """With a message that says which key differs."""
    assert found.keys() == expected.keys()
    for place, value in expected.items():
        assert found[place] == value, place


def functions_work(server: ServerProcess) -> bool:
    """Whether the library is there."""
    with server.connect() as wire:
        reply = wire.call("FCALL", "f", 0)
        return not isinstance(reply, ErrorReply) and reply == b"called"


def ctl(*arguments: str | Path, status: int = 0) -> Any:
    """Run diskkvctl; what it prints with --json, or its complaint when it is to end with another status."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        found = diskkvctl.main([*map(str, arguments), "--json"])
    assert found == status, err.getvalue()
    return json.loads(out.getvalue()) if not status else err.getvalue()


def url_of(server: ServerProcess) -> str:
    """The server's unix socket."""
    return f"unix://{server.socket_path}"


def started_with(path_or_url: Path | str, *options: str, tcp: bool = False) -> ServerProcess:
    """A diskkv that was started on what diskkvctl imported into its directory; a str is imported with --from."""
    server = ServerProcess(diskkv(), tcp=tcp)
    origin = ["--from", path_or_url] if isinstance(path_or_url, str) else [path_or_url]
    result = ctl("import", *origin, "--dir", server.data_directory, *options)
    assert result["errors"] == 0, result
    return server.start()


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, f"waited for: {what}"
        time.sleep(0.01)


# Redis waits some seconds for more replicas before it makes a copy.
AT_ONCE = ("--repl-diskless-sync-delay", "0")


@contextlib.contextmanager
def filled(flavour: Flavour) -> Iterator[ServerProcess]:
    """A real server with an append-only file half of which was rewritten, and an RDB file."""
    with running(flavour, "--appendonly", "yes", *AT_ONCE, tcp=True) as server, server.connect() as wire:
        fill_all(wire)
        call(wire, "BGREWRITEAOF")
        wait_until(lambda: b"aof_rewrite_in_progress:0" in call(wire, "INFO", "persistence"), "the rewrite ends")
        call(wire, "MULTI")
        call(wire, "INCR", "after the rewrite")
        call(wire, "INCR", "after the rewrite")
        call(wire, "EXEC")
        call(wire, "RPUSH", "large:list", "one more")
        call(wire, "SAVE")
        yield server
