"""The digest of a string value for DIGEST, and for IFDEQ and IFDNE of SET and DELEX: XXH3 with 64 bits, seed 0.

Sources: https://redis.io/docs/latest/commands/digest/, https://github.com/redis/redis/pull/14502
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import xxhash

from diskkv.errors import CommandError

DIGEST_LENGTH: Final = 16


def value_digest(value: bytes) -> bytes:
    """The digest of a value: 16 lower-case hexadecimal digits, leading zeros included."""
    return xxhash.xxh3_64_hexdigest(value).encode()


def chunked_digest(chunks: Iterable[bytes]) -> bytes:
    """The digest of a value given in pieces, in order; an absent chunk has to be given as its zeros."""
    state = xxhash.xxh3_64()
    for chunk in chunks:
        state.update(chunk)
    return state.hexdigest().encode()


def check_digest(argument: bytes) -> None:
    """Refuse an argument of IFDEQ or IFDNE that has another length than a digest.

    As in Redis only the length is looked at: 16 other characters are a digest that no value has.

    Raises:
        CommandError: The argument has not 16 bytes.
    """
    if len(argument) != DIGEST_LENGTH:
        raise CommandError(b"ERR must be exactly 16 hexadecimal characters")


def same_digest(digest: bytes, argument: bytes) -> bool:
    """Whether a client's digest is this one; upper and lower case are the same."""
    return digest == argument.lower()
