"""The note that an interrupted import of data leaves in the store: what is there is not all of it."""

from __future__ import annotations

from diskkv.codec.keys import SYSTEM_NAMED
from diskkv.engine.store import Store

UNFINISHED_IMPORT = SYSTEM_NAMED + b"import"


def has_unfinished_import(store: Store) -> bool:
    """Whether diskkvctl began to import into this store and did not come to the end."""
    return store.get(UNFINISHED_IMPORT) is not None
