"""The options of SET, GETEX and MSETEX: which exist, which exclude each other, and what follows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from diskkv.codec.digest import check_digest, chunked_digest, same_digest
from diskkv.codec.header import Value
from diskkv.commands.expiration import deadline_ms
from diskkv.datatypes import strings
from diskkv.engine.engine import Engine
from diskkv.errors import CommandSyntaxError

NX = 1
XX = 2
IFEQ = 4
IFNE = 8
IFDEQ = 16
IFDNE = 32
GET = 64
KEEPTTL = 128
PERSIST = 256
EX = 512
PX = 1024
EXAT = 2048
PXAT = 4096

COMPARISONS = IFEQ | IFNE | IFDEQ | IFDNE
CONDITIONS = NX | XX | COMPARISONS
EXPIRES = EX | PX | EXAT | PXAT
_LIFETIME = KEEPTTL | PERSIST | EXPIRES


class Option(NamedTuple):
    """One option: its bit, the bits it cannot go with, and whether an operand follows."""

    bit: int
    excludes: int
    has_operand: bool


def _options(*names: str) -> dict[bytes, Option]:
    bits = {
        "NX": (NX, CONDITIONS),
        "XX": (XX, CONDITIONS),
        "IFEQ": (IFEQ, CONDITIONS),
        "IFNE": (IFNE, CONDITIONS),
        "IFDEQ": (IFDEQ, CONDITIONS),
        "IFDNE": (IFDNE, CONDITIONS),
        "GET": (GET, 0),
        "KEEPTTL": (KEEPTTL, _LIFETIME),
        "PERSIST": (PERSIST, _LIFETIME),
        "EX": (EX, _LIFETIME),
        "PX": (PX, _LIFETIME),
        "EXAT": (EXAT, _LIFETIME),
        "PXAT": (PXAT, _LIFETIME),
    }
    # An option may be repeated: then the last operand counts.
    return {
        name.encode(): Option(bit, group & ~bit, bool(bit & (COMPARISONS | EXPIRES)))
        for name, (bit, group) in bits.items()
        if name in names
    }


SET_OPTIONS = _options("NX", "XX", "IFEQ", "IFNE", "IFDEQ", "IFDNE", "GET", "KEEPTTL", "EX", "PX", "EXAT", "PXAT")
GETEX_OPTIONS = _options("PERSIST", "EX", "PX", "EXAT", "PXAT")
MSETEX_OPTIONS = _options("NX", "XX", "KEEPTTL", "EX", "PX", "EXAT", "PXAT")


def parse_options(argv: list[bytes], at: int, options: Mapping[bytes, Option]) -> tuple[int, bytes, bytes]:
    """(bits, time, comparison operand) of the options from argv[at] on; raises CommandSyntaxError."""
    bits = 0
    time = operand = b""
    end = len(argv)
    while at < end:
        option = options.get(argv[at].upper())
        if option is None or bits & option.excludes:
            raise CommandSyntaxError
        bits |= option.bit
        at += 1
        if option.has_operand:
            if at == end:
                raise CommandSyntaxError
            if option.bit & EXPIRES:
                time = argv[at]
            else:
                operand = argv[at]
            at += 1
    return bits, time, operand


def expire_ms_of_options(bits: int, time: bytes, now_ms: int, command: bytes) -> int:
    """The absolute time that EX, PX, EXAT or PXAT asks for, 0 when none of them is there; raises CommandError."""
    if not bits & EXPIRES:
        return 0
    return deadline_ms(time, 1000 if bits & (EX | EXAT) else 1, now_ms if bits & (EX | PX) else 0, command)


def compares(engine: Engine, value: Value, bits: int, operand: bytes) -> bool:
    """Whether the comparison in `bits` is true of a string; CommandError for a digest that is none."""
    if bits & (IFEQ | IFNE):
        return strings.equals(engine, value, operand) == bool(bits & IFEQ)
    check_digest(operand)
    return same_digest(digest(engine, value), operand) == bool(bits & IFDEQ)


def digest(engine: Engine, value: Value) -> bytes:
    """The digest of a string, as DIGEST answers it."""
    return chunked_digest(strings.pieces(engine, value))
