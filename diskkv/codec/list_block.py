"""The rows of a big list hold up to 32 items each: a block, which grows and shrinks at both ends without being decoded.

block   = count:u8 size:u8 * count entry * count
entry   = "$" length "\\r\\n" item "\\r\\n"        an item of at most 128 bytes; `size` is that of the whole entry
        | nothing                               a longer one, of size 0; it has a row of its own

An entry is what a client gets for the item, so that a range of a list is sent as it is stored: 100 items in 3 us
instead of the 45 that decoding and encoding take. What is cut out of a block, or joined from several, is a block too.
"""

from __future__ import annotations

from collections.abc import Sequence

BLOCK_ITEMS = 32
BLOCK_MASK = -BLOCK_ITEMS
"""index & BLOCK_MASK is the first index of the block that has the index."""
INLINE_MAX_BYTES = 128

BYTES = tuple(bytes((number,)) for number in range(256))
HEADS = tuple(b"$%d\r\n" % size for size in range(INLINE_MAX_BYTES + 1))
"""The beginning of an entry, by the length of the item."""
SIZES = tuple(BYTES[len(head) + length + 2] for length, head in enumerate(HEADS))
"""The size of an entry as it is stored, by the length of the item."""
LINE_END = b"\r\n"
EMPTY_BLOCK = b"\0"
LONG_BLOCK = b"\1\0"
"""A block of one long item."""

_LONGEST_ENTRY = SIZES[-1][0]
_HEAD_SIZES = (0, *(4 if size < 16 else 5 if size < 107 else 6 for size in range(1, _LONGEST_ENTRY + 1)))
"""The size of an entry's head by that of the entry."""
_DAMAGED = "a block of a list is damaged"


def encode_entry(item: bytes) -> bytes:
    """The block of one item; a long one is not in it."""
    size = len(item)
    return BYTES[1] + SIZES[size] + HEADS[size] + item + LINE_END if size <= INLINE_MAX_BYTES else LONG_BLOCK


def entry_text(item: bytes) -> bytes:
    """What a block that has this item (not a long one) contains."""
    return HEADS[len(item)] + item + LINE_END


def encode_block(items: Sequence[bytes]) -> bytes:
    """The block of at most `BLOCK_ITEMS` items."""
    sizes = b"".join([SIZES[len(item)] if len(item) <= INLINE_MAX_BYTES else EMPTY_BLOCK for item in items])
    entries = b"".join([entry_text(item) for item in items if len(item) <= INLINE_MAX_BYTES])
    return BYTES[len(items)] + sizes + entries


def count_of(block: bytes) -> int:
    """The number of items. Raises ValueError when the sizes do not fit the block."""
    if block:
        count = block[0]
        if count <= BLOCK_ITEMS and len(block) == 1 + count + sum(block[1 : count + 1]):
            return count
    raise ValueError(_DAMAGED)


def has_long(block: bytes) -> bool:
    """Whether some items have rows of their own."""
    return 0 in block[1 : block[0] + 1]


def decode_block(block: bytes) -> list[bytes | None]:
    """The items, None for each that has its own row. Raises ValueError when the block is damaged."""
    count = count_of(block)
    items: list[bytes | None] = []
    at = count + 1
    for size in block[1:at]:
        items.append(_item(block, at, size) if size else None)
        at += size
    return items


def _item(block: bytes, at: int, size: int) -> bytes:
    """The item of the entry of this size at an offset. Raises ValueError."""
    if size <= _LONGEST_ENTRY:
        start = at + _HEAD_SIZES[size]
        stop = at + size - 2
        if stop >= start and block.startswith(HEADS[stop - start], at):
            return block[start:stop]
    raise ValueError(_DAMAGED)


def item_at(block: bytes, position: int) -> bytes | None:
    """The item at a position (0: the first), None for a long one. Raises ValueError."""
    count = count_of(block)
    if position >= count:
        raise ValueError(_DAMAGED)
    size = block[1 + position]
    return _item(block, 1 + count + sum(block[1 : 1 + position]), size) if size else None


def entries_between(block: bytes, start: int, stop: int) -> bytes:
    """The entries of the positions start <= position < stop, ready to be sent. Raises ValueError.

    A long one among them is left out.
    """
    count = count_of(block)
    if start == 0 and stop == count:
        return block[count + 1 :]
    if stop > count:
        raise ValueError(_DAMAGED)
    first = 1 + count + sum(block[1 : 1 + start])
    return block[first : first + sum(block[1 + start : 1 + stop])]


def entries_of(block: bytes) -> list[bytes]:
    """The entries of a block without long items, one by one. Raises ValueError."""
    entries = []
    at = count_of(block) + 1
    for size in block[1:at]:
        entries.append(block[at : at + size])
        at += size
    return entries


def item_of(entry: bytes) -> bytes:
    """The item of an entry."""
    return entry[_HEAD_SIZES[len(entry)] : -2]


# ---- taking apart and putting together


def split_block(block: bytes, position: int) -> tuple[bytes, bytes]:
    """The blocks of the items before a position and from it on. Raises ValueError when there are fewer items."""
    count = count_of(block)
    if not 0 <= position <= count:
        raise ValueError(_DAMAGED)
    sizes = block[1 : 1 + position]
    at = 1 + count + sum(sizes)
    left = BYTES[position] + sizes + block[1 + count : at]
    return left, BYTES[count - position] + block[1 + position : 1 + count] + block[at:]


def join_blocks(blocks: Sequence[bytes]) -> bytes:
    """The block of the items of several, which are not too many for one."""
    if len(blocks) == 1:
        return blocks[0]
    sizes = b"".join([block[1 : 1 + block[0]] for block in blocks])
    return BYTES[len(sizes)] + sizes + b"".join([block[1 + block[0] :] for block in blocks])


def split_entries(block: bytes) -> list[bytes]:
    """The items one by one, as blocks. Raises ValueError when the block is damaged."""
    blocks = []
    at = count_of(block) + 1
    for size in block[1:at]:
        blocks.append(BYTES[1] + BYTES[size] + block[at : at + size])
        at += size
    return blocks


def split_first(block: bytes) -> tuple[bytes | None, bytes]:
    """The first item (None: a long one) and the block without it, b"" when it was the only one. Raises ValueError."""
    try:
        count = block[0]
        size = block[1]
        at = count + 1
        begin = at + _HEAD_SIZES[size]
        stop = at + size
        item = block[begin : stop - 2] if size else None
        if not count or (size and block[at:begin] != HEADS[stop - 2 - begin]) or len(block) < stop:
            raise ValueError(_DAMAGED)
    except IndexError:
        raise ValueError(_DAMAGED) from None
    return item, BYTES[count - 1] + block[2:at] + block[stop:] if count > 1 else b""


def split_last(block: bytes) -> tuple[bytes | None, bytes]:
    """The last item (None: a long one) and the block without it, b"" when it was the only one. Raises ValueError."""
    try:
        count = block[0]
        size = block[count]
        at = len(block) - size
        begin = at + _HEAD_SIZES[size]
        item = block[begin:-2] if size else None
        if not count or (size and block[at:begin] != HEADS[size - 2 - begin + at]) or at <= count:
            raise ValueError(_DAMAGED)
    except IndexError:
        raise ValueError(_DAMAGED) from None
    return item, BYTES[count - 1] + block[1:count] + block[count + 1 : at] if count > 1 else b""
