"""The data directory at start."""

from __future__ import annotations

from pathlib import Path

import pytest

from diskkv.config import Config
from diskkv.errors import ConfigError
from diskkv.server.main import open_store


def test_a_directory_that_cannot_be_used_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "leveldb").touch()
    config = Config()
    config.dir = str(tmp_path)
    with pytest.raises(ConfigError, match=f"cannot use {tmp_path} as data directory: File exists"):
        open_store(config)
