"""Power loss with `appendfsync always`: only what reached the disk survives, and that is all that was acknowledged.

The data directory is on an ext4 image behind a loop device. After kill -9 the image file is copied at once: what the
kernel has not written to the device yet is missing from the copy, as after a power cut. The copy's journal is replayed
by mounting it, and the server is started on it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.test_kill import _join, _write_until
from tests.crash.writers import Ledger, check
from tests.harness.servers import ServerProcess, subject_flavour
from tests.harness.statemachine import scaled
from tests.harness.wire import Simple
from tools import diskkvctl
from tools.ctl.check import check_directory

IMAGE_BYTES = 256 * 1024 * 1024


@contextlib.contextmanager
def _mounted(image: Path, at: Path) -> Iterator[None]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True, capture_output=True)


def _machine_allows() -> str:
    """Why images cannot be mounted here; empty when they can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount", "cp") if shutil.which(tool) is None]
    if missing:
        return f"{missing} not installed"
    return "" if Path("/dev/loop-control").exists() else "no loop devices"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty ext4 image."""
    reason = _machine_allows()
    if reason:
        pytest.skip(f"no power loss test on this machine: {reason}")
    path = tmp_path / "image"
    with open(path, "wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True, capture_output=True)
    return path


def _cut_power(image: Path, mode: str, requests: int, ledgers: list[Ledger], seed: int) -> Path:
    """Write to a server on the image, kill it and copy the image before anything more is written back."""
    copy = image.with_name("copy")
    with _mounted(image, image.with_name("mounted")):
        server = ServerProcess(subject_flavour(), ("--appendfsync", mode), durable=True)
        try:
            _use_directory(server, image.with_name("mounted") / "data")
            server.start()
            writers = _write_until(server, ledgers, requests, seed)
            server.kill()
            subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
            _join(writers)
        finally:
            server.close()
    return copy


def _use_directory(server: ServerProcess, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    server.data_directory.rmdir()
    server.data_directory.symlink_to(directory)


@pytest.mark.slow
def test_always_loses_no_acknowledged_write_at_power_loss(image: Path) -> None:
    ledgers = [Ledger() for _ in range(4)]
    for round_number in range(scaled(2)):
        copy = _cut_power(image, "always", 300, ledgers, round_number)
        with _mounted(copy, image.with_name("recovered")):
            server = ServerProcess(subject_flavour(), ("--appendfsync", "always"), durable=True)
            try:
                _use_directory(server, image.with_name("recovered") / "data")
                server.start()
                check(server, ledgers)
                server.stop()
            finally:
                server.close()
        shutil.copyfile(copy, image)


@pytest.mark.slow
def test_a_complete_backup_survives_power_loss(image: Path) -> None:
    """Even with `appendfsync no`: what SAVE has answered is on stable storage."""
    copy = image.with_name("copy")
    with _mounted(image, image.with_name("mounted")):
        server = ServerProcess(subject_flavour(), ("--appendfsync", "no", "--leveldb-write-buffer-size", "64kb"))
        try:
            _use_directory(server, image.with_name("mounted") / "data")
            server.start()
            with server.connect() as wire:
                for number in range(500):
                    wire.call("SET", f"key:{number}", "x" * 1000)
                assert wire.call("SAVE") == Simple(b"OK")
                wire.call("SET", "later", "lost")
            server.kill()
            subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
        finally:
            server.close()
    with _mounted(copy, image.with_name("recovered")):
        backups = image.with_name("recovered") / "data" / "backups"
        restored = image.with_name("restored")
        assert diskkvctl.main(["restore", str(backups), "--dir", str(restored), "--check", "--json"]) == 0
    assert check_directory(restored).facts["keys"] == 500
    assert list(restored.rglob("*.ldb")), "there was nothing to link"


@pytest.mark.slow
def test_the_cut_is_real(image: Path) -> None:
    """The counterpart: without syncing, acknowledged writes are lost by the same cut, and the server still starts."""
    ledgers = [Ledger() for _ in range(4)]
    copy = _cut_power(image, "no", 300, ledgers, 1)
    with _mounted(copy, image.with_name("recovered")):
        server = ServerProcess(subject_flavour(), ("--appendfsync", "no"), durable=True)
        try:
            (image.with_name("recovered") / "data").mkdir(exist_ok=True)
            _use_directory(server, image.with_name("recovered") / "data")
            server.start()
            with pytest.raises(AssertionError):
                check(server, ledgers)
        finally:
            server.close()
