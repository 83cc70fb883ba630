"""A memory limit for one process and its page cache: a control group of its own, version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tools.benchmarks.errors import BenchError

REMOVE_TIMEOUT_S = 10.0
_ENTER = 'echo $$ > "$0" && exec "$@"'


class MemoryGroup:
    """A control group with a memory limit. A command started with `prefix` before it runs inside."""

    def __init__(self, path: Path, version: int, limit_bytes: int) -> None:
        self.path = path
        self.version = version
        self.limit_bytes = limit_bytes

    @property
    def prefix(self) -> list[str]:
        """Moves itself into the group and becomes the command that follows: the process id stays the same."""
        return ["sh", "-c", _ENTER, str(self.path / "cgroup.procs")]

    def usage_bytes(self) -> int:
        """What the group holds now, page cache included."""
        name = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        return int((self.path / name).read_text())


def _mounts() -> Iterator[tuple[str, Path, str]]:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount_point, kind, options, *_ = line.split()
        yield kind, Path(mount_point), options


def hierarchy() -> tuple[Path, int]:
    """Where groups with a memory limit can be made, and the version. Raises BenchError when there is no such place."""
    for kind, path, options in _mounts():
        if kind == "cgroup" and "memory" in options.split(","):
            return path, 1
    for kind, path, _ in _mounts():
        controllers = path / "cgroup.controllers"
        if kind == "cgroup2" and controllers.exists() and "memory" in controllers.read_text().split():
            return path, 2
    msg = "no control group hierarchy with the memory controller is mounted"
    raise BenchError(msg)


@contextlib.contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """A new group, removed at the end. Raises BenchError with the reason when this machine does not allow it."""
    parent, version = hierarchy()
    path = parent / f"diskkv-bench-{os.getpid()}-{time.monotonic_ns()}"
    try:
        if version == 2 and "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            (parent / "cgroup.subtree_control").write_text("+memory")
        path.mkdir()
    except OSError as exc:
        msg = f"no control group can be made in {parent}: {exc.strerror}"
        raise BenchError(msg) from exc
    try:
        name = "memory.max" if version == 2 else "memory.limit_in_bytes"
        try:
            (path / name).write_text(str(limit_bytes))
        except OSError as exc:
            msg = f"the memory limit cannot be set in {path}: {exc.strerror}"
            raise BenchError(msg) from exc
        yield MemoryGroup(path, version, limit_bytes)
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    """Remove an empty group; the kernel may take a moment to see that its last process is gone."""
    deadline = time.monotonic() + REMOVE_TIMEOUT_S
    while True:
        try:
            path.rmdir()
        except OSError as exc:
            if time.monotonic() > deadline:
                msg = f"{path} cannot be removed: {exc.strerror}"
                raise BenchError(msg) from exc
            time.sleep(0.05)
        else:
            return
