"""A directory of checkpoints, named by their time (UTC); each is a whole data directory of its own.

A checkpoint is made under another name and renamed when it is complete, so every name that looks like a time is one
that can be restored. One process at a time makes or removes checkpoints in a directory.
"""

from __future__ import annotations

import calendar
import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from diskkv.codec.keys import FORMAT_VERSION
from diskkv.engine.checkpoint import STORE, Taken, describe, remove_tree, sync_path
from diskkv.errors import ConfigError

_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z")
_UNFINISHED = ".unfinished-"
_UNWANTED = ".unwanted-"
_LOCK = ".lock"

Fill = Callable[[Path, Path | None], Taken]
"""Puts a store into a new directory; gets that of the newest checkpoint as well, if there is one."""


def checkpoint_name(at_ms: int) -> str:
    """The name of a checkpoint that was begun at this time: 20260131T235959.123Z."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(at_ms // 1000))}.{at_ms % 1000:03d}Z"


def checkpoint_time_ms(name: str) -> int:
    """The time that a name says."""
    return calendar.timegm(time.strptime(name[:15], "%Y%m%dT%H%M%S")) * 1000 + int(name[16:19])


class BackupDirectory:
    """The checkpoints in `path`, which is made when the first one is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def checkpoints(self) -> list[Path]:
        """All complete ones, oldest first."""
        if not self.path.is_dir():
            return []
        return sorted(path for path in self.path.iterdir() if _NAME.fullmatch(path.name))

    def make(self, fill: Fill, at_ms: int, keep: int, facts: dict[str, Any]) -> tuple[Path, Taken]:
        """Make a checkpoint, then remove the oldest but `keep` (0: none is removed).

        `facts` are kept with it. Raises OSError, StorageError, and ConfigError when another process is at it.
        """
        if not self.path.is_dir():
            self.path.mkdir(parents=True, exist_ok=True)
            sync_path(self.path.parent)
        with self._locked():
            self._clean()
            known = self.checkpoints()
            if known:
                # The newest one has the last name even when the clock was set back.
                at_ms = max(at_ms, checkpoint_time_ms(known[-1].name) + 1)
            name = checkpoint_name(at_ms)
            unfinished = self.path / f"{_UNFINISHED}{name}"
            unfinished.mkdir()
            try:
                began_s = time.monotonic()
                taken = fill(unfinished / STORE, known[-1] / STORE if known else None)
                about = {"created_ms": at_ms, "format": FORMAT_VERSION, "seconds": time.monotonic() - began_s}
                describe(unfinished, {**about, **vars(taken), **facts})
            except BaseException:
                with contextlib.suppress(OSError):
                    remove_tree(unfinished)
                raise
            complete = self.path / name
            os.rename(unfinished, complete)
            sync_path(self.path)
            if keep:
                self._prune(keep)
        return complete, taken

    def prune(self, keep: int) -> list[Path]:
        """Remove the oldest but `keep`, and what unfinished ones left; answers what was removed."""
        if not self.path.is_dir():
            return []
        with self._locked():
            self._clean()
            return self._prune(keep)

    def _prune(self, keep: int) -> list[Path]:
        found = self.checkpoints()
        unwanted = found[: max(0, len(found) - keep)]
        for path in unwanted:
            # Renamed first: what is left after a crash must not look complete.
            hidden = self.path / f"{_UNWANTED}{path.name}"
            os.rename(path, hidden)
            remove_tree(hidden)
        return unwanted

    def _clean(self) -> None:
        for path in self.path.iterdir():
            if path.name.startswith((_UNFINISHED, _UNWANTED)):
                remove_tree(path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                message = f"another process makes or removes backups in {self.path}"
                raise ConfigError(message) from exc
            yield
        finally:
            os.close(fd)
