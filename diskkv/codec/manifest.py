"""LevelDB's MANIFEST: which tables make up the store, and from which write-ahead log on records are not in them.

The file is a log of version edits, each of which adds and removes tables; the live tables are what is left after all
of them. It only ever grows while the store is open, so a reader can go on where it stopped.

    log file  = blocks of 32 KiB; in each: records until fewer than 7 bytes are left, which are zeros
    record    = crc32c:u32 (little-endian, masked, over type and data)  length:u16 (little-endian)  type:u8  data
    type      = 1 whole edit | 2 first | 3 middle | 4 last piece of one
    edit      = fields of tag:varint and content, see `_decode_edit`

Source: doc/log_format.md, doc/impl.md and db/version_edit.cc of LevelDB.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import cast

from anycrc import Model  # type: ignore[import-untyped]

from diskkv.errors import CorruptionError

_crc32c = cast("Callable[[bytes], int]", Model("CRC32-ISCSI").calc)
_MASK_DELTA = 0xA282EAD8
_UINT32 = 0xFFFFFFFF

BLOCK_BYTES = 32 * 1024
_RECORD = Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4

# Tags of an edit's fields (on disk, LevelDB's).
_COMPARATOR = 1
_LOG_NUMBER = 2
_NEXT_FILE = 3
_LAST_SEQUENCE = 4
_COMPACT_POINTER = 5
_DELETED_TABLE = 6
_NEW_TABLE = 7
_PREVIOUS_LOG = 9


class ManifestReader:
    """Reads a manifest piece by piece.

    `tables`: number -> size in bytes of the live ones; `log_number`: records of logs below it are in tables; `end`: how
    many bytes of the file are whole edits, which is where the next piece starts.
    """

    def __init__(self) -> None:
        self.tables: dict[int, int] = {}
        self.log_number = 0
        self.end = 0

    def feed(self, raw: bytes) -> None:
        """Read the file's content from `end` on; an edit that is not whole yet is left for the next call.

        Raises CorruptionError.
        """
        start = self.end
        at = 0
        pieces: list[bytes] = []
        while True:
            left = BLOCK_BYTES - (start + at) % BLOCK_BYTES
            if left < _RECORD.size:
                at += left
                continue
            if at + _RECORD.size > len(raw):
                return
            crc, size, kind = _RECORD.unpack_from(raw, at)
            stop = at + _RECORD.size + size
            if stop > len(raw):
                return
            data = raw[at + _RECORD.size : stop]
            if _RECORD.size + size > left or masked_crc(bytes((kind,)) + data) != crc:
                message = f"the manifest is damaged at byte {start + at}"
                raise CorruptionError(message)
            if (kind in (_WHOLE, _FIRST)) == bool(pieces) or not _WHOLE <= kind <= _LAST:
                message = f"the manifest has a record of type {kind} at byte {start + at}"
                raise CorruptionError(message)
            pieces.append(data)
            at = stop
            if kind in (_WHOLE, _LAST):
                self._apply(b"".join(pieces))
                pieces.clear()
                self.end = start + at

    def _apply(self, edit: bytes) -> None:
        try:
            log_number, deleted, added = _decode_edit(edit)
        except IndexError:
            message = "the manifest has an edit that ends in the middle of a field"
            raise CorruptionError(message) from None
        if log_number is not None:
            self.log_number = log_number
        for number in deleted:
            self.tables.pop(number, None)
        self.tables.update(added)


def masked_crc(data: bytes) -> int:
    """The checksum of a record, in the form in which LevelDB stores it."""
    crc = _crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _UINT32


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """(value, position behind it)."""
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _text(raw: bytes, at: int) -> int:
    """The position behind a length-prefixed string."""
    size, at = _varint(raw, at)
    if at + size > len(raw):
        raise IndexError(at)
    return at + size


def _decode_edit(raw: bytes) -> tuple[int | None, list[int], dict[int, int]]:
    """(log number if it changes, numbers of deleted tables, size by number of new ones). Raises IndexError."""
    log_number: int | None = None
    deleted: list[int] = []
    added: dict[int, int] = {}
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        if tag == _COMPARATOR:
            at = _text(raw, at)
        elif tag == _LOG_NUMBER:
            log_number, at = _varint(raw, at)
        elif tag in (_NEXT_FILE, _LAST_SEQUENCE, _PREVIOUS_LOG):
            _, at = _varint(raw, at)
        elif tag == _COMPACT_POINTER:
            _, at = _varint(raw, at)
            at = _text(raw, at)
        elif tag == _DELETED_TABLE:
            _, at = _varint(raw, at)
            number, at = _varint(raw, at)
            deleted.append(number)
        elif tag == _NEW_TABLE:
            _, at = _varint(raw, at)
            number, at = _varint(raw, at)
            size, at = _varint(raw, at)
            at = _text(raw, _text(raw, at))
            added[number] = size
        else:
            message = f"the manifest has an edit with the unknown field {tag}"
            raise CorruptionError(message)
    return log_number, deleted, added
