"""diskkvctl hex and du on directories, and every kind of row in words."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from diskkv.codec import keys
from diskkv.engine.leveldb import LevelDBStore
from tests.formats.make import FAR_MS, instance_on, write
from tools import diskkvctl
from tools.ctl import diskusage, output
from tools.ctl.diskusage import group
from tools.ctl.output import Bar, Progress
from tools.ctl.rowtext import KINDS, TAGS, describe, one_line


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every type in every layout."""
    path = tmp_path_factory.mktemp("data")
    instance = instance_on(LevelDBStore(path / "leveldb"))
    write(instance)
    instance.engine.close()
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = diskkvctl.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_every_row_has_a_meaning(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_json(capsys, "hex", "--dir", directory, "--limit", 0)
    store = LevelDBStore(directory / "leveldb")
    assert [(row["key"], row["value"]) for row in rows] == [
        (row.hex(), value.hex()) for row, value in store.scan(b"", b"\xff")
    ]
    store.close()
    meanings = [row["meaning"] for row in rows]
    assert [meaning for meaning in meanings if "problem" in meaning or meaning.get("what") == "unknown"] == []
    assert {meaning["row"] for meaning in meanings} == set(TAGS)
    assert {meaning["kind"] for meaning in meanings if meaning["row"] == "elements"} == set(KINDS.values())


def meanings(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: object) -> list[dict[str, Any]]:
    return [row["meaning"] for row in run_json(capsys, "hex", "--dir", directory, "--limit", 0, *arguments)]


def test_the_rows_of_a_key(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = meanings(capsys, directory, "--key", "zset:rows")
    assert (header["row"], header["key"], header["type"], header["count"]) == ("headers", '"zset:rows"', "zset", 40)
    scores = {row["member"]: row["score"] for row in rows if row["kind"] == "zset score"}
    assert scores == {f'"m{number}"': number / 8 - 2 for number in range(40)}
    assert {row["member"]: row["score"] for row in rows if row["kind"] == "zset member"} == scores
    header, expiry = meanings(capsys, directory, "--key", "string:expires")
    assert (header["value"], header["expire_ms"]) == ('"value"', FAR_MS)
    assert (expiry["row"], expiry["at_ms"], expiry["key"]) == ("expiry", FAR_MS, '"string:expires"')
    rows = meanings(capsys, directory, "--key", "hash:rows")
    fields = {row["member"]: row for row in rows if row.get("kind") == "hash field"}
    assert (fields['"f3"']["value"], fields['"f3"']["expire_ms"]) == ('"3"', FAR_MS + 1)
    (found,) = meanings(capsys, directory, "--db", 7, "--key", "elsewhere")
    assert found["value"] == '"1"'
    status, _, err = run(capsys, "hex", "--dir", directory, "--key", "nope")
    assert (status, err) == (1, 'diskkvctl: no key "nope" in db0\n')


def test_selecting_rows(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system = meanings(capsys, directory, "--tag", "system")
    assert {"row": "system", "what": "format", "version": keys.FORMAT_VERSION} in system
    assert {row["what"] for row in system} >= {"format", "object lease", "database", "counts", "named"}
    assert [row["what"] for row in meanings(capsys, directory, "--prefix", keys.SYSTEM_LEASE.hex())] == ["object lease"]
    assert {row["row"] for row in meanings(capsys, directory, "--prefix", "67")} == {"garbage"}
    assert run(capsys, "hex", "--dir", directory, "--prefix", "ff")[1] == "no rows\n"


def test_for_people(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "hex", "--dir", directory, "--key", "string:long", "--limit", 2)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].replace(" ", "") == (b"m\x00\x00\x00\x01string:long").hex()
    assert lines[-1] == "... and more (--limit)"
    assert any(line.strip() == "... 16,384 bytes" for line in lines)
    assert "  elements oid=" in out


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (b"", b""),
        (b"x", b""),
        (b"m\x00", b""),
        (b"m\x00\x00\x00\x01k", b"\xff"),
        (b"t123", b""),
        (b"g\x00", b""),
        (b"d123", b""),
        (keys.element_prefix(1, keys.KIND_STREAM_NODE), b"short"),
        (keys.element_prefix(1, keys.KIND_HASH_FIELD), b""),
        (keys.SYSTEM_FORMAT, b"x"),
    ],
)
def test_what_does_not_decode_is_told(row: bytes, value: bytes) -> None:
    assert "problem" in one_line(describe(row, value))


def test_an_unknown_kind_is_shown() -> None:
    found = describe(keys.element_prefix(7, 0xEE) + b"sub", b"value")
    assert one_line(found) == 'elements oid=7 kind=0xee sub="sub" value="value"'
    assert describe(b"\x00zzz", b"v")["what"] == "unknown"


# ---- du


def test_groups_by_size(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "du", "--dir", directory, "--top", 0)
    by_prefix = {row["prefix"]: row for row in found["groups"]}
    assert (by_prefix['"string:"']["keys"], by_prefix['"hash:"']["keys"]) == (4, 2)
    sizes = [row["size_bytes"] for row in found["groups"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(row["keys"] for row in found["groups"]) == found["total"]["keys"]
    status, out, _ = run(capsys, "du", "--dir", directory, "--top", 1)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()][-1] == "total"
    assert "more" in out


@pytest.mark.parametrize(
    ("key", "depth", "expected"),
    [
        (b"a:b:c", 1, b"a:"),
        (b"a:b:c", 2, b"a:b:"),
        (b"a:b:c", 9, b"a:b:"),
        (b"abc", 1, b""),
        (b"", 1, b""),
        (b":", 1, b":"),
        (b"a::b", 2, b"a::"),
    ],
)
def test_parts_of_names(key: bytes, depth: int, expected: bytes) -> None:
    assert group(key, b":", depth) == expected


def test_groups_are_bounded(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(diskusage, "MAX_GROUPS", 2)
    found = run_json(capsys, "du", "--dir", directory)
    assert found["group_count"] <= 3
    assert sum(row["keys"] for row in found["groups"]) == found["total"]["keys"]


def test_bad_options_are_refused(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "du", "--dir", directory, "--depth", 0)[0] == 1
    assert run(capsys, "du", "--dir", directory, "--separator", "")[0] == 1


def test_compacting_a_prefix(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_json(capsys, "compact", "--dir", directory, "--prefix", "string")["reclaimed_rows"] > 0
    assert run(capsys, "check", "--dir", directory)[0] == 0


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "completion", shell)
    assert status == 0
    assert all(word in out for word in ("bigkeys", "--separator", "restore", "--mend-only"))


def test_bash_takes_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "diskkvctl.bash"
    script.write_text(run(capsys, "completion", "bash")[1])
    # What bash calls on the tab key behind `diskkvctl re`.
    lines = [
        f"source {script}",
        "complete -p diskkvctl",
        "COMP_WORDS=(diskkvctl re); COMP_CWORD=1; COMP_LINE='diskkvctl re'; COMP_POINT=12",
        "$(complete -p diskkvctl | sed 's/.*-F \\([^ ]*\\).*/\\1/') diskkvctl re diskkvctl",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(["bash", "--norc", "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert {"repair", "restore"} <= set(done.stdout.split())


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_long_work_shows_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_LOOK_AT_CLOCK_MASK", 1)
    terminal = Terminal()
    monkeypatch.setattr(output.sys, "stderr", terminal)
    progress = Progress("checked")
    assert list(progress.watch(iter(range(10)))) == list(range(10))
    progress.count(100)
    with Bar("copied", 2048) as bar:
        bar.advance(1024)
    assert "checked" in terminal.getvalue()
    assert "copied" in terminal.getvalue()


def test_progress_elsewhere_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_LOOK_AT_CLOCK_MASK", 1)
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(output.time, "monotonic", lambda: float(next(clock)))
    lines = io.StringIO()
    monkeypatch.setattr(output.sys, "stderr", lines)
    assert len(list(Progress("checked").watch(iter(range(12))))) == 12
    with Bar("copied", 2048) as bar:
        bar.advance(1024)
    assert lines.getvalue() == "checked 4 rows in 6 s\nchecked 8 rows in 12 s\nchecked 12 rows in 18 s\n"


def test_every_command_has_a_page_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    for module in diskkvctl.COMMANDS:
        with pytest.raises(SystemExit) as caught:
            diskkvctl.main([module.NAME, "--help"])
        assert caught.value.code == 0
        out = capsys.readouterr().out
        assert "examples:\n" in out, module.NAME
        assert "exit status:\n" in out
        assert max(map(len, out.splitlines())) <= 80, module.NAME
