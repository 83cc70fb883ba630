"""Bits of strings, chunk by chunk: an operation on a sparse bitmap of 512 MB reads only the chunks that exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from diskkv.codec import bits
from diskkv.codec.header import STRING, Header, Value
from diskkv.codec.keys import KIND_STRING_CHUNK, U32, element_prefix
from diskkv.datatypes import strings
from diskkv.datatypes.strings import CHUNK_BYTES, INLINE_MAX_BYTES
from diskkv.engine.engine import Engine


def _inline(value: Value) -> bytes | None:
    """The bytes of an inline string, None for a chunked one."""
    return value if isinstance(value, bytes) else value.value


def _chunks(engine: Engine, header: Header, first: int, last: int) -> Iterator[tuple[int, bytes]]:
    """(index, stored bytes) of the chunks that exist from `first` to `last`, both inclusive."""
    prefix = element_prefix(header.oid, KIND_STRING_CHUNK)
    for row, data in engine.rows.scan(prefix + U32.pack(first), prefix + U32.pack(last + 1)):
        yield U32.unpack_from(row, len(row) - 4)[0], data


def get_bit(engine: Engine, value: Value, offset: int) -> int:
    """The bit at `offset`, 0 past the end."""
    index = offset >> 3
    if index >= strings.length(value):
        return 0
    return bits.get_bit(strings.read_range(engine, value, index, index + 1), offset & 7)


def count(engine: Engine, value: Value, first_bit: int, last_bit: int) -> int:
    """The number of ones in first_bit .. last_bit, both inclusive and within the string."""
    data = _inline(value)
    if data is not None:
        return bits.count_bits(data, first_bit, last_bit)
    assert isinstance(value, Header)
    total = 0
    chunk_bits = CHUNK_BYTES << 3
    for index, chunk in _chunks(engine, value, first_bit // chunk_bits, last_bit // chunk_bits):
        part = bits.clip_to_chunk(index, CHUNK_BYTES, first_bit, last_bit)
        if part is not None:
            total += bits.count_bits(chunk, *part)
    return total


def find(engine: Engine, value: Value, bit: int, first_bit: int, last_bit: int) -> int:
    """The position of the first `bit` in first_bit .. last_bit, both inclusive and within the string, or -1."""
    data = _inline(value)
    if data is not None:
        return bits.find_bit(data, bit, first_bit, last_bit)
    assert isinstance(value, Header)
    chunk_bits = CHUNK_BYTES << 3
    expected = first_bit // chunk_bits
    last = last_bit // chunk_bits
    for index, chunk in _chunks(engine, value, expected, last):
        if not bit and index > expected:
            break
        expected = index + 1
        part = bits.clip_to_chunk(index, CHUNK_BYTES, first_bit, last_bit)
        if part is not None:
            position = bits.find_bit(chunk, bit, *part)
            if position >= 0:
                return index * chunk_bits + position
    if bit or expected > last:
        return -1
    return max(first_bit, expected * chunk_bits)


def _block(engine: Engine, value: Value, index: int) -> bytes | None:
    data = _inline(value)
    if data is not None:
        return data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES] or None
    assert isinstance(value, Header)
    return strings.chunk(engine, value, index)


def combine(engine: Engine, operation: bytes, sources: Sequence[Value | None], size_bytes: int) -> Value:
    """BITOP's result of `size_bytes` > 0 bytes, staging its chunks when it is long; None stands for a missing key."""
    if size_bytes <= INLINE_MAX_BYTES:
        blocks = [None if source is None else strings.read(engine, source) for source in sources]
        return Header(STRING, bits.combine(operation, blocks, size_bytes) or bytes(size_bytes), raw=True)
    oid = engine.new_oid()
    prefix = element_prefix(oid, KIND_STRING_CHUNK)
    for index in range((size_bytes + CHUNK_BYTES - 1) // CHUNK_BYTES):
        blocks = [None if source is None else _block(engine, source, index) for source in sources]
        width = min(CHUNK_BYTES, size_bytes - index * CHUNK_BYTES)
        result = bits.combine(operation, blocks, width)
        if result is not None:
            engine.rows.put(prefix + U32.pack(index), result)
    return Header(STRING, None, 0, oid, size_bytes, raw=True)
