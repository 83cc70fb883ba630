"""The ACL engine against a real server's: the same rules, then the same users, errors and decisions.

The engine gets the reference's own command table, so that nothing depends on which commands diskkv has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.errors import CommandError
from diskkv.services.acl import CATEGORIES, Acl, AclCommand, key_access
from tests.harness.servers import redis_8, running
from tests.harness.wire import ErrorReply, Reply, SetReply, Simple, Wire


def words(text: str) -> list[str]:
    return text.split()


@dataclass
class ReferenceCommand:
    """A command as the reference's COMMAND describes it."""

    name: str
    categories: frozenset[str]
    subcommands: Mapping[str, ReferenceCommand] = field(default_factory=dict)


class Reference:
    """A connection to the reference, and an Acl over its command table."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.table = {entry.name: entry for entry in map(_command, _list(self.wire.call("COMMAND")))}

    def acl(self) -> Acl:
        """A fresh Acl like a fresh reference; the reference's users are removed."""
        users = [user for user in _list(self.wire.call("ACL", "USERS")) if user != b"default"]
        if users:
            self.wire.call("ACL", "DELUSER", *users)
        return Acl(self.table, self.keys_of, channels_of)

    def keys_of(self, command: AclCommand, argv: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """The keys as the reference finds them."""
        reply = self.wire.call("COMMAND", "GETKEYSANDFLAGS", *argv)
        if isinstance(reply, ErrorReply):
            return []
        return [(key, key_access(_flags(flags))) for key, flags in map(_list, _list(reply))]


def channels_of(command: AclCommand, argv: Sequence[bytes]) -> list[tuple[bytes, bool]]:
    if command.name in ("publish", "spublish"):
        return [(argv[1], False)]
    if command.name in ("subscribe", "ssubscribe", "psubscribe"):
        return [(channel, command.name == "psubscribe") for channel in argv[1:]]
    return []


def _list(reply: Reply) -> Any:
    assert isinstance(reply, list | SetReply), reply
    return reply if isinstance(reply, list) else reply.members


def _text(reply: Reply) -> str:
    assert isinstance(reply, bytes | Simple), reply
    return (reply if isinstance(reply, bytes) else reply.text).decode()


def _flags(reply: Reply) -> str:
    return " ".join(_text(flag) for flag in _list(reply))


def _command(reply: Reply) -> ReferenceCommand:
    info = _list(reply)
    subcommands = {sub.name.partition("|")[2]: sub for sub in map(_command, info[9])}
    return ReferenceCommand(_text(info[0]), frozenset(_text(name)[1:] for name in _list(info[6])), subcommands)


def describe(acl: Acl, username: bytes) -> list[object] | None:
    """A user in the shape of the reference's ACL GETUSER over RESP2."""
    user = acl.find(username)
    if user is None:
        return None
    root, *others = user.selectors

    def shape(selector: Any) -> list[object]:
        return [
            b"commands",
            selector.describe_commands(),
            b"keys",
            selector.describe_keys(),
            b"channels",
            selector.describe_channels(),
        ]

    head = [b"flags", [flag.encode() for flag in user.flags], b"passwords", user.passwords]
    return [*head, *shape(root), b"selectors", [shape(selector) for selector in others]]


def outcome(action: Any, *arguments: Any) -> Reply:
    """What a client would get."""
    try:
        action(*arguments)
    except CommandError as error:
        return ErrorReply(error.message)
    return Simple(b"OK")


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    with running(redis_8()) as server, server.connect() as wire:
        yield Reference(wire)


def test_categories_are_those_of_the_reference(reference: Reference) -> None:
    assert [_text(name) for name in _list(reference.wire.call("ACL", "CAT"))] == list(CATEGORIES)
    acl = reference.acl()
    for category in CATEGORIES:
        names = acl.command_names(category)
        assert names is not None
        assert sorted(names) == sorted(_text(name) for name in _list(reference.wire.call("ACL", "CAT", category)))


COMMAND_NAMES = words(
    "get set GET mget copy select ping publish auth client config config|get config|set CONFIG|GET client|id object acl"
    " acl|whoami debug flushall config| config|nope get|foo select|0 select|1 config|get|x nope @all | info|x"
)
CATEGORY_NAMES = ["read", "write", "admin", "slow", "dangerous", "connection", "pubsub", "ALL", "nope", ""]
PATTERNS = ["", "*", "a*", "b", "a?", "[ab]*", "a b", "ch*", "\0", "\\*"]
HASH = "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940"
WORDS = words(
    "on off nopass resetpass reset sanitize-payload skip-sanitize-payload clearselectors allkeys resetkeys allchannels"
    " resetchannels allcommands nocommands +@all -@all ON AllKeys ( ) () nonsense"
)

command_rules = st.builds("{}{}".format, st.sampled_from("+-"), st.sampled_from(COMMAND_NAMES))
category_rules = st.builds("{}@{}".format, st.sampled_from("+-"), st.sampled_from(CATEGORY_NAMES))
key_rules = st.builds(
    "{}{}".format, st.sampled_from(["~", "%R~", "%W~", "%RW~", "%wr~", "%rr~", "%", "%R"]), st.sampled_from(PATTERNS)
)
channel_rules = st.builds("&{}".format, st.sampled_from(PATTERNS))
password_rules = st.builds("{}{}".format, st.sampled_from("><#!"), st.sampled_from(["p", "q", "", HASH, HASH.upper()]))
inner_rules = command_rules | category_rules | key_rules | channel_rules | st.sampled_from(WORDS)
selector_rules = st.lists(inner_rules, max_size=4).map(lambda rules: "({})".format(" ".join(rules)))
broken_selectors = st.sampled_from(["(+get", "~x)", "(+get ~a", '(~"a)', "(~'a' +get)", '(~"\\x41" )', "((+get))"])
rules = st.one_of(inner_rules, selector_rules, password_rules, broken_selectors)

PROBES = [
    argv.split()
    for argv in (
        "GET a",
        "GET b",
        "MGET a ab b zz",
        "SET a 1",
        "SET zz 1",
        "COPY a b",
        "EXISTS a",
        "TYPE zz",
        "GETSET a 1",
        "SELECT 0",
        "SELECT 1",
        "PING",
        "CONFIG GET x",
        "CONFIG SET x y",
        "CLIENT ID",
        "PUBLISH a x",
        "PUBLISH chan x",
        "SUBSCRIBE a ch1 zz",
        "PSUBSCRIBE ch* a*",
        "PSUBSCRIBE chan",
        "AUTH x",
        "EVAL x 1 a",
        "SORT a STORE b",
        "FLUSHALL",
    )
]


def assert_same_decisions(reference: Reference, acl: Acl, username: bytes) -> None:
    user = acl.find(username)
    if user is None:
        return
    for probe in PROBES:
        argv = [word.encode() for word in probe]
        entry = reference.table[probe[0].lower()]
        if entry.subcommands:
            entry = entry.subcommands[probe[1].lower()]
        denial = acl.check(user, entry, argv)
        expected = reference.wire.call("ACL", "DRYRUN", username, *argv)
        assert (Simple(b"OK") if denial is None else denial.explanation) == expected, probe


@given(calls=st.lists(st.lists(rules, max_size=4), min_size=1, max_size=4))
def test_random_rules(reference: Reference, calls: list[list[str]]) -> None:
    acl = reference.acl()
    for call in calls:
        encoded = [rule.encode() for rule in call]
        assert outcome(acl.set_user, b"u", encoded) == reference.wire.call("ACL", "SETUSER", "u", *encoded)
        reply = reference.wire.call("ACL", "GETUSER", "u")
        assert describe(acl, b"u") == (reply if isinstance(reply, list) else None)
    assert acl.describe_users() == reference.wire.call("ACL", "LIST")
    assert_same_decisions(reference, acl, b"u")


MANY = [
    "on >p ~a* +@all",
    "on nopass %R~a* %W~b +@all",
    "%R~a* %W~ab &ch* +@all -config +config|get",
    "+@all -@write (~b +set) (~zz %R~a +@all)",
    "~a (+mget ~b) (+mget ~zz) +mget",
    "+select|0 +select|1 -@all +select|1",
    "+select|0 +@connection -@connection",
    "+client +client|id -client +client|id",
    "-client|id +@all -client",
    "+@admin +@slow -config|get +config",
    "+publish +subscribe +psubscribe (+publish &a) (+@pubsub &ch* &zz)",
    "+sort ~a",
    "+copy (~a +copy) (~b +copy) (%R~a %W~b +copy)",
    "+get|foo +get -get +get|foo +get|FOO",
]


@pytest.mark.parametrize("line", MANY)
def test_chosen_rules(reference: Reference, line: str) -> None:
    acl = reference.acl()
    encoded = [word.encode() for word in line.split()]
    assert outcome(acl.set_user, b"u", encoded) == reference.wire.call("ACL", "SETUSER", "u", *encoded)
    assert acl.describe_users() == reference.wire.call("ACL", "LIST")
    assert_same_decisions(reference, acl, b"u")


def test_channels_allowed_by_default(reference: Reference) -> None:
    acl = reference.acl()
    acl.pubsub_default_all = True
    reference.wire.call("CONFIG", "SET", "acl-pubsub-default", "allchannels")
    try:
        for call in ([b"(+get)"], [b"resetchannels"], [b"reset", b"(-get)"], [b"(&a)"]):
            assert outcome(acl.set_user, b"u", call) == reference.wire.call("ACL", "SETUSER", "u", *call)
            assert acl.describe_users() == reference.wire.call("ACL", "LIST")
    finally:
        reference.wire.call("CONFIG", "SET", "acl-pubsub-default", "resetchannels")


@pytest.mark.parametrize("name", [b"a b", b"", b"a\tb", b"a\0b", b"\xff", b"(x", b"default"])
def test_names(reference: Reference, name: bytes) -> None:
    acl = reference.acl()
    assert outcome(acl.set_user, name, [b"sanitize-payload"]) == reference.wire.call(
        "ACL", "SETUSER", name, "sanitize-payload"
    )
    assert acl.describe_users() == reference.wire.call("ACL", "LIST")


def test_errors_of_deluser(reference: Reference) -> None:
    acl = reference.acl()
    acl.set_user(b"u", [])
    reference.wire.call("ACL", "SETUSER", "u")
    assert outcome(acl.delete_users, [b"u", b"default"]) == reference.wire.call("ACL", "DELUSER", "u", "default")
    assert acl.delete_users([b"u", b"nobody"]) == reference.wire.call("ACL", "DELUSER", "u", "nobody")


def test_dangerous_names_in_errors_end_at_nul(reference: Reference) -> None:
    acl = reference.acl()
    assert outcome(acl.set_user, b"u", [b"~a\0b"]) == reference.wire.call("ACL", "SETUSER", "u", b"~a\0b")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wire, Acl, Path]]:
    """ACL LOAD and SAVE with the same file on both sides."""
    path = tmp_path_factory.mktemp("acl") / "users.acl"
    path.write_bytes(b"")
    with running(redis_8(), "--aclfile", str(path)) as server, server.connect() as wire:
        acl = Reference(wire).acl()
        acl.file = path
        yield wire, acl, path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n \n\t\n",
        b"user bob on >p ~* +@all\n",
        b"  user bob on  >p \r\nuser carl (+get ~a) (+set ~b ) nopass",
        b"user default on nopass ~* &* +@all\nuser bob +get ~a\n",
        b"foo\n",
        b"user\n",
        b"USER bob on\n",
        b"user  bob on\n",
        b"# comment\n",
        b"user bob on\nuser bob off\n",
        b"user bob +nope foo +nope2 ~* ~a\nuser carl foo\nuser dora on\n",
        b"user bob foo +nope\n",
        b"user bob (+nope)\n",
        b"user bob +config|get|x\n",
        b"user a\tb on\n",
        b"user bob on\t>p\n",
        b"user bob \t>p\n",
        b'user bob ~"x y"\n',
        b"user bob <p\nuser carl #x\nuser dora !zz\n",
        b"user bob on foo bar\nuser bob off\nuser carl\nbaz",
        b"user bob on >p reset",
        b"user bob (+get\n",
    ],
)
def test_load(pair: tuple[Wire, Acl, Path], content: bytes) -> None:
    wire, acl, path = pair
    path.write_bytes(content)
    assert outcome(acl.load) == wire.call("ACL", "LOAD")
    assert acl.describe_users() == wire.call("ACL", "LIST")


def test_save(pair: tuple[Wire, Acl, Path]) -> None:
    wire, acl, path = pair
    path.write_bytes(b"user bob on >p ~a %R~b +@all -get (+set &x)\n")
    assert outcome(acl.load) == wire.call("ACL", "LOAD") == Simple(b"OK")
    assert wire.call("ACL", "SAVE") == Simple(b"OK")
    saved = path.read_bytes()
    path.unlink()
    acl.save()
    assert path.read_bytes() == saved


def test_missing_file(pair: tuple[Wire, Acl, Path]) -> None:
    wire, acl, path = pair
    path.unlink(missing_ok=True)
    assert outcome(acl.load) == wire.call("ACL", "LOAD")


def test_unwritable(pair: tuple[Wire, Acl, Path]) -> None:
    wire, acl, path = pair
    path.unlink(missing_ok=True)
    path.mkdir()
    assert outcome(acl.save) == wire.call("ACL", "SAVE")
    assert list(path.parent.iterdir()) == [path]
    path.rmdir()


def test_no_file_configured(reference: Reference) -> None:
    acl = reference.acl()
    assert outcome(acl.load) == reference.wire.call("ACL", "LOAD")
    assert outcome(acl.save) == reference.wire.call("ACL", "SAVE")


LOG_FIELDS = ("count", "reason", "context", "object", "username", "entry-id")


def test_log() -> None:
    with running(redis_8()) as server, server.connect() as admin:
        reference = Reference(admin)
        acl = reference.acl()
        rule = [b"on", b">p", b"~a*", b"+@all", b"-flushall", b"-config|set", b"&c*"]
        acl.set_user(b"bob", rule)
        reference.wire.call("ACL", "SETUSER", "bob", *rule)
        bob = acl.find(b"bob")
        assert bob is not None
        with server.connect() as wire:
            for word in (b"AUTH", b"auth", b"auth"):
                assert acl.authenticate(b"bob", b"wrong") is None
                acl.log.add("auth", "toplevel", word, b"bob", b"", 1)
                wire.call(word, "bob", "wrong")
            assert acl.authenticate(b"bob", b"p") is bob
            assert wire.call("AUTH", "bob", "p") == Simple(b"OK")
            for line in ["GET b", "get b", "FLUSHALL", "CONFIG SET a b", "PUBLISH x y", "MGET a b c", "GET zz"]:
                argv = line.encode().split()
                entry = reference.table[argv[0].decode().lower()]
                if entry.subcommands:
                    entry = entry.subcommands[argv[1].decode().lower()]
                denial = acl.check(bob, entry, argv)
                assert denial is not None
                assert wire.call(*argv) == ErrorReply(denial.message)
                acl.log_denial(denial, "toplevel", b"", 1)
        reply = reference.wire.call("ACL", "LOG", 100)
        expected = [dict(zip(row[::2], row[1::2], strict=True)) for row in map(_list, _list(reply))]
        found = [
            (entry.count, entry.reason.encode(), entry.context.encode(), entry.object, entry.username, entry.id)
            for entry in acl.log.newest(100)
        ]
        assert found == [tuple(row[name.encode()] for name in LOG_FIELDS) for row in expected]
        info = reference.wire.call("INFO", "stats")
        for reason, count in acl.log.denials.items():
            name = "cmd" if reason == "command" else reason
            assert f"acl_access_denied_{name}:{count}" in _text(info)
