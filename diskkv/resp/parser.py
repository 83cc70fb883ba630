"""An incremental parser of requests: RESP arrays of bulk strings, and inline commands.

Most input is a run of whole, small commands. Splitting the chunk at every CRLF (one call into C) and checking that each
bulk has the length it declares parses those exactly, at about 0.4 us a command; whatever does not fit that mould (a
partial command, inline, CRLF inside a value, an error) goes through the byte-exact path, which keeps its state between
chunks so that no input is ever looked at twice. Limits are checked on declared lengths, before anything is kept.

hiredis parses in 0.15 us but takes nested arrays, integers and nulls for arguments, allocates lists by declared length,
and leaves no way to find the bytes of a refused command; checking all that costs what it saves.
"""

from __future__ import annotations

from diskkv.resp.inline import split_inline

_INLINE_MAX_BYTES = 64 * 1024
_UNAUTHENTICATED_MAX_COUNT = 10
_UNAUTHENTICATED_MAX_BULK_BYTES = 16384
_COUNT_MAX = 2**31 - 1

_COUNTS = {b"*%d" % count: count for count in range(1, 257)}
_BULKS = {b"$%d" % size: size for size in range(16385)}


class ProtocolError(Exception):
    """Input that is not RESP; the message is Redis' own. The connection cannot go on."""


def split_requests(data: bytes, requests: list[list[bytes]]) -> int:
    """Append the plain commands at the start of `data`; answers how many bytes they took.

    Only for connections that are logged in: the narrower limits before that are not looked at.
    """
    tokens = data.split(b"\r\n")
    columns = split_columns(tokens)
    if columns is not None:
        requests += map(list, zip(*columns, strict=True))
        return len(data)
    return take_requests(data, tokens, requests)


def take_requests(data: bytes, tokens: list[bytes], requests: list[list[bytes]]) -> int:
    """As `split_requests`, with `tokens` = `data` split at every CRLF, and without the short cut for alike commands."""
    end = len(tokens) - 1
    at = 0
    counts = _COUNTS
    bulks = _BULKS
    append = requests.append
    try:
        while at < end:
            count = counts[tokens[at]]
            stop = at + 2 * count + 1
            if stop > end:
                break
            if count == 2:
                _, size, first, size2, second = tokens[at:stop]
                if bulks[size] != len(first) or bulks[size2] != len(second):
                    break
                append([first, second])
            elif count == 3:
                _, size, first, size2, second, size3, third = tokens[at:stop]
                if bulks[size] != len(first) or bulks[size2] != len(second) or bulks[size3] != len(third):
                    break
                append([first, second, third])
            else:
                argv = tokens[at + 2 : stop : 2]
                if [bulks[size] for size in tokens[at + 1 : stop : 2]] != list(map(len, argv)):
                    break
                append(argv)
            at = stop
    except KeyError:
        pass
    if at == end and not tokens[end]:
        return len(data)
    return len(data) - len(b"\r\n".join(tokens[at:]))


def split_columns(tokens: list[bytes]) -> list[list[bytes]] | None:
    """The arguments of a pipeline whose commands all have equally many: all first ones, all second ones ...

    `tokens` is the input split at every CRLF. None when it is anything else than two or more such commands. Working on
    columns saves half of the time, and lets a pipeline of one command be executed as one (commands/runs.py).
    """
    end = len(tokens) - 1
    step = 2 * _COUNTS.get(tokens[0], 0) + 1
    if step == 1 or end <= step or end % step or tokens[end]:
        return None
    count = end // step
    if tokens[0:end:step].count(tokens[0]) != count:
        return None
    length_of = _BULKS.get
    columns = []
    for at in range(1, step, 2):
        sizes = tokens[at:end:step]
        column = tokens[at + 1 : end : step]
        if sizes.count(sizes[0]) == count:
            if list(map(len, column)).count(length_of(sizes[0], -1)) != count:
                return None
        elif list(map(length_of, sizes)) != list(map(len, column)):
            return None
        columns.append(column)
    return columns


# ---- the exact path


class RequestParser:
    """Feeds on chunks, yields argument lists. `authenticated` widens the limits of a connection that must log in."""

    __slots__ = (
        "_argv",
        "_argv_bytes",
        "_bulk_size",
        "_held_bytes",
        "_missing",
        "_parts",
        "authenticated",
        "error",
        "max_bulk_bytes",
    )

    def __init__(self, max_bulk_bytes: int = 512 << 20) -> None:
        self.max_bulk_bytes = max_bulk_bytes
        self.authenticated = True
        self.error: ProtocolError | None = None
        """Set once input is refused; requests parsed before it are still good."""
        self._argv: list[bytes] | None = None
        self._argv_bytes = 0
        self._missing = 0
        self._bulk_size = -1
        self._parts: list[bytes] = []
        self._held_bytes = 0

    @property
    def wanted_bytes(self) -> int:
        """How much is missing of the argument that is being received, 0 when that is not known."""
        return max(0, self._bulk_size + 2 - self._held_bytes) if self._bulk_size >= 0 else 0

    @property
    def is_clean(self) -> bool:
        """Whether everything received so far was parsed and was right."""
        return self._argv is None and not self._parts and self.error is None

    @property
    def size_bytes(self) -> int:
        """What the unfinished request takes so far, in received bytes and overhead of its arguments."""
        argv = self._argv
        return self._held_bytes + (self._argv_bytes + 64 * len(argv) if argv else 0)

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The requests that `data` completes. After a protocol error `error` is set and input is ignored."""
        requests: list[list[bytes]] = []
        if self._parts:
            self._parts.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._bulk_size + 2:
                return requests
            data = b"".join(self._parts)
            self._parts.clear()
            self._held_bytes = 0
        at = 0
        try:
            if self._argv is not None:
                at = self._resume(data, 0, requests)
            if self._argv is None and self.authenticated and data[at : at + 1] == b"*":
                at += split_requests(data[at:] if at else data, requests)
            while at < len(data) and self._argv is None:
                begun = self._begin(data, at, requests)
                if begun < 0:
                    break
                at = begun if self._argv is None else self._resume(data, begun, requests)
        except ProtocolError as exc:
            self.error = exc
            return requests
        if at < len(data):
            self._parts.append(data[at:])
            self._held_bytes = len(data) - at
        return requests

    def _resume(self, data: bytes, at: int, requests: list[list[bytes]]) -> int:
        """Go on with the request in `_argv`; the position behind what was taken."""
        argv = self._argv
        assert argv is not None
        while self._missing:
            if self._bulk_size < 0:
                body = self._bulk_length(data, at)
                if body < 0:
                    return at
                at = body
            end = at + self._bulk_size + 2
            if end > len(data):
                return at
            # The two bytes behind the body are skipped whatever they are, as Redis does.
            argv.append(data[at : end - 2])
            self._argv_bytes += self._bulk_size
            self._bulk_size = -1
            self._missing -= 1
            at = end
        requests.append(argv)
        self._argv = None
        return at

    def _begin(self, data: bytes, at: int, requests: list[list[bytes]]) -> int:
        """Take an inline command or the header of an array; the new position, or -1 when it is not complete."""
        if data[at] != 0x2A:
            newline = _line_end(data, at, b"\n")
            if newline < 0:
                if len(data) - at > _INLINE_MAX_BYTES:
                    raise ProtocolError("too big inline request")
                return -1
            argv = split_inline(data[at:newline].removesuffix(b"\r"))
            if argv is None:
                raise ProtocolError("unbalanced quotes in request")
            if argv:
                requests.append(argv)
            return newline + 1
        end = _line_end(data, at, b"\r")
        if end < 0 or end + 1 >= len(data):
            if end < 0 and len(data) - at > _INLINE_MAX_BYTES:
                raise ProtocolError("too big mbulk count string")
            return -1
        count = _parse_length(data[at + 1 : end])
        if count is None or count > _COUNT_MAX:
            raise ProtocolError("invalid multibulk length")
        if count > _UNAUTHENTICATED_MAX_COUNT and not self.authenticated:
            raise ProtocolError("unauthenticated multibulk length")
        if count > 0:
            self._argv = []
            self._argv_bytes = 0
            self._missing = count
        return end + 2

    def _bulk_length(self, data: bytes, at: int) -> int:
        """Take the length line of an argument; the new position, or -1 when it is not complete."""
        end = _line_end(data, at, b"\r")
        if end < 0 or end + 1 >= len(data):
            if end < 0 and len(data) - at > _INLINE_MAX_BYTES:
                raise ProtocolError("too big bulk count string")
            return -1
        if data[at] != 0x24:
            raise ProtocolError(f"expected '$', got '{chr(data[at])}'")
        length = _parse_length(data[at + 1 : end])
        if length is None or not 0 <= length <= self.max_bulk_bytes:
            raise ProtocolError("invalid bulk length")
        if length > _UNAUTHENTICATED_MAX_BULK_BYTES and not self.authenticated:
            raise ProtocolError("unauthenticated bulk length")
        self._bulk_size = length
        return end + 2


def _line_end(data: bytes, at: int, ending: bytes) -> int:
    """Where the line from `at` on ends, or -1. As in Redis, no end is ever seen behind a NUL."""
    end = data.find(ending, at)
    return -1 if end > at and data.find(b"\0", at, end) >= 0 else end


def _parse_length(digits: bytes) -> int | None:
    """A signed decimal as Redis reads it: no sign but a minus, no leading zeros, no spaces."""
    body = digits[1:] if digits[:1] == b"-" else digits
    if not body.isdigit() or len(body) > 19 or (body[0] == 0x30 and len(digits) > 1):
        return None
    return int(digits)
