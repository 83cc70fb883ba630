"""CONFIG GET and SET on the configuration object: patterns, atomicity, hooks."""

from __future__ import annotations

import pytest

from diskkv.config import Config
from diskkv.errors import CommandError, CommandSyntaxError, ConfigError


def message(config: Config, *arguments: bytes) -> bytes:
    with pytest.raises(CommandError) as raised:
        config.set(arguments)
    return raised.value.message


def test_get_by_name_glob_and_alias() -> None:
    config = Config()
    assert config.get([b"port"]) == [(b"port", b"6379")]
    assert config.get([b"PORT", b"port", b"p?rt", b"[p]ort"]) == [(b"PORT", b"6379")]
    assert config.get([b"nosuch", b"user", b"rename-command", b"include"]) == []
    assert dict(config.get([b"*-Priority", b"hash-max-*-entries"])) == {
        b"replica-priority": b"100",
        b"slave-priority": b"100",
        b"hash-max-listpack-entries": b"512",
        b"hash-max-ziplist-entries": b"512",
    }
    assert config.raw("slave-priority") == b"100"


def test_set_changes_typed_values() -> None:
    config = Config()
    config.set([b"MaxMemory", b"100mb", b"appendfsync", b"ALWAYS", b"save", b"1 2", b"slave-priority", b"7"])
    assert (config.maxmemory, config.appendfsync, config.save) == (100 << 20, "always", ((1, 2),))
    assert config.replica_priority == 7
    config.set([b"client-output-buffer-limit", b"normal 1 2 3"])
    assert config.client_output_buffer_limit["normal"] == (1, 2, 3)
    assert config.client_output_buffer_limit["pubsub"].hard_bytes == 32 << 20


def test_any_bytes_can_be_a_password() -> None:
    config = Config()
    secret = bytes(range(256))
    config.set([b"requirepass", secret])
    assert config.get([b"requirepass"]) == [(b"requirepass", secret)]
    assert config.raw("requirepass") == secret


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([b"maxmemory", b"1", b"port", b"x"], b"'port') - argument couldn't be parsed into an integer"),
        ([b"maxmemory", b"1", b"databases", b"2"], b"'databases') - can't set immutable config"),
        ([b"maxmemory", b"1", b"dir", b"/tmp"], b"'dir') - can't set protected config"),
        ([b"maxmemory", b"1", b"MaxMemory", b"2"], b"'MaxMemory') - duplicate parameter"),
        ([b"maxmemory", b"1", b"appendfsync", b"x"], b"one of the following: everysec, always, no"),
    ],
)
def test_nothing_changes_when_one_argument_is_bad(arguments: list[bytes], reason: bytes) -> None:
    config = Config()
    ran: list[int] = []
    config.on_change("maxmemory", lambda: ran.append(1))
    assert reason in message(config, *arguments)
    assert (config.maxmemory, ran) == (0, [])


def test_unknown_names_and_odd_arguments() -> None:
    config = Config()
    assert message(config, b"no\xffsuch", b"1") == (
        b"ERR Unknown option or number of arguments for CONFIG SET - 'no\xffsuch'"
    )
    assert b"Unknown option" in message(config, b"user", b"default on")
    with pytest.raises(CommandSyntaxError):
        config.set([b"port", b"1", b"timeout"])


def test_hooks_run_once_after_all_values_are_set_and_only_for_changes() -> None:
    config = Config()
    seen: list[tuple[int, int]] = []
    hook = lambda: seen.append((config.timeout, config.tcp_keepalive))  # noqa: E731
    config.on_change("timeout", hook)
    config.on_change("tcp-keepalive", hook)
    config.set([b"timeout", b"5", b"tcp-keepalive", b"6"])
    config.set([b"timeout", b"5"])
    config.set([b"port", b"1"])
    assert seen == [(5, 6)]
    config.on_change("slave-priority", lambda: seen.append((0, config.replica_priority)))
    config.set([b"replica-priority", b"9"])
    assert seen[1:] == [(0, 9)]
    with pytest.raises(KeyError):
        config.on_change("nosuch", hook)


def test_a_failing_hook_undoes_everything() -> None:
    config = Config()
    seen: list[int] = []

    def listen() -> None:
        if config.port == 1:
            msg = "Unable to listen on this port."
            raise ConfigError(msg)

    config.on_change("timeout", lambda: seen.append(config.timeout))
    config.on_change("port", listen)
    config.on_change("maxmemory", lambda: seen.append(-1))
    assert message(config, b"timeout", b"5", b"port", b"1", b"maxmemory", b"7") == (
        b"ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port."
    )
    assert (config.timeout, config.port, config.maxmemory) == (0, 6379, 0)
    assert seen == [5, 0]


def test_protected_parameters() -> None:
    config = Config()
    config.enable_protected_configs = "local"
    with pytest.raises(CommandError, match="protected"):
        config.set([b"dbfilename", b"x.rdb"])
    config.set([b"dbfilename", b"x.rdb"], local=True)
    assert config.dbfilename == "x.rdb"
    config.enable_protected_configs = "yes"
    config.set([b"dbfilename", b"y.rdb"])
    assert b"can't set immutable config" in message(config, b"dir", b"/tmp")
    assert b"just a filename" in message(config, b"dbfilename", b"a/b")
