"""From one on-disk format to the next.

The format's number is in a system row (`FORMAT_VERSION` in codec/keys.py). A program refuses a newer format, and an
older one until `diskkvctl upgrade` has brought it up to date: that may take long and needs a backup first, which a
server that is to be ready at once should not do by itself.

A change of the layout that old rows do not agree with takes the next number, and a step here that rewrites them. How
far a step has come is written with the rows, in the same batch, so that an interrupted upgrade goes on where it stopped
and no row is rewritten twice. Meanwhile the format's number has the mark `UPGRADING`, which every version refuses.

    1 -> 2    blocks of lists hold their items as they are sent (codec/list_block.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

from diskkv.codec import format1
from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    ELEMENT_TAG,
    FORMAT_VERSION,
    KIND_LIST_ITEM,
    SYSTEM_FORMAT,
    SYSTEM_NAMED,
    U32,
    U64,
    object_range,
    prefix_successor,
)
from diskkv.codec.list_block import LONG_BLOCK, encode_entry, join_blocks
from diskkv.engine.store import Store
from diskkv.errors import ConfigError, CorruptionError

UPGRADING = 1 << 31
"""Added to the format's number while the step from it to the next is under way."""
_POSITION = SYSTEM_NAMED + b"upgrade"
_BATCH_ROWS = 1000


class Rewrite:
    """What a step changes, in batches. `position`: up to where rows are rewritten already; b"" at the beginning."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.position = store.get(_POSITION) or b""
        self.rows = 0
        """How many rows were rewritten."""
        self._changes: dict[bytes, bytes | None] = {}

    def put(self, row: bytes, value: bytes) -> None:
        """Put a row with the next `flush`."""
        self._changes[row] = value
        self.rows += 1

    def flush(self, position: bytes) -> None:
        """Write what was put; everything up to `position` is done. No scan may be under way."""
        self._changes[_POSITION] = position
        self.store.write(self._changes)
        self._changes = {}
        self.position = position


Step = Callable[[Rewrite], None]


def _rewrite_lists(rewrite: Rewrite) -> None:
    """Format 1 had the blocks of big lists in another form. All rows of an object are of one type."""
    stop = prefix_successor(ELEMENT_TAG)
    position = rewrite.position or ELEMENT_TAG
    while (row := next(iter(rewrite.store.scan_keys(position, stop)), None)) is not None:
        if row[ELEMENT_PREFIX_SIZE - 1 : ELEMENT_PREFIX_SIZE] != bytes((KIND_LIST_ITEM,)):
            (oid,) = U64.unpack_from(row, 1)
            position = object_range(oid)[1]
            continue
        rows = list(islice(rewrite.store.scan(row, object_range(U64.unpack_from(row, 1)[0])[1]), _BATCH_ROWS))
        for block_row, raw in rows:
            if len(block_row) == ELEMENT_PREFIX_SIZE + U64.size:
                rewrite.put(block_row, _rewritten_block(block_row, raw))
        position = rows[-1][0] + b"\0"
        rewrite.flush(position)


def _rewritten_block(row: bytes, raw: bytes) -> bytes:
    try:
        items = format1.decode_list_block(raw)
    except ValueError as exc:
        message = f"the block of a list in row {row.hex()} does not decode: {raw[:64].hex()}"
        raise CorruptionError(message) from exc
    return join_blocks([LONG_BLOCK if item is None else encode_entry(item) for item in items])


def _nothing(rewrite: Rewrite) -> None:
    """Format 2 had neither logs in front of LevelDB nor value files: an older program would not look for them."""


STEPS: Mapping[int, Step] = {1: _rewrite_lists, 2: _nothing}
"""The step at n makes format n + 1 of format n."""


def stored_format(store: Store) -> int | None:
    """The format of a store, maybe with the mark; None when it has none, as an empty one.

    Raises ConfigError when it is no number.
    """
    raw = store.get(SYSTEM_FORMAT)
    if raw is None:
        return None
    if len(raw) != U32.size:
        message = f"the format of the data directory is no number: {raw[:32].hex()}"
        raise ConfigError(message)
    version: int = U32.unpack(raw)[0]
    return version


def require_current(version: int, directory: str, current: int = FORMAT_VERSION) -> None:
    """Raise ConfigError, with the way out, unless the format is the one of this program."""
    if UPGRADING <= version < UPGRADING + current:
        message = f"the upgrade of {directory} was interrupted: run `diskkvctl upgrade` again"
        raise ConfigError(message)
    if version > current:
        message = (
            f"{directory} has format {version & ~UPGRADING}, this version of diskkv reads up to {current}: use a newer "
            "diskkv"
        )
        raise ConfigError(message)
    if version < current:
        message = (
            f"{directory} has format {version}, this version of diskkv uses {current}: run `diskkvctl upgrade`, which "
            "makes a backup first"
        )
        raise ConfigError(message)


def missing_steps(version: int, current: int = FORMAT_VERSION, steps: Mapping[int, Step] = STEPS) -> list[int]:
    """The formats through which `version` has to go. Raises ConfigError when there is no way."""
    needed = list(range(version & ~UPGRADING, current))
    if not all(number in steps for number in needed):
        message = f"format {version & ~UPGRADING} cannot be upgraded by this version of diskkv"
        raise ConfigError(message)
    return needed


def upgrade(
    store: Store,
    current: int = FORMAT_VERSION,
    steps: Mapping[int, Step] = STEPS,
    told: Callable[[int], object] = lambda number: None,
) -> list[int]:
    """Bring a store up to date; answers the formats that it had on the way. `told` is called before each step.

    Raises StorageError, and ConfigError when there is no way; then nothing was changed.
    """
    version = stored_format(store)
    if version is None:
        message = "this is no data directory of diskkv: it has no format"
        raise ConfigError(message)
    needed = missing_steps(version, current, steps)
    for number in needed:
        told(number)
        _set_format(store, number | UPGRADING)
        steps[number](Rewrite(store))
        _set_format(store, number + 1)
    return needed


def _set_format(store: Store, version: int) -> None:
    rows: dict[bytes, bytes | None] = {SYSTEM_FORMAT: U32.pack(version)}
    if version < UPGRADING:
        rows[_POSITION] = None
    store.write(rows, sync=True)
