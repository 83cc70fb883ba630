"""The registers of a HyperLogLog as one big integer: packing, maximum, histogram, and the estimator.

Register i, of 6 bits, is at bit 6 * i: a dense string's bytes read as a little-endian number. On one core of the
machine this was written on, a histogram takes about 0.1 ms and the maximum of two sets of registers 0.02 ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

REGISTERS: Final = 1 << 14
PACKED_BYTES: Final = REGISTERS * 6 // 8
RANK_BITS: Final = 50
"""How many bits of the hash are searched for the first one; a rank is 1 .. RANK_BITS + 1."""

_ALPHA = 0.5 / math.log(2)


def _repeat(pattern: int, bits: int, times: int) -> int:
    """A number made of `times` copies of a `bits` wide pattern."""
    return pattern * (((1 << (bits * times)) - 1) // ((1 << bits) - 1))


# Registers at even places, each with 6 bits of room above it, and the lowest bit of that room.
_EVEN = _repeat(0x3F, 12, REGISTERS // 2)
_GUARDS = _repeat(0x40, 12, REGISTERS // 2)
_LOWEST_BITS = _repeat(1, 6, REGISTERS)
# Steps between one register a byte and four registers in three bytes.
_BYTE_LANES = (_repeat(0x3F, 16, REGISTERS // 2), _repeat(0x3F00, 16, REGISTERS // 2))
_PAIR_LANES = (_repeat(0xFFF, 32, REGISTERS // 4), _repeat(0xFFF0000, 32, REGISTERS // 4))
_PACKED_PAIRS = (_repeat(0x3F, 16, REGISTERS // 2), _repeat(0xFC0, 16, REGISTERS // 2))
_PACKED_QUADS = (_repeat(0xFFF, 32, REGISTERS // 4), _repeat(0xFFF000, 32, REGISTERS // 4))


def pack(ranks: bytes) -> int:
    """From one register a byte to 6 bits each."""
    number = int.from_bytes(ranks, "little")
    number = number & _BYTE_LANES[0] | (number & _BYTE_LANES[1]) >> 2
    number = number & _PAIR_LANES[0] | (number & _PAIR_LANES[1]) >> 4
    wide = number.to_bytes(REGISTERS, "little")
    narrow = bytearray(PACKED_BYTES)
    for place in range(3):
        narrow[place::3] = wide[place::4]
    return int.from_bytes(narrow, "little")


def unpack(registers: int) -> bytes:
    """From 6 bits each to one register a byte."""
    narrow = registers.to_bytes(PACKED_BYTES, "little")
    wide = bytearray(REGISTERS)
    for place in range(3):
        wide[place::4] = narrow[place::3]
    number = int.from_bytes(wide, "little")
    number = number & _PACKED_QUADS[0] | (number & _PACKED_QUADS[1]) << 4
    number = number & _PACKED_PAIRS[0] | (number & _PACKED_PAIRS[1]) << 2
    return number.to_bytes(REGISTERS, "little")


def maximum(numbers: Iterable[int]) -> int:
    """The highest rank of every register over any number of sets of registers."""
    even = odd = 0
    for number in numbers:
        even = _pairwise_maximum(even, number & _EVEN)
        odd = _pairwise_maximum(odd, number >> 6 & _EVEN)
    return even | odd << 6


def _pairwise_maximum(left: int, right: int) -> int:
    """The larger of each pair of 6-bit numbers that stand 12 bits apart."""
    # A guard bit survives the subtraction where left >= right; spread over the 6 bits below, it selects left.
    kept = (left | _GUARDS) - right & _GUARDS
    return right ^ (left ^ right) & (kept - (kept >> 6))


def histogram_of(registers: int) -> list[int]:
    """How many registers have each rank.

    The registers are split by their highest bit, each part by the next one, and so on; parts are kept as numbers with
    one bit a register, so that a split is two operations and an empty part is 0.
    """
    parts = {0: _LOWEST_BITS}
    for bit in (5, 4, 3, 2, 1, 0):
        plane = registers >> bit & _LOWEST_BITS
        split = {}
        for rank, part in parts.items():
            ones = part & plane
            if ones:
                split[rank | 1 << bit] = ones
            if ones != part:
                split[rank] = part ^ ones
        parts = split
    histogram = [0] * 64
    for rank, part in parts.items():
        histogram[rank] = part.bit_count()
    return histogram


def estimate(histogram: Sequence[int]) -> int:
    """The cardinality, rounded to the nearest integer, halves up.

    Registers that only a made-up string can hold give more than 64 bits; the result is -2**63 then, as Redis'.
    """
    total = float(REGISTERS)
    z = total * _tau((total - histogram[RANK_BITS + 1]) / total)
    for rank in range(RANK_BITS, 0, -1):
        z = (z + histogram[rank]) * 0.5
    z += total * _sigma(histogram[0] / total)
    cardinality = _ALPHA * total * total / z if z else math.inf
    if cardinality >= 1 << 63:
        return -(1 << 63)
    whole = int(cardinality)
    return whole + 1 if cardinality - whole >= 0.5 else whole


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z = 1.0, 1.0 - x
    while True:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1.0 - x) ** 2 * y
        if z == before:
            return z / 3.0


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    y, z = 1.0, x
    while True:
        x *= x
        before = z
        z += x * y
        y += y
        if z == before:
            return z
