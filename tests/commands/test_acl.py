"""The ACL commands, byte by byte against a real server's replies in RESP2 and RESP3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from diskkv.commands.registry import Flag, find, load_all
from diskkv.errors import CommandError
from diskkv.resp import reply
from diskkv.services.acl import Acl
from tests.harness.servers import redis_8, running
from tests.harness.wire import Wire, encode_command

NOW_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with running(redis_8()) as server, server.connect() as connection:
        yield connection


@pytest.fixture
def client() -> Any:
    service = Acl(load_all())
    return SimpleNamespace(
        instance=SimpleNamespace(acl=service),
        user=service.default_user,
        engine=SimpleNamespace(now_ms=NOW_MS),
        resp=2,
        null=reply.NULL_BULK,
    )


def run(client: Any, line: str) -> bytes:
    """The reply that dispatch would send; arity is its business."""
    argv = [word.encode() for word in line.split()]
    entry = find(argv)
    try:
        if entry is None:
            entry = find(argv[:1])
        assert entry is not None
        result = entry.fn(client, argv)
    except CommandError as error:
        return error.reply
    assert isinstance(result, bytes)
    return result


def run_reference(wire: Wire, line: str) -> bytes:
    """The raw reply of the reference."""
    wire.send_raw(encode_command(line.split()) + b"PING\r\n")
    return wire.read_until(b"+PONG\r\n")[: -len(b"+PONG\r\n")]


LINES = [
    "ACL WHOAMI",
    "ACL LIST",
    "ACL USERS",
    "ACL GETUSER default",
    "ACL GETUSER nobody",
    "ACL SETUSER bob on >p %R~a ~b &c +get (~x +set) (+@all)",
    "ACL SETUSER bob +nope",
    "ACL SETUSER bob (+get",
    "ACL GETUSER bob",
    "ACL LIST",
    "ACL USERS",
    "ACL DRYRUN bob GET a",
    "ACL DRYRUN bob GET zz",
    "ACL DRYRUN bob SET zz 1",
    "ACL DRYRUN bob GET",
    "ACL DRYRUN bob ACL",
    "ACL DRYRUN bob acl nope",
    "ACL DRYRUN bob acl whoami",
    "ACL DRYRUN bob acl|whoami x",
    "ACL DRYRUN bob nope x",
    "ACL DRYRUN nobody GET x",
    "ACL CAT",
    "ACL CAT nope",
    "ACL cat a b",
    "ACL GENPASS 0",
    "ACL GENPASS 4097",
    "ACL GENPASS -1",
    "ACL GENPASS x",
    "ACL GENPASS 1 2",
    "ACL LOG",
    "ACL LOG 5",
    "ACL LOG -5",
    "ACL LOG x",
    "ACL LOG reset",
    "ACL LOG reset x",
    "ACL LOAD",
    "ACL SAVE",
    "ACL nope",
    "ACL DELUSER bob default",
    "ACL DELUSER nobody bob bob",
    "ACL LIST",
]


@pytest.mark.parametrize("resp", [2, 3])
def test_replies(client: Any, wire: Wire, resp: int) -> None:
    wire.hello(resp)
    client.resp = resp
    client.null = reply.null(resp)
    for line in LINES:
        assert run(client, line) == run_reference(wire, line), line


@pytest.mark.parametrize("resp", [2, 3])
def test_log_entry(client: Any, resp: int) -> None:
    client.resp = resp
    log = client.instance.acl.log
    log.add("key", "multi", b"k", b"bob", b"id=1", NOW_MS - 2_500)
    expected = reply.map_of(
        [
            (reply.bulk(b"count"), b":1\r\n"),
            (reply.bulk(b"reason"), reply.bulk(b"key")),
            (reply.bulk(b"context"), reply.bulk(b"multi")),
            (reply.bulk(b"object"), reply.bulk(b"k")),
            (reply.bulk(b"username"), reply.bulk(b"bob")),
            (reply.bulk(b"age-seconds"), b",2.5\r\n" if resp == 3 else b"$3\r\n2.5\r\n"),
            (reply.bulk(b"client-info"), reply.bulk(b"id=1")),
            (reply.bulk(b"entry-id"), b":0\r\n"),
            (reply.bulk(b"timestamp-created"), b":%d\r\n" % (NOW_MS - 2_500)),
            (reply.bulk(b"timestamp-last-updated"), b":%d\r\n" % (NOW_MS - 2_500)),
        ],
        resp,
    )
    assert run(client, "ACL LOG") == b"*1\r\n" + expected


def test_log_shows_ten_by_default(client: Any) -> None:
    for number in range(12):
        client.instance.acl.log.add("key", "toplevel", b"%d" % number, b"bob", b"", NOW_MS)
    assert run(client, "ACL LOG").startswith(b"*10\r\n")
    assert run(client, "ACL LOG 11").startswith(b"*11\r\n")


def test_genpass(client: Any) -> None:
    assert run(client, "ACL GENPASS").startswith(b"$64\r\n")
    assert run(client, "ACL GENPASS 5").startswith(b"$2\r\n")


def test_whoami_is_the_connections_user(client: Any) -> None:
    run(client, "ACL SETUSER bob")
    client.user = client.instance.acl.find(b"bob")
    assert run(client, "ACL WHOAMI") == reply.bulk(b"bob")


@pytest.mark.parametrize(
    "line", ["ACL SETUSER bob >secret", "ACL SETUSER bob +nope", "ACL GETUSER bob", "ACL DELUSER bob"]
)
def test_slow_log_shows_no_secrets(client: Any, line: str) -> None:
    argv = line.encode().split()
    entry = find(argv)
    assert entry is not None
    with contextlib.suppress(CommandError):
        entry.fn(client, argv)
    assert argv[2:] == [b"(redacted)"] * (len(line.split()) - 2)


def test_help_names_every_subcommand(client: Any) -> None:
    text = run(client, "ACL HELP").decode()
    for name in load_all()["acl"].subcommands:
        assert f"+{name.upper()}" in text


def test_declarations_match_the_reference(wire: Wire) -> None:
    wire.hello(2)
    table = load_all()["acl"]
    for entry in (table, *table.subcommands.values()):
        info: Any = wire.call("COMMAND", "INFO", entry.name)
        _, arity, flags, *_, categories = info[0][:7]
        assert arity == entry.arity, entry.name
        assert {flag.text.decode() for flag in flags} == set(entry.flag_names), entry.name
        assert {category.text.decode()[1:] for category in categories} == entry.categories, entry.name
        assert bool(entry.flags & Flag.PLAIN) is False, entry.name


def test_rules_of_every_registered_command_are_accepted(client: Any) -> None:
    service = client.instance.acl
    for entry in load_all().values():
        service.set_user(b"bob", [f"+{entry.name}".encode()])
        for sub in entry.subcommands.values():
            service.set_user(b"bob", [f"-{sub.name}".encode()])
    bob = service.find(b"bob")
    assert not bob.unrestricted
    assert service.check(bob, load_all()["get"], [b"GET", b"k"]).reason == "key"
