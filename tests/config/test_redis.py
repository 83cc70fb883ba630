"""CONFIG of a real server: the same names, defaults, accepted values and error texts, with every difference listed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from diskkv.config import BY_NAME, Config
from diskkv.errors import CommandError
from tests.harness.servers import ServerProcess, reference_flavour
from tests.harness.wire import ErrorReply, Wire

OTHER_DEFAULTS = {
    "appendonly": "every write is logged, whatever it says",
    "dir": "a data directory of its own",
}
# Of these, `bind` has another default too: only this machine, as in the redis.conf that Redis comes with.
SET_BY_THE_HARNESS = {"bind", "port", "unixsocket", "save", "enable-debug-command", "maxclients"}
UNTRIED = {
    "bind": "listens at once",
    "port": "listens at once",
    "tls-port": "listens at once; crashes the reference when TLS is not configured",
    "dir": "immutable here",
    "maxclients": "the limit on open files decides",
    "locale-collate": "accepted without effect here",
    "cluster-announce-hostname": "accepted without effect here",
    "cluster-announce-human-nodename": "accepted without effect here",
    "requirepass": "the connection would have to authenticate",
    "repl-backlog-size": "has a smallest size there",
}
NOTHING_CHECKED = {name for name in BY_NAME if name.startswith("tls-")}


# The reference takes sizes that do not fit for percentages; here they are refused.
WRAPS_AROUND = {
    ("maxmemory-clients", b"9223372036854775808"),
    ("maxmemory-clients", b"99999999999999999999999"),
}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with ServerProcess(reference_flavour()) as server, server.connect() as wire:
        yield wire


@pytest.fixture(scope="module")
def defaults(wire: Wire) -> dict[str, bytes]:
    """What the reference server starts with; made before any test changes it."""
    return get_all(wire)


def get_all(wire: Wire) -> dict[str, bytes]:
    reply = wire.call("CONFIG", "GET", "*")
    assert isinstance(reply, list)
    words = [word for word in reply if isinstance(word, bytes)]
    return {name.decode(): value for name, value in zip(words[::2], words[1::2], strict=True)}


def test_every_parameter_of_the_reference_exists(defaults: dict[str, bytes]) -> None:
    ours = {name.decode() for name, _ in Config().get([b"*"])}
    assert set(defaults) - ours == set()


def test_defaults_are_the_same(defaults: dict[str, bytes]) -> None:
    ours = {name.decode(): value for name, value in Config().get([b"*"])}
    different = {name for name in defaults if ours[name] != defaults[name]}
    assert different - SET_BY_THE_HARNESS == set(OTHER_DEFAULTS)


def both(wire: Wire, config: Config, *arguments: bytes) -> tuple[object, object]:
    theirs: object = wire.call("CONFIG", "SET", *arguments)
    try:
        config.set(arguments)
    except CommandError as error:
        return ErrorReply(error.message), theirs
    ours = [config.get([name]) for name in arguments[::2]]
    shown = [wire.call("CONFIG", "GET", name) for name in arguments[::2]]
    pairs = [[(reply[0], reply[1])] if isinstance(reply, list) and reply else [] for reply in shown]
    return ours, pairs if not isinstance(theirs, ErrorReply) else theirs


PROBES = [
    b"", b"!!!", b"1", b"-1", b"-9223372036854775808", b"9223372036854775808", b"99999999999999999999999",
    b"yes", b"NO", b"1kb", b"-1kb", b"1tb", b"50%", b"101%", b"1 2", b"1 2 3", b" 1", b"01", b"1.5",
]  # fmt: skip


def test_every_parameter_takes_and_refuses_the_same_values(wire: Wire, defaults: dict[str, bytes]) -> None:
    config = Config()
    wrong = []
    for name in sorted(set(defaults) - set(UNTRIED) - NOTHING_CHECKED):
        for value in PROBES:
            ours, theirs = both(wire, config, name.encode(), value)
            if ours != theirs and (name, value) not in WRAPS_AROUND:
                wrong.append((name, value, ours, theirs))
        if not BY_NAME[name].immutable and not BY_NAME[name].protected:
            assert wire.call("CONFIG", "SET", name, defaults[name]) is not None
    assert not wrong, "\n".join(map(str, wrong))


SETS = [
    (b"nosuch", b"1"), (b"maxmemory", b"1", b"nosuch", b"1"), (b"maxmemory", b"1", b"2"),
    (b"user", b"default on"), (b"maxmemory", b"1", b"maxmemory", b"2"),
    (b"MaxMemory", b"1", b"MAXMEMORY", b"2"), (b"DATABASES", b"3"), (b"maxmemory", b"5mb", b"databases", b"3"),
    (b"timeout", b"x", b"cluster-enabled", b"yes"), (b"TIMEOUT", b"x"),
    (b"cluster-enabled", b"yes", b"timeout", b"x"), (b"timeout", b"x", b"loglevel", b"y"),
    (b"SLAVE-PRIORITY", b"x"), (b"slave-priority", b"10", b"replica-priority", b"20"),
    (b"hash-max-ziplist-entries", b"9"), (b"maxmemory", b"kb"), (b"maxmemory", b"1M"), (b"maxmemory", b"1b"),
    (b"maxmemory", b"99999999999gb"), (b"maxmemory-clients", b"0%"), (b"maxmemory-clients", b"%"),
    (b"maxmemory-clients", b"100%"), (b"appendfsync", b"ALWAYS"), (b"loglevel", b"a b"),
    (b"notify-keyspace-events", b"KEA"), (b"notify-keyspace-events", b"Kg$lshzxetdmn"),
    (b"notify-keyspace-events", b"Kn"), (b"notify-keyspace-events", b"gE"),
    (b"notify-keyspace-events", b"KEocdn"), (b"notify-keyspace-events", b"KEA!"),
    (b"notify-keyspace-events", b"KEAmnoc"), (b"notify-keyspace-events", b""), (b"save", b"900 1 300 10"),
    (b"save", b"900"), (b"save", b"0 1"), (b"save", b"1 0"), (b"save", b"1 -1"), (b"save", b" 900  1 "),
    (b"save", b""), (b"client-output-buffer-limit", b"normal 1mb 1mb 10"),
    (b"client-output-buffer-limit", b"normal 1mb 1mb -1"), (b"client-output-buffer-limit", b"foo 1 1 1"),
    (b"client-output-buffer-limit", b"slave 4 5 6 pubsub 1 1 1"),
    (b"client-output-buffer-limit", b"REPLICA 1 2 3"), (b"client-output-buffer-limit", b"master 0 0 0"),
    (b"client-output-buffer-limit", b"normal x 0 0"),
    (b"client-output-buffer-limit", b"normal 1 1 1 normal 2 2 2"),
    (b"latency-tracking-info-percentiles", b"50.50 1e1 33.333333333333 1e-10"),
    (b"proc-title-template", b"{foo}"), (b"latency-tracking-info-percentiles", b"101"),
    (b"latency-tracking-info-percentiles", b"nan"), (b"latency-tracking-info-percentiles", b"inf"),
    (b"latency-tracking-info-percentiles", b"50  99"), (b"oom-score-adj-values", b"-2000 -1500 2000"),
    (b"oom-score-adj-values", b"-2001 0 0"), (b"oom-score-adj", b"relative"),
    (b"shutdown-on-sigterm", b"nosave force now"), (b"shutdown-on-sigterm", b"save nosave"), (b"hz", b"1000"),
    (b"hz", b"0"), (b"shutdown-on-sigterm", b"default save"), (b"shutdown-on-sigterm", b"force  now"),
    (b"dbfilename", b"a/b"), (b"dir", b"/tmp"), (b"slowlog-log-slower-than", b"-2"),
    (b"slowlog-log-slower-than", b"+1"), (b"unixsocketperm", b"7"), (b"lua-time-limit", b"7"),
    (b"list-max-ziplist-size", b"0x10"), (b"enable-debug-command", b"yes"), (b"timeout", b"7"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", SETS)
def test_the_same_reply_and_value(wire: Wire, defaults: dict[str, bytes], arguments: tuple[bytes, ...]) -> None:
    config = Config()
    for name in arguments[::2]:
        start = defaults.get(name.decode().lower())
        if start is not None and not isinstance(wire.call("CONFIG", "SET", name, start), ErrorReply):
            config.set([name, start])
    ours, theirs = both(wire, config, *arguments)
    assert ours == theirs


GETS = [
    (b"port", b"PORT"), (b"SLAVE-PRIORITY",), (b"SLAVE-*",), (b"nosuch",), (b"[p]idfile", b"pid?ile"),
    (b"po\\rt",), (b"*max-*-entries", b"TIMEOUT"), (b"user",), (b"rename-command",), (b"include",), (b"save*",),
    (b"*memory*",),
]  # fmt: skip


@pytest.mark.parametrize("patterns", GETS)
def test_get_finds_the_same_names(wire: Wire, defaults: dict[str, bytes], patterns: tuple[bytes, ...]) -> None:
    reply = wire.call("CONFIG", "GET", *patterns)
    assert isinstance(reply, list)
    ours = sorted(name for name, _ in Config().get(patterns))
    assert ours == sorted(word for word in reply[::2] if isinstance(word, bytes))


def test_rewrite_without_a_file(wire: Wire) -> None:
    with pytest.raises(CommandError) as raised:
        Config().rewrite()
    assert ErrorReply(raised.value.message) == wire.call("CONFIG", "REWRITE")
