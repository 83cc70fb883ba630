"""SAVE and BGSAVE: checkpoints of the data directory, one at a time, beside the turns.

Data is on disk without them: a checkpoint is a backup. It begins after the turn of the command that asked for it is
committed, so it has every write that was acknowledged before the command was answered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diskkv.engine.backups import BackupDirectory, checkpoint_time_ms
from diskkv.engine.checkpoint import Taken
from diskkv.errors import CommandError, ConfigError, StorageError
from diskkv.resp import reply

if TYPE_CHECKING:
    from diskkv.services.client import Client
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

_IN_PROGRESS = b"ERR Background save already in progress"
_RETRY_S = 5
"""After a failure the next one by interval is tried after so long, as Redis does."""

Work = Callable[[], None]


class Stopped(Exception):
    """The server shuts down."""


class Saves:
    """What INFO tells about checkpoints, and the one that is under way."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._config = instance.config
        self.last_save_s = instance.engine.now_ms // 1000
        """Unix time of the last checkpoint, or of the start."""
        self.last_path = self._newest()
        """The newest checkpoint, maybe from before the start."""
        self.last_ok = True
        self.last_duration_s = -1
        self.count = 0
        self.in_progress = False
        self._since_s = 0.0
        self._tried_s = time.monotonic() - self._age_s()
        self._is_known = False
        """Whether there was a checkpoint since the start; without one, changes before it may not be saved."""
        self._changes_before = instance.engine.changes
        self._changes_saved = instance.engine.changes
        self._waiting: list[Client] = []
        self._stopping = False
        self.run_beside: Callable[[Work, Work], None] = _run_now
        """Runs the first function where it holds up nobody, then the second between two turns; set by the server."""
        self.rewriting = False
        self.rewrites = 0
        self.last_rewrite_s = -1
        self._rewriting_since_s = 0.0

    def _newest(self) -> Path | None:
        if not self._instance.engine.store.persistent:
            return None
        try:
            found = self.directory.checkpoints()
        except OSError as exc:
            log.warning("cannot look for backups: %s", exc)
            return None
        return found[-1] if found else None

    def _age_s(self) -> float:
        """How old the newest checkpoint is; 0 when there is none."""
        if self.last_path is None:
            return 0.0
        return max(0.0, time.time() - checkpoint_time_ms(self.last_path.name) / 1000)

    @property
    def directory(self) -> BackupDirectory:
        """Where checkpoints go."""
        config = self._config
        return BackupDirectory(Path(config.backup_dir or Path(config.dir) / "backups"))

    @property
    def changes(self) -> int:
        """Changes since the last checkpoint."""
        return self._instance.engine.changes - self._changes_saved

    @property
    def current_duration_s(self) -> int:
        """How long the one under way has taken; -1 when there is none."""
        return int(time.monotonic() - self._since_s) if self.in_progress else -1

    def start(self) -> None:
        """Begin a checkpoint once this turn is committed. Raises CommandError when one is under way."""
        if self.in_progress:
            raise CommandError(_IN_PROGRESS)
        self.in_progress = True
        self._instance.after_turn.append(self._begin)

    def start_for(self, client: Client) -> None:
        """As `start`; the blocked client gets the outcome."""
        self.start()
        self._waiting.append(client)

    def stop(self) -> None:
        """Give up what is under way: the server shuts down."""
        self._stopping = True

    def check_interval(self) -> None:
        """Begin a checkpoint when `backup-interval` is over and something changed."""
        interval_s = self._config.backup_interval
        waited_s = time.monotonic() - self._tried_s
        if interval_s and not self.in_progress and waited_s >= (interval_s if self.last_ok else _RETRY_S):
            self._tried_s = time.monotonic()
            if self.changes or not self.last_ok or not self._is_known:
                self.in_progress = True
                self._begin()

    def _begin(self) -> None:
        self._since_s = self._tried_s = time.monotonic()
        self._changes_before = self._instance.engine.changes
        outcome: list[tuple[Path, Taken]] = []
        failure: list[str] = []

        def work() -> None:
            try:
                outcome.append(self._make())
            except (OSError, StorageError, ConfigError) as exc:
                failure.append(str(exc))
            except Stopped:
                failure.append("the server shuts down")
            except Exception as exc:
                # The boundary where a bug in backups must not end the server.
                log.exception("bug: a backup failed")
                failure.append(repr(exc))

        if self._instance.engine.store.persistent:
            self.run_beside(work, lambda: self._finish(outcome, failure))
        else:
            self._finish([], [])

    def _make(self) -> tuple[Path, Taken]:
        store = self._instance.engine.store

        def fill(target: Path, earlier: Path | None) -> Taken:
            return store.checkpoint(target, earlier, self._check_stopping)

        at_ms = time.time_ns() // 1_000_000
        return self.directory.make(fill, at_ms, self._config.backup_keep, {"run_id": self._instance.run_id})

    def _check_stopping(self, size_bytes: int) -> None:
        if self._stopping:
            raise Stopped

    def _finish(self, outcome: list[tuple[Path, Taken]], failure: list[str]) -> None:
        seconds = time.monotonic() - self._since_s
        self.in_progress = False
        self.last_ok = not failure
        self.last_duration_s = int(seconds)
        answer = reply.OK
        if failure:
            log.error("no backup was made: %s", failure[0])
            answer = reply.error(f"ERR no backup was made: {failure[0]}".replace("\n", " ").encode())
        else:
            self.count += 1
            self._is_known = True
            self.last_save_s = time.time_ns() // 1_000_000_000
            self._changes_saved = self._changes_before
            for path, taken in outcome:
                self.last_path = path
                log.info("backup %s: %d tables, %d bytes, %.3f s", path, taken.tables, taken.size_bytes, seconds)
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            # Unless it is gone, or gave up waiting.
            if client.blocked is not None and client.blocked.command.name == "save":
                self._instance.blocking.unblock(client, answer)

    # ---- BGREWRITEAOF

    @property
    def current_rewrite_s(self) -> int:
        """How long the rewrite of the log under way has taken; -1 when there is none."""
        return int(time.monotonic() - self._rewriting_since_s) if self.rewriting else -1

    def rewrite_log(self) -> None:
        """Have LevelDB write its log to a table after this turn; raises CommandError when that is under way."""
        if self.rewriting:
            raise CommandError(b"ERR Background append only file rewriting already in progress")
        self.rewriting = True
        self._instance.after_turn.append(self._begin_rewrite)

    def _begin_rewrite(self) -> None:
        self._rewriting_since_s = time.monotonic()
        self.run_beside(self._flush_log, self._finish_rewrite)

    def _flush_log(self) -> None:
        try:
            self._instance.engine.store.flush_log()
        except StorageError as exc:
            log.error("the log was not written to a table: %s", exc)

    def _finish_rewrite(self) -> None:
        self.rewriting = False
        self.rewrites += 1
        self.last_rewrite_s = int(time.monotonic() - self._rewriting_since_s)


def _run_now(work: Work, finish: Work) -> None:
    work()
    finish()
