"""What MONITOR shows of each command (https://redis.io/docs/latest/commands/monitor/)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from diskkv.services.redaction import shown_arguments

if TYPE_CHECKING:
    from diskkv.services.client import Client

_ESCAPES = {0x22: b'\\"', 0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t", 0x07: b"\\a", 0x08: b"\\b"}
_QUOTED = [_ESCAPES.get(byte) or (bytes((byte,)) if 0x20 <= byte < 0x7F else b"\\x%02x" % byte) for byte in range(256)]


def quote(argument: bytes) -> bytes:
    """An argument in double quotes, with what is not printable ASCII escaped."""
    return b'"' + b"".join([_QUOTED[byte] for byte in argument]) + b'"'


def monitor_line(client: Client, argv: list[bytes]) -> bytes:
    """The encoded message: time, database and origin of the command, its arguments without secrets."""
    now_us = time.time_ns() // 1000
    if client.is_script:
        origin = "lua"
    elif client.address.startswith("/"):
        origin = f"unix:{client.address.removesuffix(':0')}"
    else:
        origin = client.address
    head = b"+%d.%06d [%d %b] " % (now_us // 1_000_000, now_us % 1_000_000, client.db.index, origin.encode())
    return head + b" ".join([quote(argument) for argument in shown_arguments(argv)]) + b"\r\n"
