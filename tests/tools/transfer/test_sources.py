"""What is read from files: formats are told apart, damage is met as servers meet it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.codec.rdb_reader import RdbKey
from diskkv.codec.rdb_values import StringValue
from diskkv.codec.rdb_writer import RdbWriter
from tools.ctl.transfer.clock import needs_clock
from tools.ctl.transfer.commandfile import CommandReader, encode_command
from tools.ctl.transfer.items import Command, Item, TransferError
from tools.ctl.transfer.sources import detect, open_source, read_manifest

SET = encode_command([b"SET", b"key", b"value"])


def items_of(path: Path) -> tuple[list[Item], list[str]]:
    source = open_source(path)
    try:
        found = list(source.items())
        assert source.offset <= source.total_bytes
        return found, source.notes
    finally:
        source.close()


def commands_of(data: bytes, allow_inline: bool = False) -> tuple[list[list[bytes]], CommandReader]:
    reader = CommandReader(io.BytesIO(data), 0, allow_inline)
    return list(reader.commands()), reader


def rdb_file(*keys: bytes, aof_base: bool = False) -> bytes:
    file = io.BytesIO()
    writer = RdbWriter(file, version=10)
    if aof_base:
        writer.aux(b"aof-base", b"1")
    writer.select(0)
    for key in keys:
        writer.add(key, StringValue(b"value"))
    writer.finish()
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"REDIS0006\xfe", "rdb"),
        (b"VALKEY080", "rdb"),
        (SET, "commands"),
        (b"#TS:1700000000\r\n*1", "commands"),
        (b'  {"db": 0', "json"),
        (b"SET a b\r\n", "commands"),
        (b"", "commands"),
        (b"\x1f\x8b\x08\x00", None),
        (b"<html>", None),
        (b"SET\x00a", None),
    ],
)
def test_formats_are_told_apart(head: bytes, kind: str | None) -> None:
    assert detect(head) == kind


def test_a_stream_that_is_cut_anywhere_gives_its_complete_commands() -> None:
    data = SET + encode_command([b"MULTI"]) + SET + encode_command([b"EXEC"]) + encode_command([b"DEL", b"", b"x"])
    ends = {len(SET): 1, len(data) - len(encode_command([b"DEL", b"", b"x"])): 4, len(data): 5}
    for cut in range(len(data) + 1):
        found, reader = commands_of(data[:cut])
        complete = max((end for end in ends if end <= cut), default=0)
        assert len(found) == ends.get(complete, 0)
        assert reader.valid_offset == complete
        assert reader.is_truncated == (cut != complete)


@pytest.mark.parametrize(
    "data",
    [b"*1\r\n$x\r\n", b"*-1\r\n", b"*1\r\n:1\r\n", b"*1\r\n$3\r\nPINGxx", b"garbage\r\n", b"*99999999999\r\n"],
)
def test_what_is_no_stream_is_refused_with_its_place(data: bytes) -> None:
    with pytest.raises(TransferError, match=f"at byte {len(SET)}"):
        commands_of(SET + data)


def test_inline_commands_and_annotations() -> None:
    found, reader = commands_of(b'#TS:1\r\nSET a "b c"\r\n\r\n' + SET, allow_inline=True)
    assert found == [[b"SET", b"a", b"b c"], [b"SET", b"key", b"value"]]
    assert not reader.is_truncated
    with pytest.raises(TransferError, match="quotes"):
        commands_of(b'SET "a\r\n', allow_inline=True)


def test_a_preamble_and_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "appendonly.aof"
    path.write_bytes(rdb_file(b"one", aof_base=True) + SET + SET[:-3])
    found, notes = items_of(path)
    assert [item for item in found if isinstance(item, RdbKey | Command)] == [
        RdbKey(0, b"one", StringValue(b"value")),
        Command([b"SET", b"key", b"value"]),
    ]
    (note,) = notes
    assert f"at byte {path.stat().st_size - len(SET) + 3}" in note
    assert f"last {len(SET) - 3} bytes" in note


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Path]:
    """An append-only file in parts, one of them history."""
    (tmp_path / "a.1.base.rdb").write_bytes(rdb_file(b"base"))
    (tmp_path / "a.2.incr.aof").write_bytes(SET)
    (tmp_path / "a 3.incr.aof").write_bytes(encode_command([b"DEL", b"base"]))
    (tmp_path / "a.manifest").write_text(
        'file "a 3.incr.aof" seq 3 type i\nfile a.0.incr.aof seq 1 type h\n'
        "file a.1.base.rdb seq 1 type b\nfile a.2.incr.aof seq 2 type i\n"
    )
    yield tmp_path


def test_parts_are_read_in_order(parts: Path) -> None:
    assert read_manifest(parts / "a.manifest") == ["a.1.base.rdb", "a.2.incr.aof", "a 3.incr.aof"]
    found, notes = items_of(parts)
    assert [item.argv[0] for item in found if isinstance(item, Command)] == [
        b"SELECT",
        b"SELECT",
        b"SET",
        b"SELECT",
        b"DEL",
    ]
    assert notes == []
    assert items_of(parts / "a.manifest")[0] == found


def test_only_the_last_part_may_be_truncated(parts: Path) -> None:
    last = parts / "a 3.incr.aof"
    last.write_bytes(last.read_bytes()[:-1])
    assert "were left out" in items_of(parts)[1][0]
    (parts / "a.2.incr.aof").write_bytes(SET[:-1])
    with pytest.raises(TransferError, match="not the last file"):
        items_of(parts)


@pytest.mark.parametrize(
    "text", ["", "nonsense\n", "file ../x seq 1 type b\n", "file x seq 1 type b\nfile y seq 2 type b\n"]
)
def test_a_bad_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.manifest"
    path.write_text(text)
    with pytest.raises(TransferError, match=r"x\.manifest"):
        open_source(path)


def test_what_is_not_there_or_not_known(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\x89PNG\r\n")
    for path, message in (
        (tmp_path / "image", "no RDB file"),
        (tmp_path / "none", "No such file"),
        (tmp_path, "0 man"),
    ):
        with pytest.raises(TransferError, match=message):
            open_source(path)


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("SET k v PXAT 1", False),
        ("set k v ex 1", True),
        ("PEXPIREAT k 1", False),
        ("EXPIRE k 1", True),
        ("RESTORE k 0 x ABSTTL", False),
        ("RESTORE k 5 x", True),
        ("XADD s 1-1 f v", False),
        ("XADD s * f v", True),
        ("EVALSHA abc 0", True),
        ("INCR k", False),
    ],
)
def test_commands_that_need_the_time(command: str, needed: bool) -> None:
    assert needs_clock(command.encode().split()) == needed
