"""The ACL engine by itself: decisions, callbacks, the log, redis.conf lines and the ACL file."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from diskkv.errors import CommandError, ConfigError
from diskkv.services.acl import (
    KEY_READ,
    KEY_WRITE,
    Acl,
    AclCommand,
    AclLog,
    Denial,
    User,
    generate_password,
    key_access,
)


@dataclass
class FakeCommand:
    name: str
    categories: frozenset[str] = frozenset({"slow"})
    subcommands: Mapping[str, FakeCommand] = field(default_factory=dict)


GET = FakeCommand("get", frozenset({"read", "string", "fast"}))
SET = FakeCommand("set", frozenset({"write", "string", "slow"}))
COPY = FakeCommand("copy", frozenset({"write", "keyspace", "slow"}))
PUBLISH = FakeCommand("publish", frozenset({"pubsub", "fast"}))
PSUBSCRIBE = FakeCommand("psubscribe", frozenset({"pubsub", "slow"}))
CONFIG_GET = FakeCommand("config|get", frozenset({"admin", "slow", "dangerous"}))
CONFIG_SET = FakeCommand("config|set", frozenset({"admin", "slow", "dangerous"}))
CONFIG = FakeCommand("config", subcommands={"get": CONFIG_GET, "set": CONFIG_SET})
SELECT = FakeCommand("select", frozenset({"fast", "connection"}))
AUTH = FakeCommand("auth", frozenset({"fast", "connection"}))
TABLE = {entry.name: entry for entry in (GET, SET, COPY, PUBLISH, PSUBSCRIBE, CONFIG, SELECT, AUTH)}


def keys_of(command: AclCommand, argv: Sequence[bytes]) -> list[tuple[bytes, int]]:
    match command.name:
        case "get":
            return [(argv[1], KEY_READ)]
        case "set":
            return [(argv[1], KEY_WRITE)]
        case "copy":
            return [(argv[1], KEY_READ), (argv[2], KEY_WRITE)]
        case _:
            return []


def channels_of(command: AclCommand, argv: Sequence[bytes]) -> list[tuple[bytes, bool]]:
    return [(argv[1], command.name == "psubscribe")] if "pubsub" in command.categories else []


@pytest.fixture
def acl() -> Acl:
    return Acl(TABLE, keys_of, channels_of)


def make(acl: Acl, rules: str, name: bytes = b"bob") -> User:
    acl.set_user(name, rules.encode().split())
    user = acl.find(name)
    assert user is not None
    return user


def denied(acl: Acl, user: User, command: FakeCommand, line: str) -> bytes | None:
    denial = acl.check(user, command, line.encode().split())
    return None if denial is None else denial.message


# ---- decisions


def test_default_user_may_do_everything(acl: Acl) -> None:
    assert acl.describe_users() == [b"user default on nopass sanitize-payload ~* &* +@all"]
    assert acl.default_user.unrestricted
    assert not acl.default_needs_password
    assert denied(acl, acl.default_user, CONFIG_SET, "CONFIG SET a b") is None


@pytest.mark.parametrize(
    ("rules", "unrestricted"),
    [
        ("~* &* +@all", True),
        ("on allkeys allchannels allcommands", True),
        ("+get (~* &* +@all)", True),
        ("~* &* +@all -get", False),
        ("~* &* +@all -get +get", False),
        ("~a* &* +@all", False),
        ("~* &a +@all", False),
        ("~* &* -@all", False),
        ("%RW~* &* +@all", False),
        ("~* &* +@all resetkeys", False),
    ],
)
def test_unrestricted(acl: Acl, rules: str, unrestricted: bool) -> None:
    assert make(acl, rules).unrestricted is unrestricted


def test_error_texts(acl: Acl) -> None:
    bob = make(acl, "on nopass ~a* &news +@all -set -config|set")
    assert denied(acl, bob, GET, "GET abc") is None
    assert denied(acl, bob, GET, "GET x") == b"NOPERM No permissions to access a key"
    assert denied(acl, bob, SET, "SET abc 1") == b"NOPERM User bob has no permissions to run the 'set' command"
    assert denied(acl, bob, PUBLISH, "PUBLISH x y") == b"NOPERM No permissions to access a channel"
    assert denied(acl, bob, CONFIG_GET, "CONFIG GET x") is None
    assert (
        denied(acl, bob, CONFIG_SET, "CONFIG SET x y")
        == b"NOPERM User bob has no permissions to run the 'config|set' command"
    )
    denial = acl.check(bob, PUBLISH, [b"PUBLISH", b"x", b"y"])
    assert denial == Denial(b"bob", "channel", b"x")
    assert denial.explanation == b"User bob has no permissions to access the 'x' channel"


def test_rules_change_decisions_made_before(acl: Acl) -> None:
    bob = make(acl, "~a +get")
    assert denied(acl, bob, GET, "GET b") is not None
    make(acl, "~b")
    assert denied(acl, bob, GET, "GET b") is None
    make(acl, "-get")
    assert denied(acl, bob, GET, "GET b") is not None


def test_permission_to_read_is_not_permission_to_write(acl: Acl) -> None:
    bob = make(acl, "%R~r %W~w +@all")
    assert denied(acl, bob, COPY, "COPY r w") is None
    assert denied(acl, bob, COPY, "COPY w r") is not None
    assert denied(acl, bob, COPY, "COPY r r") is not None


def test_selectors_do_not_add_up(acl: Acl) -> None:
    bob = make(acl, "(~a +copy) (~b +copy)")
    assert denied(acl, bob, COPY, "COPY a a") is None
    denial = acl.check(bob, COPY, [b"COPY", b"a", b"b"])
    assert denial is not None
    assert denial.object == b"b", "the denial that came furthest is shown"


def test_pattern_subscriptions_need_the_very_pattern(acl: Acl) -> None:
    bob = make(acl, "+@pubsub &news.*")
    assert denied(acl, bob, PSUBSCRIBE, "PSUBSCRIBE news.*") is None
    assert denied(acl, bob, PSUBSCRIBE, "PSUBSCRIBE news.a*") is not None
    assert denied(acl, bob, PUBLISH, "PUBLISH news.a x") is None
    assert bob.allows_channel(b"news.a", False)
    assert not bob.allows_channel(b"news.a", True)


def test_everyone_may_authenticate(acl: Acl) -> None:
    assert denied(acl, make(acl, "-@all"), AUTH, "AUTH x") is None


def test_first_arguments_ignore_case(acl: Acl, caplog: pytest.LogCaptureFixture) -> None:
    bob = make(acl, "+set|Sub ~*")
    assert "deprecated" in caplog.text
    assert denied(acl, bob, SET, "SET SUB") is None
    assert denied(acl, bob, SET, "SET other") is not None
    assert denied(acl, bob, SET, "SET") is not None


def test_keys_are_only_looked_for_when_rules_need_them() -> None:
    asked: list[str] = []

    def no_keys(command: AclCommand, argv: Sequence[bytes]) -> list[tuple[bytes, int]]:
        asked.append("keys")
        return []

    def no_channels(command: AclCommand, argv: Sequence[bytes]) -> list[tuple[bytes, bool]]:
        asked.append("channels")
        return []

    acl = Acl(TABLE, no_keys, no_channels)
    bob = make(acl, "~* +@all -set")
    acl.check(bob, GET, [b"GET", b"a"])
    acl.check(bob, SET, [b"SET", b"a", b"b"])
    assert asked == []
    acl.check(bob, PUBLISH, [b"PUBLISH", b"a", b"b"])
    assert asked == ["channels"]


@pytest.mark.parametrize(
    ("flags", "access"),
    [
        ("RO access", KEY_READ),
        ("RW access update", KEY_READ | KEY_WRITE),
        ("OW insert", KEY_WRITE),
        ("RM delete", KEY_WRITE),
        ("RO", 0),
        ("", 0),
    ],
)
def test_access_follows_from_key_specifications(flags: str, access: int) -> None:
    assert key_access(flags) == access


def test_a_key_without_access_needs_any_permission(acl: Acl) -> None:
    bob = make(acl, "%W~w* +get")
    exists = Acl(TABLE, lambda command, argv: [(argv[1], 0)], channels_of)
    assert exists.check(bob, GET, [b"GET", b"w1"]) is None
    assert exists.check(bob, GET, [b"GET", b"x"]) is not None


# ---- passwords


def test_authentication(acl: Acl) -> None:
    bob = make(acl, "on >one >two")
    assert acl.authenticate(b"bob", b"one") is bob
    assert acl.authenticate(b"bob", b"two") is bob
    assert acl.authenticate(b"bob", b"three") is None
    assert acl.authenticate(b"nobody", b"one") is None
    make(acl, "<one")
    assert acl.authenticate(b"bob", b"one") is None
    make(acl, "off")
    assert acl.authenticate(b"bob", b"two") is None
    make(acl, "on nopass")
    assert acl.authenticate(b"bob", b"anything") is bob


def test_requirepass(acl: Acl) -> None:
    acl.set_default_password(b"secret")
    assert acl.default_needs_password
    assert acl.authenticate(b"default", b"secret") is acl.default_user
    assert acl.authenticate(b"default", b"") is None
    acl.set_default_password(b"other")
    assert acl.authenticate(b"default", b"secret") is None
    acl.set_default_password(b"")
    assert not acl.default_needs_password


def test_a_default_user_that_is_off_needs_authentication(acl: Acl) -> None:
    make(acl, "off", b"default")
    assert acl.default_needs_password


def test_generated_passwords() -> None:
    assert len(generate_password()) == 64
    assert len(generate_password(5)) == 2
    assert len(generate_password(1)) == 1
    assert len(generate_password(4096)) == 1024
    assert generate_password() != generate_password()
    for bits in (0, -1, 4097):
        with pytest.raises(CommandError, match="positive number up to 4096"):
            generate_password(bits)


# ---- changes


def test_a_failed_change_leaves_no_trace(acl: Acl) -> None:
    make(acl, "on >p ~a +get")
    before = acl.describe_users()
    for rules in ("~b +set nonsense", "reset (+get", "(+get) +nope"):
        with pytest.raises(CommandError):
            make(acl, rules)
    with pytest.raises(CommandError):
        make(acl, "on nonsense", b"new")
    assert acl.describe_users() == before


def test_connections_keep_their_user_object(acl: Acl) -> None:
    changed: list[User] = []
    acl.on_changed = changed.append
    bob = make(acl, "~a +get")
    assert changed == []
    assert make(acl, "~* &* +@all") is bob
    assert bob.unrestricted
    assert changed == [bob]


def test_removed_users(acl: Acl) -> None:
    removed: list[User] = []
    acl.on_removed = removed.append
    bob = make(acl, "")
    assert acl.delete_users([b"bob", b"bob", b"nobody"]) == 1
    assert removed == [bob]
    assert acl.find(b"bob") is None


@pytest.mark.parametrize(
    ("before", "after", "narrowed"),
    [
        ("&a &b", "resetchannels &a", True),
        ("&a", "resetchannels &a &b", False),
        ("&a", "allchannels", False),
        ("allchannels", "resetchannels &*a", True),
        ("&a", "(&b)", False),
        ("&a (&b)", "clearselectors", True),
        ("&a (&b)", "clearselectors &b", False),
        ("&a", "+get", False),
    ],
)
def test_lost_channels_are_announced(acl: Acl, before: str, after: str, narrowed: bool) -> None:
    bob = make(acl, before)
    told: list[User] = []
    acl.on_channels_narrowed = told.append
    make(acl, after)
    assert told == ([bob] if narrowed else [])


def test_category_names(acl: Acl) -> None:
    assert acl.command_names("DANGEROUS") == ["config|get", "config|set"]
    assert acl.command_names("geo") == []
    assert acl.command_names("nope") is None


# ---- redis.conf and the ACL file


def test_configured_users(acl: Acl, caplog: pytest.LogCaptureFixture) -> None:
    acl.configure_user(b"bob on >p ~a (+get ~b)".split())
    assert acl.authenticate(b"bob", b"p") is not None
    assert "disabled" not in caplog.text
    acl.configure_user(b"default on >q".split())
    assert not acl.default_user.unrestricted, "a declared default user starts with no permissions"
    acl.configure_user([b"carl"])
    assert "'carl' is disabled" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "wrong number of arguments"),
        (b"bob on", "Error in user declaration 'bob': Duplicate user found"),
        (b"x (+get", "Unmatched parenthesis"),
        (b"x on +nope", r"ACL rule '\+nope' for the user 'x': Unknown command or category name in ACL"),
        (b"x <secret", r"ACL rule '<\(redacted\)' for the user 'x': The password you are trying"),
    ],
)
def test_bad_configured_users(acl: Acl, line: bytes, message: str) -> None:
    acl.configure_user([b"bob", b"on"])
    before = acl.describe_users()
    with pytest.raises(ConfigError, match=message):
        acl.configure_user(line.split())
    assert acl.describe_users() == before


def test_spaces_in_configured_names(acl: Acl) -> None:
    with pytest.raises(ConfigError, match="Spaces not allowed"):
        acl.configure_user([b"a b", b"on"])


def test_file_round_trip(acl: Acl, tmp_path: Path) -> None:
    acl.file = tmp_path / "users.acl"
    make(acl, "on >p %R~a ~b &c +@all -get (~x +set) (%W~y)")
    make(acl, "off", b"carl")
    before = acl.describe_users()
    acl.save()
    acl.delete_users([b"bob", b"carl"])
    acl.load()
    assert acl.describe_users() == before
    assert [path.name for path in tmp_path.iterdir()] == ["users.acl"]


def test_file_permissions(acl: Acl, tmp_path: Path) -> None:
    acl.file = tmp_path / "users.acl"
    acl.save()
    assert stat.S_IMODE(acl.file.stat().st_mode) == 0o600
    acl.file.chmod(0o640)
    acl.save()
    assert stat.S_IMODE(acl.file.stat().st_mode) == 0o640


def test_load_replaces_users_and_keeps_objects(acl: Acl, tmp_path: Path) -> None:
    acl.file = tmp_path / "users.acl"
    bob, carl = make(acl, "on nopass ~* &* +@all"), make(acl, "on", b"carl")
    removed: list[User] = []
    narrowed: list[User] = []
    acl.on_removed, acl.on_channels_narrowed = removed.append, narrowed.append
    acl.file.write_bytes(b"user bob on >p +get ~a\nuser dora on\n")
    acl.load()
    assert acl.find(b"bob") is bob
    assert not bob.unrestricted
    assert (removed, narrowed) == ([carl], [bob])
    assert [user.name for user in acl.users()] == [b"bob", b"default", b"dora"]
    assert acl.default_user is acl.find(b"default")


def test_bad_file_changes_nothing(acl: Acl, tmp_path: Path) -> None:
    acl.file = tmp_path / "users.acl"
    make(acl, "on >p")
    before = acl.describe_users()
    acl.file.write_bytes(b"user bob off\nuser carl +nope\n")
    with pytest.raises(CommandError, match=r"users.acl:2: Error in applying operation '\+nope'"):
        acl.load()
    assert acl.describe_users() == before


# ---- the log


def note(log: AclLog, now_ms: int, denied_object: bytes = b"k", info: bytes = b"i", reason: str = "key") -> None:
    log.add(reason, "toplevel", denied_object, b"bob", info, now_ms)


def test_repetitions_are_grouped() -> None:
    log = AclLog()
    note(log, 1000, info=b"first")
    note(log, 2000, b"other")
    note(log, 61_000, info=b"second")
    newest, other = log.newest()
    assert (newest.count, newest.created_ms, newest.updated_ms, newest.id) == (2, 1000, 61_000, 0)
    assert newest.client_info == b"second"
    assert newest.age_s(61_500) == 0.5
    assert other.object == b"other"


def test_late_repetitions_are_new_entries() -> None:
    log = AclLog()
    note(log, 1000)
    note(log, 61_001)
    assert [(entry.id, entry.count) for entry in log.newest()] == [(1, 1), (0, 1)]


def test_only_the_newest_ten_entries_are_grouped() -> None:
    log = AclLog()
    note(log, 1)
    for number in range(10):
        note(log, 2, b"other%d" % number)
    note(log, 3)
    assert len(log.newest(100)) == 12


def test_log_length() -> None:
    log = AclLog(max_len=3)
    for number in range(5):
        note(log, number, b"%d" % number)
    assert [entry.object for entry in log.newest()] == [b"4", b"3", b"2"]
    assert log.newest(-1) == []
    log.max_len = 0
    note(log, 9)
    assert log.newest() == []
    assert log.denials["key"] == 6


def test_log_keeps_no_giant_texts() -> None:
    log = AclLog()
    log.add("auth", "toplevel", b"AUTH", b"u" * 1_000_000, b"", 1)
    note(log, 1, b"k" * 1_000_000)
    assert all(len(entry.object) <= 4096 and len(entry.username) <= 4096 for entry in log.newest())


def test_reset_keeps_counts_and_ids() -> None:
    log = AclLog()
    note(log, 1)
    log.reset()
    assert log.newest() == []
    note(log, 2)
    assert log.newest()[0].id == 1
    assert log.denials == {"auth": 0, "command": 0, "key": 2, "channel": 0}
