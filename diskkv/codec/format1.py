"""What on-disk format 1 had in another form; only for upgrades.

list block    = entry*                        up to 32 items of a big list
entry         = size:u8 item size:u8          an item of at most 128 bytes
              | 0xff 0xff                     a longer one; it has a row of its own, as in later formats
"""

from __future__ import annotations

_LONG = 0xFF
_MAX_ITEMS = 32
_DAMAGED = "a block of a list is damaged"


def decode_list_block(block: bytes) -> list[bytes | None]:
    """The items, None for each that has its own row. Raises ValueError when the block is damaged."""
    items: list[bytes | None] = []
    at = 0
    while at < len(block):
        size = block[at]
        behind = at + 1 + (0 if size == _LONG else size)
        if block[behind : behind + 1] != block[at : at + 1]:
            raise ValueError(_DAMAGED)
        items.append(None if size == _LONG else block[at + 1 : behind])
        at = behind + 1
    if not 0 < len(items) <= _MAX_ITEMS:
        raise ValueError(_DAMAGED)
    return items
