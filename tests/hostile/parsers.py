"""All parsers of requests on the same bytes."""

from __future__ import annotations

from random import Random

from diskkv.resp.parser import RequestParser
from diskkv.server import plain

try:
    from diskkv.server import _native
except ImportError:
    _native = None  # type: ignore[assignment]

Outcome = tuple[list[list[bytes]], str | None, int]
_MAX_BULK_BYTES = 1 << 20


def parse(pieces: list[bytes], authenticated: bool = True) -> Outcome:
    """The requests in the pieces, the error that ended them, and how much is kept of an unfinished one."""
    parser = RequestParser(_MAX_BULK_BYTES)
    parser.authenticated = authenticated
    requests: list[list[bytes]] = []
    for piece in pieces:
        requests += parser.feed(piece)
        if parser.error is not None:
            return requests, str(parser.error), 0
    return requests, None, parser.size_bytes


def cut(rng: Random, data: bytes) -> list[bytes]:
    """The bytes in pieces."""
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((1, 2, 5, 20))))
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True) if start < stop]


def check(rng: Random, data: bytes) -> None:
    """However the bytes are cut, and whichever parser takes them, they are the same requests."""
    whole = parse([data]) if data else ([], None, 0)
    assert parse(cut(rng, data)) == whole, data
    if len(data) < 300 and rng.random() < 0.2:
        assert parse([data[at : at + 1] for at in range(len(data))]) == whole, data
    if rng.random() < 0.2:
        assert parse(cut(rng, data), False) == (parse([data], False) if data else whole), data
    short = _rows(plain.parse(data))
    if short is not None:
        assert (short, None, 0) == whole, data
    if _native is not None:
        rows = _rows(_native.parse(data))
        if rows is not None:
            assert (rows, None, 0) == whole, data
        # The compiled one also takes arguments with line breaks in them.
        assert rows is not None or short is None, data


def _rows(taken: plain.Received | bytes) -> list[list[bytes]] | None:
    if isinstance(taken, bytes):
        return None
    _, requests, columns = taken
    if requests is not None:
        return requests
    assert columns is not None
    return [list(argv) for argv in zip(*columns, strict=True)]
