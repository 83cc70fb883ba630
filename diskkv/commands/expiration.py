"""Times to live as arguments give them: EX, PX, EXAT and PXAT of SET and of the other commands that take them."""

from __future__ import annotations

from diskkv.codec.numbers import INT64_MAX, parse_int64
from diskkv.errors import CommandError, NotIntegerError


def deadline_ms(argument: bytes, unit_ms: int, base_ms: int, command: bytes) -> int:
    """The absolute time that `argument`, a number of units after `base_ms`, stands for.

    Args:
        argument: As the client sent it.
        unit_ms: 1000 for seconds, 1 for ms.
        base_ms: The turn's clock for a relative time, 0 for an absolute one.
        command: The command's name in lower case, for the error.

    Raises:
        NotIntegerError: Not a 64-bit integer.
        CommandError: Zero, negative or too far away.
    """
    try:
        number = parse_int64(argument)
    except ValueError:
        raise NotIntegerError from None
    at_ms = number * unit_ms + base_ms
    if number <= 0 or at_ms > INT64_MAX:
        raise CommandError(b"ERR invalid expire time in '%b' command" % command)
    return at_ms
