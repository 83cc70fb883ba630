"""The log: its forms, its levels, and going on in a new file."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.config import Config
from diskkv.errors import ConfigError
from diskkv.server import logs
from diskkv.server.logs import JsonFormatter, TextFormatter, configure_logging, reopen_log_files

log = logging.getLogger("diskkv.test")


@pytest.fixture(autouse=True)
def _leave_no_handlers() -> Iterator[None]:
    root = logging.getLogger("diskkv")
    before = root.handlers[:], root.level, root.propagate
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def record(level: int, message: str, *arguments: object, failed: bool = False) -> logging.LogRecord:
    try:
        if failed:
            raise ValueError("oops")
    except ValueError:
        return logging.LogRecord("diskkv.x", level, "", 0, message, arguments, sys.exc_info())
    return logging.LogRecord("diskkv.x", level, "", 0, message, arguments, None)


@pytest.mark.parametrize(
    ("level", "sign", "name"),
    [
        (logging.DEBUG, ".", "debug"), (logs.VERBOSE, "-", "verbose"), (logging.INFO, "*", "notice"),
        (logging.WARNING, "#", "warning"), (logging.ERROR, "#", "warning"), (logging.CRITICAL, "#", "warning"),
    ],
)  # fmt: skip
def test_both_forms(level: int, sign: str, name: str) -> None:
    line = TextFormatter().format(record(level, "ready on %s", "there"))
    stamp = r"\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(rf"{os.getpid()}:M {stamp} {re.escape(sign)} ready on there", line)
    entry = json.loads(JsonFormatter().format(record(level, "ready on %s", "there")))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {"level": name, "pid": os.getpid(), "logger": "diskkv.x", "message": "ready on there"}


def test_tracebacks() -> None:
    text = TextFormatter().format(record(logging.ERROR, "failed", failed=True))
    assert text.splitlines()[1].startswith("Traceback")
    assert text.splitlines()[-1] == "ValueError: oops"
    line = JsonFormatter().format(record(logging.ERROR, "two\nlines", failed=True))
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == "two\nlines"
    assert entry["exception"].endswith("ValueError: oops")


def test_levels_and_the_form_change_live(tmp_path: Path) -> None:
    config = Config()
    config.logfile = str(tmp_path / "log")
    configure_logging(config)
    log.log(logs.VERBOSE, "first")
    config.set([b"loglevel", b"verbose", b"log-format", b"json"])
    log.log(logs.VERBOSE, "second")
    log.debug("third")
    config.set([b"loglevel", b"nothing"])
    log.error("fourth")
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["message"] == "second"


def test_rotation(tmp_path: Path) -> None:
    """What comes after reopening is in a new file; when it cannot be made, in the old one."""
    config = Config()
    path = tmp_path / "logs" / "diskkv.log"
    path.parent.mkdir()
    config.logfile = str(path)
    configure_logging(config)
    log.info("one")
    moved = path.rename(tmp_path / "moved")
    log.info("two")
    reopen_log_files()
    log.info("three")
    assert [line.split()[-1] for line in moved.read_text().splitlines()] == ["one", "two"]
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["three"]
    path.rename(tmp_path / "again")
    path.parent.rmdir()
    reopen_log_files()
    log.info("four")
    assert (tmp_path / "again").read_text().splitlines()[-1].endswith("four")


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    config = Config()
    config.logfile = str(tmp_path / "missing" / "log")
    with pytest.raises(ConfigError, match="cannot open the log file"):
        configure_logging(config)


def test_syslog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages go to its socket with facility and name; without syslog they are lost silently."""
    monkeypatch.setattr(logs, "_SYSLOG_SOCKET", str(tmp_path / "syslog"))
    config = Config()
    config.syslog_enabled = True
    config.syslog_ident = "kv"
    configure_logging(config)
    log.warning("nobody listens")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "syslog"))
        syslog.settimeout(10)
        log.warning("disk full")
        # local0 (16) and warning (4).
        assert syslog.recv(1000).rstrip(b"\0") == f"<{16 * 8 + 4}>kv[{os.getpid()}]: disk full".encode()
    assert capsys.readouterr().err == ""
