"""The rows of a big list hold up to 32 items each: a block, which grows and shrinks at both ends without being decoded.

block   = entry*
entry   = size:u8 item size:u8            an item of at most 128 bytes
        | 0xff 0xff                       a longer one; it has a row of its own
"""

from __future__ import annotations

BLOCK_ITEMS = 32
BLOCK_MASK = -BLOCK_ITEMS
"""index & BLOCK_MASK is the first index of the block that has the index."""
INLINE_MAX_BYTES = 128

LONG_ENTRY = b"\xff\xff"
SIZES = tuple(bytes((size,)) for size in range(INLINE_MAX_BYTES + 1))
"""The first and last byte of an entry, by the size of the item."""

_LONG = 0xFF
_DAMAGED = "a block of a list is damaged"


def encode_entry(item: bytes) -> bytes:
    """The entry of an item; a long one is not in it."""
    size = len(item)
    return SIZES[size] + item + SIZES[size] if size <= INLINE_MAX_BYTES else LONG_ENTRY


def encode_block(items: list[bytes]) -> bytes:
    """The block of at most `BLOCK_ITEMS` items."""
    return b"".join(map(encode_entry, items))


def decode_block(block: bytes) -> list[bytes | None]:
    """The items, None for each that has its own row. Raises ValueError when the block is damaged."""
    items: list[bytes | None] = []
    append = items.append
    at = 0
    end = len(block)
    try:
        while at < end:
            size = block[at]
            behind = at + size + 1
            if size == _LONG:
                append(None)
                behind = at + 1
            else:
                append(block[at + 1 : behind])
            if block[behind] != size:
                raise ValueError(_DAMAGED)
            at = behind + 1
    except IndexError:
        raise ValueError(_DAMAGED) from None
    if len(items) > BLOCK_ITEMS:
        raise ValueError(_DAMAGED)
    return items


def split_entries(block: bytes) -> list[bytes]:
    """The entries one by one. Raises ValueError when the block is damaged."""
    entries = []
    at = 0
    while at < len(block):
        behind = at + (2 if block[at] == _LONG else block[at] + 2)
        if behind > len(block) or block[behind - 1] != block[at]:
            raise ValueError(_DAMAGED)
        entries.append(block[at:behind])
        at = behind
    return entries


def entry_offset(block: bytes, position: int) -> int:
    """Where the entry of an item (0: the first) begins; the end of the block for its number of items.

    Raises ValueError when the block has fewer items.
    """
    at = 0
    try:
        for _ in range(position):
            size = block[at]
            at += 2 if size == _LONG else size + 2
    except IndexError:
        raise ValueError(_DAMAGED) from None
    if at > len(block):
        raise ValueError(_DAMAGED)
    return at


def item_at(block: bytes, offset: int) -> bytes | None:
    """The item of the entry that begins at `offset`, None for a long one. Raises ValueError."""
    try:
        size = block[offset]
        if size == _LONG:
            return None
        if block[offset + size + 1] == size:
            return block[offset + 1 : offset + size + 1]
    except IndexError:
        pass
    raise ValueError(_DAMAGED)


def split_first(block: bytes) -> tuple[bytes | None, bytes]:
    """The first item (None: a long one) and the block without it. Raises ValueError."""
    try:
        size = block[0]
        if size == _LONG:
            return None, block[2:]
        if block[size + 1] == size:
            return block[1 : size + 1], block[size + 2 :]
    except IndexError:
        pass
    raise ValueError(_DAMAGED)


def split_last(block: bytes) -> tuple[bytes | None, bytes]:
    """The last item (None: a long one) and the block without it. Raises ValueError."""
    try:
        size = block[-1]
        if size == _LONG:
            return None, block[:-2]
        if block[-size - 2] == size:
            return block[-size - 1 : -1], block[: -size - 2]
    except IndexError:
        pass
    raise ValueError(_DAMAGED)
