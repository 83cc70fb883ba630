"""The disk by itself: random 4 KiB reads past the page cache, by one thread and by several; emptying that cache."""

from __future__ import annotations

import mmap
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.benchmarks.errors import BenchError

BLOCK_BYTES = 4096
_CHUNK_BYTES = 1 << 20


@contextmanager
def scratch_file(directory: Path, size_bytes: int) -> Iterator[Path]:
    """A file of random bytes, on disk and out of the page cache; deleted at the end."""
    path = directory / "random-reads"
    chunk = random.Random(1).randbytes(_CHUNK_BYTES)
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(max(size_bytes // _CHUNK_BYTES, 1)):
                file.write(chunk)
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def random_reads_per_second(path: Path, threads: int, seconds: float) -> float:
    """Direct reads of random blocks of `path` per second. BenchError where the file system knows no O_DIRECT."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError as exc:
        msg = f"{path.parent} allows no direct reads: {exc.strerror}"
        raise BenchError(msg) from exc
    try:
        blocks = os.fstat(descriptor).st_size // BLOCK_BYTES
        counts = [0] * threads
        deadline = time.monotonic() + seconds

        def read(number: int) -> None:
            chooser = random.Random(number)
            # Direct reads need a buffer at a page boundary; an anonymous map is one.
            with mmap.mmap(-1, BLOCK_BYTES) as buffer:
                while time.monotonic() < deadline:
                    os.preadv(descriptor, [buffer], chooser.randrange(blocks) * BLOCK_BYTES)
                    counts[number] += 1

        workers = [threading.Thread(target=read, args=(number,)) for number in range(threads)]
        began = time.monotonic()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts) / (time.monotonic() - began)
    finally:
        os.close(descriptor)


def drop_cached_pages(directory: Path) -> None:
    """Write the files below a directory out and evict them from the page cache; nobody may have them mapped."""
    for path in directory.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
