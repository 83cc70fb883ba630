"""diskkvctl on a running server, and the same questions to its directory afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.certificates import Authority
from tests.harness.servers import ServerProcess, diskkv, reference_flavour, running
from tests.harness.tls import TlsServer
from tests.harness.wire import Wire
from tools import diskkvctl
from tools.ctl.live_keys import escaped

FAR_MS = 4_000_000_000_000


def fill(wire: Wire) -> None:
    wire.call("SET", "user:1:name", "Ann")
    wire.call("SET", "user:2:name", "Bob", "PXAT", FAR_MS)
    wire.call("HSET", "user:1", *(part for number in range(600) for part in (f"f{number}", "v" * 50)))
    wire.call("RPUSH", "queue", "a", "b c", "d")
    wire.call("ZADD", "rank", 1, "one", 2.5, "two")
    wire.call("SADD", "set*", "x")
    wire.call("XADD", "log", "1-1", "f", "v")
    wire.call("SELECT", 3)
    wire.call("SET", "elsewhere", "1")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running(diskkv()) as started, started.connect() as wire:
        fill(wire)
        yield started


@pytest.fixture
def url(server: ServerProcess) -> str:
    return f"unix://{server.socket_path}"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = diskkvctl.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_keys(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def keys(*more: object) -> list[str]:
        return sorted(run(capsys, "keys", "--url", url, *more)[1].split())

    assert keys("--prefix", "user:") == ['"user:1"', '"user:1:name"', '"user:2:name"']
    assert keys("--prefix", "user:", "--match", "*name", "--type", "string") == ['"user:1:name"', '"user:2:name"']
    assert keys("--prefix", "set*") == ['"set*"']
    assert keys("--type", "zset") == ['"rank"']
    assert keys("--db", 3) == ['"elsewhere"']
    assert len(keys("--limit", 2)) == 2
    assert run(capsys, "keys", "--url", url.replace("unix://", "unix://") + "?db=3")[1] == '"elsewhere"\n'
    found = run_json(capsys, "scan", "--url", url, "--prefix", "user:2")
    assert found == [{"key": '"user:2:name"', "type": "string", "expire_ms": FAR_MS}]


def test_bigkeys(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "bigkeys", "--url", url, "--top", 1)
    assert {kind: row["keys"] for kind, row in found["totals"].items()} == {
        "string": 2,
        "hash": 1,
        "list": 1,
        "zset": 1,
        "set": 1,
        "stream": 1,
    }
    assert found["largest"]["hash"][0]["elements"] == 600
    assert found["largest"]["hash"][0]["size_bytes"] > 600 * 50


def test_du(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "du", "--url", url)
    first = found["groups"][0]
    assert (first["prefix"], first["keys"], first["elements"]) == ('"user:"', 3, 606)
    assert found["total"]["keys"] == 7
    assert [row["keys"] for row in run_json(capsys, "du", "--url", url, "--prefix", "queue")["groups"]] == [1]


def test_inspect(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "inspect", "--url", url, "user:1", "--rows", 2)
    assert (found["type"], found["encoding"], found["count"], len(found["rows"])) == ("hash", "hashtable", 600, 2)
    found = run_json(capsys, "inspect", "--url", url, "user:2:name")
    assert (found["value"], found["expire_ms"], found["expires"][:4]) == ('"Bob"', FAR_MS, "2096")
    for key, expected in [
        ("queue", [("a", ""), ("b c", "")]),
        ("rank", [("one", "1"), ("two", "2.5")]),
        ("set*", [("x", "")]),
        ("log", [("1-1", "f v")]),
    ]:
        rows = run_json(capsys, "inspect", "--url", url, key, "--rows", 2)["rows"]
        assert [(row["row"].strip('"'), row["value"].replace('"', "")) for row in rows] == expected
    assert run(capsys, "inspect", "--url", url, "nope") == (1, "", 'diskkvctl: no key "nope" in db0\n')


def test_stats(url: str, server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(capsys, "stats", "--url", url)
    assert found["keyspace"]["db3"].startswith("keys=1,")
    assert found["disk"]["data_directory"] == str(server.data_directory)
    status, out, _ = run(capsys, "stats", "--url", url)
    assert status == 0
    assert "data_directory" in out


def test_a_backup_stays_with_the_server_or_is_copied(
    url: str, server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run_json(capsys, "backup", "--url", url)
    assert made["path"].startswith(str(server.data_directory / "backups"))
    copied = run_json(capsys, "backup", "--url", url, "--to", tmp_path / "b")
    assert copied["path"].startswith(str(tmp_path / "b"))
    restored = run_json(capsys, "restore", tmp_path / "b", "--dir", tmp_path / "new", "--check")
    assert restored["keys"] == 8


def test_passwords_do_not_show_and_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(diskkv(), "--requirepass", "secret", tcp=True) as server:
        place = f"127.0.0.1:{server.port}"
        status, _, err = run(capsys, "keys", "--url", f"redis://:wrong@{place}")
        assert status == 1
        assert "wrong" not in err.lower().replace("wrongpass", "")
        assert run(capsys, "keys", "--url", f"redis://{place}")[0] == 1
        assert run(capsys, "keys", "--url", f"redis://:secret@{place}")[0] == 0
        monkeypatch.setenv("REDISCLI_AUTH", "secret")
        assert run(capsys, "keys", "--url", f"redis://{place}") == (0, "\n", "")


def test_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = TlsServer(Authority(tmp_path), "--tls-auth-clients", "no")
    try:
        place = f"rediss://localhost:{server.port}"
        assert run(capsys, "keys", "--url", f"{place}?ssl_ca_certs={server.authority.ca_file}") == (0, "\n", "")
        status, _, err = run(capsys, "keys", "--url", place)
        assert (status, "certificate" in err) == (1, True)
    finally:
        server.close()


def test_compact_asks_the_server(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "compact", "--url", url, "--db", 0, "--prefix", "user:")
    assert (status, err) == (0, "")


def test_check_and_hex_look_into_the_directory_of_a_running_server(
    url: str, server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "check", "--url", url)[0] == 0
    (row,) = run_json(capsys, "hex", "--url", url, "--key", "user:1:name")
    assert row["meaning"]["value"] == '"Ann"'
    stale = server.data_directory / ".diskkvctl-4194304"
    stale.mkdir()
    assert run(capsys, "hex", "--url", url, "--key", "nope")[0] == 1
    assert {path.name for path in server.data_directory.iterdir()} <= {"leveldb", "backups"}


def test_what_is_sent_as_a_pattern_is_only_itself() -> None:
    assert escaped(b"a*b?[c]\\d^-") == rb"a\*b\?\[c\]\\d\^\-"


def test_a_server_that_is_not_diskkv_makes_no_backup(capsys: pytest.CaptureFixture[str]) -> None:
    with running(reference_flavour()) as server:
        place = f"unix://{server.socket_path}"
        status, _, err = run(capsys, "backup", "--url", place)
        assert (status, "is not diskkv" in err) == (1, True)
        with server.connect() as wire:
            wire.call("SET", "a:1", "x")
        assert run_json(capsys, "du", "--url", place)["total"]["keys"] == 1
        assert run(capsys, "bigkeys", "--url", place)[0] == 0
        assert run(capsys, "stats", "--url", place)[0] == 0
        assert run(capsys, "inspect", "--url", place, "a:1")[0] == 0


def test_nothing_is_saved_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    with running(diskkv(), "--dir", ":memory:") as server:
        status, _, err = run(capsys, "backup", "--url", f"unix://{server.socket_path}")
        assert (status, "in memory" in err) == (1, True)
