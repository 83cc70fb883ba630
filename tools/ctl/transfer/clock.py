"""Which commands of a stream need to know the time."""

from __future__ import annotations

from collections.abc import Sequence

_ALWAYS = frozenset(
    b"EXPIRE PEXPIRE SETEX PSETEX HEXPIRE HPEXPIRE XCLAIM XAUTOCLAIM XREADGROUP XGROUP TIME EVAL EVALSHA EVAL_RO"
    b" EVALSHA_RO FCALL FCALL_RO".split()
)
_WITH_SECONDS = frozenset(b"SET GETEX HSETEX HGETEX MSETEX".split())
_UNITS = frozenset((b"EX", b"PX"))


def needs_clock(argv: Sequence[bytes]) -> bool:
    """Whether the command says something relative to now, or uses the time otherwise.

    Append-only files hold absolute times; relative ones occur in streams that were written for `redis-cli --pipe`.
    """
    name = argv[0].upper()
    if name in _WITH_SECONDS:
        return any(argument.upper() in _UNITS for argument in argv[2:])
    if name == b"RESTORE":
        return all(argument.upper() != b"ABSTTL" for argument in argv[4:])
    if name == b"XADD":
        return any(argument == b"*" for argument in argv[2:])
    return name in _ALWAYS
