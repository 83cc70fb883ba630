"""A thread that asked LevelDB about its tables while the store was opened anew brought the process down."""

from __future__ import annotations

import threading
from pathlib import Path

from diskkv.engine.leveldb import LevelDBStore


def test_questions_wait_while_the_store_is_opened_anew(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path / "db")
    failures: list[Exception] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                store.property("leveldb.stats")
                store.split_keys(b"", b"\xff", 1 << 20)
                store.approximate_size_bytes(b"", b"\xff")
        except Exception as exc:  # noqa: BLE001 - shown by the test's own thread
            failures.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        store.reopen()
    done.set()
    for thread in threads:
        thread.join()
    store.close()
    assert failures == []
