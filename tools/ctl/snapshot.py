"""The directory of a running server on this machine as of one instant, to be opened like that of a stopped one.

A checkpoint (diskkv/engine/checkpoint.py) needs nothing from the server: its tables are linked and its log is copied to
a directory beside them, which is removed afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from diskkv.engine.checkpoint import STORE, Checkpointer
from diskkv.engine.leveldb import LevelDBStore
from diskkv.errors import ConfigError
from tools.ctl import live
from tools.ctl.store import opened, store_path

_PLACE = ".diskkvctl-"


@contextlib.contextmanager
def opened_target(options: argparse.Namespace) -> Iterator[LevelDBStore]:
    """The store that --dir or --url names; of a server a snapshot. Raises ConfigError."""
    if options.url is None:
        with opened(options.dir) as store:
            yield store
        return
    with live.connected(options.url) as server:
        directory = server.info("disk").get("data_directory", "")
    if not directory or not Path(directory).is_dir():
        message = f"the server's data directory {directory or '(none)'} is not on this machine"
        raise ConfigError(message)
    with snapshot(Path(directory)) as path, opened(path) as store:
        yield store


@contextlib.contextmanager
def snapshot(directory: Path) -> Iterator[Path]:
    """A data directory with what is in `directory` now; removed at the end."""
    source = store_path(directory)
    base = source.parent
    _remove_stale(base)
    place = base / f"{_PLACE}{os.getpid()}"
    try:
        place.mkdir()
        Checkpointer(source).make(place / STORE)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _remove_stale(base: Path) -> None:
    """Remove what an earlier run left behind that was killed."""
    for path in base.glob(f"{_PLACE}*"):
        try:
            os.kill(int(path.name.removeprefix(_PLACE)), 0)
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except (ValueError, OverflowError, PermissionError):
            continue
