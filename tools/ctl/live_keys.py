"""Keys of a live server, by ordinary commands: SCAN, TYPE, MEMORY USAGE and the like, many at a time.

Keys that change meanwhile are seen as they are when they are met. One that is gone by then is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from diskkv.codec.glob import compile_glob
from tools.ctl.live import Server

_BATCH = 500
_GLOB_SPECIAL = b"\\*?[]^-"
_LENGTHS = {"string": "STRLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN"}


@dataclass(frozen=True)
class LiveKey:
    """A key and what was asked of it."""

    key: bytes
    type: str
    expire_ms: int = 0
    size_bytes: int = 0
    count: int = 0


def escaped(prefix: bytes) -> bytes:
    """A glob pattern that matches just these bytes."""
    return b"".join(b"\\%c" % byte if byte in _GLOB_SPECIAL else b"%c" % byte for byte in prefix)


def batches(server: Server, prefix: bytes, pattern: bytes, type_name: str | None) -> Iterator[list[bytes]]:
    """All keys that start with `prefix`, match `pattern` and are of the type, some at a time."""
    wanted = escaped(prefix) + b"*" if prefix else pattern
    matches: Callable[[bytes], object] = compile_glob(pattern) if prefix and pattern != b"*" else lambda _: True
    cursor: bytes | int = 0
    while True:
        command: tuple[Any, ...] = ("SCAN", cursor, "MATCH", wanted, "COUNT", _BATCH)
        cursor, found = server.call(*command, *(("TYPE", type_name) if type_name else ()))
        found = [key for key in found if matches(key)]
        if found:
            yield found
        if int(cursor) == 0:
            return


def typed(server: Server, keys: list[bytes]) -> Iterator[LiveKey]:
    """The keys that still exist, with type and expiry."""
    requests: list[tuple[Any, ...]] = [(name, key) for key in keys for name in ("TYPE", "PEXPIRETIME")]
    replies = server.call_all(requests)
    for key, name, expire_ms in zip(keys, replies[::2], replies[1::2], strict=True):
        if name != b"none":
            yield LiveKey(key, name.decode(), max(0, expire_ms))


def measured(server: Server, keys: list[bytes]) -> Iterator[LiveKey]:
    """The keys that still exist, with type, elements (bytes of a string) and size (MEMORY USAGE: about)."""
    known = [found for found in typed(server, keys) if found.type in _LENGTHS]
    requests: list[tuple[Any, ...]] = []
    for found in known:
        requests += [("MEMORY", "USAGE", found.key), (_LENGTHS[found.type], found.key)]
    # A key may change its type meanwhile, which is answered with an error.
    replies = server.try_all(requests)
    for found, size_bytes, count in zip(known, replies[::2], replies[1::2], strict=True):
        if isinstance(size_bytes, int) and isinstance(count, int):
            yield LiveKey(found.key, found.type, found.expire_ms, size_bytes, count)


def preview(server: Server, found: LiveKey, limit: int) -> list[Any]:
    """The first elements of a value, or the beginning of a string."""
    commands: dict[str, tuple[Any, ...]] = {
        "string": ("GETRANGE", found.key, 0, max(0, limit - 1)),
        "list": ("LRANGE", found.key, 0, limit - 1),
        "set": ("SSCAN", found.key, 0, "COUNT", limit),
        "zset": ("ZRANGE", found.key, 0, limit - 1, "WITHSCORES"),
        "hash": ("HSCAN", found.key, 0, "COUNT", limit),
        "stream": ("XRANGE", found.key, "-", "+", "COUNT", limit),
    }
    reply = server.call(*commands[found.type])
    if found.type == "string":
        return [reply]
    if found.type == "stream":
        return [[entry, *fields] for entry, fields in reply]
    elements = reply[1] if found.type in ("set", "hash") else reply
    if found.type in ("zset", "hash"):
        elements = [list(pair) for pair in zip(elements[::2], elements[1::2], strict=True)]
    return list(elements[:limit])
