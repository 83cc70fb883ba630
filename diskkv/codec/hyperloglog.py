"""HyperLogLog in Redis' own string representation, so that GET, DUMP and a real server agree byte for byte.

    value     = "HYLL" encoding:u8 unused:3 cache:u64le registers
    encoding  = 0 dense | 1 sparse
    cache     = the cardinality last computed; its highest bit says that it is stale
    dense     = 16384 registers of 6 bits, register i at bit 6 * i of a little-endian number: 12288 bytes
    sparse    = opcodes that together stand for 16384 registers:
                00nnnnnn            ZERO   n + 1 registers (1..64) of 0
                01nnnnnn nnnnnnnn   XZERO  n + 1 registers (1..16384) of 0
                1vvvvvnn            VAL    n + 1 registers (1..4) of v + 1 (1..32)

A value starts sparse and becomes dense for good when a register exceeds 32 or the string would outgrow
``hll-sparse-max-bytes``. Which of several equivalent opcode sequences results depends on the order of additions; it
is the same as Redis' here.

An element's MurmurHash64A selects the register with its low 14 bits; the register keeps the highest number of the first
one bit (counted from 1) among the other 50. The cardinality is Ertl's improved estimator ("New cardinality estimation
algorithms for HyperLogLog sketches", 2017).

Sources: https://redis.io/docs/latest/commands/pfadd/, pfcount, pfmerge, pfdebug, and a real server's strings.
"""

from __future__ import annotations

import math
import random
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from operator import length_hint
from typing import Final

from diskkv.codec.hll_registers import PACKED_BYTES, RANK_BITS, REGISTERS, estimate, histogram_of, maximum, pack, unpack
from diskkv.errors import CommandError

DEFAULT_SPARSE_MAX_BYTES: Final = 3000

_HEADER_BYTES = 16
_DENSE_BYTES = _HEADER_BYTES + PACKED_BYTES
_DENSE, _SPARSE = 0, 1
_MAX_SPARSE_RANK = 32
_MAX_SPARSE_RUN = 4

# Only the stale bit is set: this is what an addition leaves when nothing was counted before.
_NEW = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x7f\xff"

_INVALID = b"WRONGTYPE Key is not a valid HyperLogLog string value."
_CORRUPT = b"INVALIDOBJ Corrupted HLL object detected"


# By opcode: how many registers it stands for (0 for XZERO, which needs its second byte), and those registers.
_RUNS = [op + 1 if op < 0x40 else 0 if op < 0x80 else (op & 3) + 1 for op in range(256)]
_EXPANDED = [bytes(run) if op < 0x80 else bytes([(op >> 2 & 31) + 1]) * run for op, run in enumerate(_RUNS)]


# --- hashing ---

_MULTIPLIER = 0xC6A4A7935BD1E995
_SEED = 0xADC83B19
_MASK = (1 << 64) - 1
_WORDS = [struct.Struct(f"<{count}Q").unpack_from for count in range(33)]


def murmurhash64a(data: bytes) -> int:
    """MurmurHash64A with the seed that Redis uses: 1 us for 12 bytes."""
    size = len(data)
    value = _SEED ^ (size * _MULTIPLIER & _MASK)
    words = size >> 3
    if words:
        unpack = _WORDS[words] if words <= 32 else struct.Struct(f"<{words}Q").unpack_from
        for word in unpack(data):
            word = word * _MULTIPLIER & _MASK
            value = (value ^ (word ^ word >> 47) * _MULTIPLIER & _MASK) * _MULTIPLIER & _MASK
    if size & 7:
        value = (value ^ int.from_bytes(data[words << 3 :], "little")) * _MULTIPLIER & _MASK
    value = (value ^ value >> 47) * _MULTIPLIER & _MASK
    return value ^ value >> 47


def _position(element: bytes) -> tuple[int, int]:
    """The register an element belongs to, and its rank there (1 .. 51)."""
    value = murmurhash64a(element)
    pattern = value >> 14 | 1 << RANK_BITS
    return value & (REGISTERS - 1), (pattern & -pattern).bit_length()


# --- the public operations: strings in, strings out ---


def check(value: bytes) -> None:
    """Refuse a string that cannot be a HyperLogLog. The opcodes of a sparse one are only checked when they are read.

    Raises:
        CommandError: WRONGTYPE.
    """
    if len(value) < _HEADER_BYTES or value[:4] != b"HYLL" or value[4] > _SPARSE:
        raise CommandError(_INVALID)
    if value[4] == _DENSE and len(value) != _DENSE_BYTES:
        raise CommandError(_INVALID)


def create() -> bytes:
    """An empty HyperLogLog as PFADD without elements leaves it."""
    return _NEW


def add(
    value: bytes | None, elements: Iterable[bytes], sparse_max_bytes: int = DEFAULT_SPARSE_MAX_BYTES
) -> tuple[bytes, bool]:
    """PFADD.

    Args:
        value: The string stored now; None when the key does not exist.
        elements: What to add, in order.
        sparse_max_bytes: The longest sparse string, header included (``hll-sparse-max-bytes``).

    Returns:
        The string to store, and whether it changed: always for a new key, else when a register grew. An unchanged
        string is the same object.

    Raises:
        CommandError: WRONGTYPE for another kind of string, INVALIDOBJ when its opcodes are damaged.
    """
    if value is None:
        value, created = _NEW, True
    else:
        check(value)
        created = False
    is_dense = value[4] == _DENSE
    buffer: bytearray | None = None
    for element in elements:
        register, rank = _position(element)
        if is_dense:
            if _dense_rank(buffer or value, register) < rank:
                buffer = buffer or bytearray(value)
                _dense_set(buffer, register, rank)
            continue
        work = buffer or bytearray(value)
        outcome = _sparse_set(work, register, rank, sparse_max_bytes)
        if outcome == _FULL:
            work = bytearray(to_dense(bytes(work)))
            _dense_set(work, register, rank)
            is_dense = True
        if outcome != _UNCHANGED:
            buffer = work
    if buffer is None:
        return value, created
    buffer[15] |= 0x80
    return bytes(buffer), True


def count(value: bytes) -> tuple[int, bytes]:
    """PFCOUNT of one key.

    Returns:
        The cardinality, and the string to store: the same object when the cardinality was cached in it, else with the
        cardinality cached.

    Raises:
        CommandError: WRONGTYPE or INVALIDOBJ.
    """
    check(value)
    if not value[15] & 0x80:
        return int.from_bytes(value[8:16], "little"), value
    if value[4] == _SPARSE:
        histogram = _sparse_histogram(value)
    else:
        histogram = histogram_of(int.from_bytes(value[_HEADER_BYTES:], "little"))
    cardinality = estimate(histogram)
    return cardinality, b"%b%b%b" % (value[:8], (cardinality & _MASK).to_bytes(8, "little"), value[16:])


def count_union(values: Sequence[bytes]) -> int:
    """PFCOUNT of several keys: the cardinality of their union. Leave out keys that do not exist.

    Raises:
        CommandError: WRONGTYPE or INVALIDOBJ.
    """
    return estimate(histogram_of(_union(values)))


def merge(
    destination: bytes | None, sources: Sequence[bytes], sparse_max_bytes: int = DEFAULT_SPARSE_MAX_BYTES
) -> bytes:
    """PFMERGE: the string to store at the destination. Leave out sources that do not exist.

    Args:
        destination: What is stored there now, which takes part in the union; None when the key does not exist.
        sources: The strings of the other keys.
        sparse_max_bytes: As for `add`.

    Raises:
        CommandError: WRONGTYPE or INVALIDOBJ.
    """
    values = list(sources) if destination is None else [destination, *sources]
    registers = _union(values)
    base = _NEW if destination is None else destination
    if any(value[4] == _DENSE for value in values):
        return _dense_value(base, registers, stale=True)
    if destination is None:
        opcodes = _encode(unpack(registers))
        # On the way Redis' string may be up to 3 bytes longer than it ends up, which counts against the limit.
        if opcodes is not None and _HEADER_BYTES + len(opcodes) + 3 <= sparse_max_bytes:
            return _NEW[:_HEADER_BYTES] + opcodes
    buffer = bytearray(base)
    if not _merge_sparse(buffer, unpack(registers), sparse_max_bytes):
        return _dense_value(base, registers, stale=True)
    buffer[15] |= 0x80
    return bytes(buffer)


def encoding(value: bytes) -> str:
    """PFDEBUG ENCODING: ``dense`` or ``sparse``."""
    check(value)
    return "dense" if value[4] == _DENSE else "sparse"


def to_dense(value: bytes) -> bytes:
    """PFDEBUG TODENSE: the same registers in the dense encoding; a dense string is returned as it is.

    Raises:
        CommandError: WRONGTYPE or INVALIDOBJ.
    """
    check(value)
    return value if value[4] == _DENSE else _dense_value(value, _registers(value), stale=False)


def registers(value: bytes) -> bytes:
    """PFDEBUG GETREG: the 16384 registers, one byte each. (The command also stores the string converted by `to_dense`.)

    Raises:
        CommandError: WRONGTYPE or INVALIDOBJ.
    """
    check(value)
    return _expand(value) if value[4] == _SPARSE else unpack(_registers(value))


def describe_opcodes(value: bytes) -> str:
    """PFDEBUG DECODE: the opcodes of a sparse string as ``z:run``, ``Z:run`` and ``v:rank,run``.

    Raises:
        CommandError: WRONGTYPE, or the string is dense.
    """
    check(value)
    if value[4] != _SPARSE:
        raise CommandError(b"ERR HLL encoding is not sparse")
    parts = []
    opcodes = iter(value[_HEADER_BYTES:])
    for op in opcodes:
        if op & 0x80:
            parts.append(f"v:{(op >> 2 & 31) + 1},{_RUNS[op]}")
        elif op & 0x40:
            parts.append(f"Z:{((op & 63) << 8 | next(opcodes, 0)) + 1}")
        else:
            parts.append(f"z:{_RUNS[op]}")
    return " ".join(parts)


# --- sparse ---

_UNCHANGED, _CHANGED, _FULL = 0, 1, 2


def _zeros(run: int) -> bytes:
    """The opcode for `run` zero registers; empty for none."""
    if run > 64:
        return bytes((0x40 | (run - 1) >> 8, (run - 1) & 0xFF))
    return bytes((run - 1,)) if run else b""


def _ranks(rank: int, run: int) -> bytes:
    """The opcode for `run` registers of the same rank; empty for none."""
    return bytes((0x80 | (rank - 1) << 2 | (run - 1),)) if run else b""


def _expand(value: bytes) -> bytes:
    """A sparse string's registers, one byte each."""
    pieces = []
    total = 0
    opcodes = iter(value[_HEADER_BYTES:])
    for op in opcodes:
        if 0x40 <= op < 0x80:
            piece = bytes(((op & 63) << 8 | next(opcodes, 0)) + 1)
        else:
            piece = _EXPANDED[op]
        total += len(piece)
        # Inside the loop: a damaged value could ask for 16384 registers with every two of its bytes.
        if total > REGISTERS:
            break
        pieces.append(piece)
    if total != REGISTERS:
        raise CommandError(_CORRUPT)
    return b"".join(pieces)


def _sparse_histogram(value: bytes) -> list[int]:
    """How many registers have each rank."""
    histogram = [0] * 64
    zeros = 0
    opcodes = iter(value[_HEADER_BYTES:])
    for op in opcodes:
        if op & 0x80:
            histogram[(op >> 2 & 31) + 1] += (op & 3) + 1
        elif op & 0x40:
            zeros += ((op & 63) << 8 | next(opcodes, 0)) + 1
        else:
            zeros += op + 1
    histogram[0] = zeros
    if sum(histogram) != REGISTERS:
        raise CommandError(_CORRUPT)
    return histogram


def _locate(buffer: bytearray, register: int, start: int, first: int) -> tuple[int, int, int]:
    """The opcode that covers a register.

    Args:
        buffer: A sparse string.
        register: At or after `first`.
        start: Where an opcode begins.
        first: The first register of that opcode.

    Returns:
        The positions of the opcode and of the one before it (0 when the search began with it), and the register after
        the opcode's last one.
    """
    runs = _RUNS
    size = len(buffer)
    opcodes = iter(buffer[start:])
    # The position is only computed where it matters: an opcode costs about 30 ns. To step back over an XZERO, remember
    # the places where the last two of them ended.
    wide_end = earlier_wide_end = -1
    for op in opcodes:
        run = runs[op]
        if run:
            first += run
        else:
            low = next(opcodes, -1)
            if low < 0:
                break
            first += ((op & 63) << 8 | low) + 1
            earlier_wide_end, wide_end = wide_end, length_hint(opcodes)
        if first > register:
            left = length_hint(opcodes)
            if not run:
                wide_end = earlier_wide_end
            position = size - left - (1 if run else 2)
            if position == start:
                return position, 0, first
            before = 2 if wide_end == size - position else 1
            return position, position - before, first
    raise CommandError(_CORRUPT)


def _sparse_set(
    buffer: bytearray, register: int, rank: int, max_bytes: int, start: int = _HEADER_BYTES, first: int = 0
) -> int:
    """Raise one register in place, rewriting the opcodes around it exactly as Redis does.

    Returns:
        _UNCHANGED, _CHANGED, or _FULL when the string has to become dense first (it is then as it was).
    """
    if rank > _MAX_SPARSE_RANK:
        return _FULL
    position, previous, after = _locate(buffer, register, start, first)
    op = buffer[position]
    run, old_rank, old_size = _RUNS[op], 0, 1
    if op & 0x80:
        old_rank = (op >> 2 & 31) + 1
        if old_rank >= rank:
            return _UNCHANGED
    elif op & 0x40:
        run, old_size = ((op & 63) << 8 | buffer[position + 1]) + 1, 2
    left, right = register - (after - run), after - 1 - register
    if run == 1 and old_size == 1:
        buffer[position] = 0x80 | (rank - 1) << 2
    else:
        if old_rank:
            new = _ranks(old_rank, left) + _ranks(rank, 1) + _ranks(old_rank, right)
        else:
            new = _zeros(left) + _ranks(rank, 1) + _zeros(right)
        grown = len(new) - old_size
        if grown > 0 and len(buffer) + grown > max_bytes:
            return _FULL
        buffer[position : position + old_size] = new
    _join_runs(buffer, previous or start)
    return _CHANGED


def _join_runs(buffer: bytearray, position: int) -> None:
    """Join neighbouring VAL opcodes of the same rank among the next five, where the sum still fits one opcode."""
    for _ in range(5):
        if position >= len(buffer):
            return
        op = buffer[position]
        if op & 0x80:
            following = buffer[position + 1] if position + 1 < len(buffer) else 0
            if op & 0xFC == following & 0xFC:
                run = (op & 3) + (following & 3) + 2
                if run <= _MAX_SPARSE_RUN:
                    buffer[position : position + 2] = bytes((op & 0xFC | (run - 1),))
                    continue
            position += 1
        else:
            position += 2 if op & 0x40 else 1


_NOT_ZERO = re.compile(rb"[^\0]")
_RUN = re.compile(rb"\0+|([^\0])\1{0,3}", re.DOTALL)


def _encode(ranks: bytes) -> bytes | None:
    """The opcodes that result when all registers of an empty string are raised in ascending order.

    None when a rank is too high for the sparse encoding.
    """
    opcodes = []
    for match in _RUN.finditer(ranks):
        first, end = match.span()
        rank = ranks[first]
        if rank > _MAX_SPARSE_RANK:
            return None
        opcodes.append(_ranks(rank, end - first) if rank else _zeros(end - first))
    return b"".join(opcodes)


def _merge_sparse(buffer: bytearray, ranks: bytes, max_bytes: int) -> bool:
    """Raise the registers to `ranks`, in ascending order; False when the result has to be dense.

    Registers ascend, so each search resumes near the last one instead of at the start. It resumes far enough back that
    the opcode before the one found is known, and that opcodes joined meanwhile are seen.

    Args:
        buffer: A sparse string.
        ranks: One byte a register, nowhere less than the string's own.
        max_bytes: As for `_sparse_set`.
    """
    start, first = _HEADER_BYTES, 0
    raised = int.from_bytes(ranks, "little") ^ int.from_bytes(_expand(bytes(buffer)), "little")
    for match in _NOT_ZERO.finditer(raised.to_bytes(REGISTERS, "little")):
        register = match.start()
        start, first = _advance(buffer, start, first, register)
        if _sparse_set(buffer, register, ranks[register], max_bytes, start, first) == _FULL:
            return False
    return True


def _advance(buffer: bytearray, start: int, first: int, register: int) -> tuple[int, int]:
    """Move forward while at least two opcodes lie between here and the one that covers the register."""
    behind = [(start, first)]
    while start < len(buffer):
        op = buffer[start]
        if 0x40 <= op < 0x80:
            if start + 1 >= len(buffer):
                raise CommandError(_CORRUPT)
            start, first = start + 2, first + ((op & 63) << 8 | buffer[start + 1]) + 1
        else:
            start, first = start + 1, first + _RUNS[op]
        if first > register:
            break
        behind.append((start, first))
    return behind[-3] if len(behind) >= 3 else behind[0]


# --- dense ---


def _dense_rank(value: bytes | bytearray, register: int) -> int:
    bit = register * 6
    at = _HEADER_BYTES + (bit >> 3)
    return int.from_bytes(value[at : at + 2], "little") >> (bit & 7) & 63


def _dense_set(buffer: bytearray, register: int, rank: int) -> None:
    bit = register * 6
    at, shift = _HEADER_BYTES + (bit >> 3), bit & 7
    pair = int.from_bytes(buffer[at : at + 2], "little") & ~(63 << shift) | rank << shift
    buffer[at] = pair & 0xFF
    if shift > 2:
        buffer[at + 1] = pair >> 8


def _dense_value(base: bytes, registers: int, *, stale: bool) -> bytes:
    """A dense string with the header of `base`."""
    header = bytearray(base[:_HEADER_BYTES])
    header[4] = _DENSE
    if stale:
        header[15] |= 0x80
    return bytes(header) + registers.to_bytes(_DENSE_BYTES - _HEADER_BYTES, "little")


def _registers(value: bytes) -> int:
    """All registers as one number, register i at bit 6 * i."""
    if value[4] == _DENSE:
        return int.from_bytes(value[_HEADER_BYTES:], "little")
    return pack(_expand(value))


def _union(values: Sequence[bytes]) -> int:
    """The highest rank of every register, as one number.

    Raises:
        CommandError: WRONGTYPE or INVALIDOBJ, for the first value that is wrong.
    """
    return maximum(_checked_registers(values))


def _checked_registers(values: Sequence[bytes]) -> Iterator[int]:
    for value in values:
        check(value)
        yield _registers(value)


# --- PFSELFTEST ---


def self_test(element_count: int = 100_000, cycles: int = 4, seed: int | None = None) -> None:
    """PFSELFTEST's checks: register access, both encodings against each other, and the error of the estimate.

    Args:
        element_count: How many elements to add; checked at powers of ten up to it. (Redis adds ten million.)
        cycles: How often all registers are written and read back.
        seed: Makes the run repeatable.

    Raises:
        CommandError: TESTFAILED with what went wrong.
    """
    rng = random.Random(seed)
    dense = bytearray(_dense_value(_NEW, 0, stale=True))
    for _ in range(cycles):
        expected = bytes(rng.randrange(64) for _ in range(REGISTERS))
        for register, rank in enumerate(expected):
            _dense_set(dense, register, rank)
        for register, rank in enumerate(expected):
            got = _dense_rank(dense, register)
            if got != rank:
                raise CommandError(b"TESTFAILED Register %d should be %d but is %d" % (register, rank, got))
    _test_estimates(element_count, rng.getrandbits(64))


def _test_estimates(element_count: int, seed: int) -> None:
    dense, either = _dense_value(_NEW, 0, stale=True), _NEW
    checkpoint, added = 1, 0
    while checkpoint <= element_count:
        elements = [(number ^ seed).to_bytes(8, "little") for number in range(added + 1, checkpoint + 1)]
        added = checkpoint
        dense, either = add(dense, elements)[0], add(either, elements)[0]
        if checkpoint < DEFAULT_SPARSE_MAX_BYTES // 2 and encoding(either) != "sparse":
            raise CommandError(b"TESTFAILED sparse encoding not used")
        cardinality = count(dense)[0]
        if cardinality != count(either)[0]:
            raise CommandError(b"TESTFAILED dense/sparse disagree")
        error = abs(cardinality - checkpoint)
        # Six standard deviations; two of ten elements share a register now and then.
        allowed = 1 if checkpoint == 10 else math.ceil(1.04 / math.sqrt(REGISTERS) * 6 * checkpoint)
        if error > allowed:
            raise CommandError(b"TESTFAILED Too big error. card:%d abserr:%d" % (checkpoint, error))
        checkpoint *= 10
