"""redis.conf syntax: quoting, comments, includes, lines that add up, and errors that name the place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diskkv.config import Settings, load_file
from diskkv.config.lines import MAX_INCLUDE_DEPTH, join_words, printable, split_words
from diskkv.errors import ConfigError

raw_words = st.binary(max_size=12).map(lambda data: data.decode("utf-8", "surrogateescape"))


@example(["\u0600"])
@given(st.lists(raw_words, min_size=1, max_size=5))
def test_quoted_words_split_back(words: list[str]) -> None:
    line = join_words(words)
    assert split_words(line) == words
    assert line.isprintable()
    assert split_words(line.strip()) == words


def test_plain_words_stay_unquoted() -> None:
    assert join_words(["save", "900", "/a/b.c", "KEA$", "a=b#c"]) == "save 900 /a/b.c KEA$ a=b#c"
    assert join_words(["", "a b", "#", 'q"', "\x00\xff"]) == '"" "a b" "#" "q\\"" "\\x00ÿ"'


def load(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "test.conf"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    settings = Settings()
    load_file(settings, str(path))
    return settings


def test_a_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "# comment\r\n\n  PORT   7000  \r\nrequirepass \"a b\\x41\\n\"\nlogfile '/tmp/it\\'s'\nbind 127.0.0.1 ::1\n"
        "maxmemory 1gb\nunixsocketperm 770\nloglevel VERBOSE\nhash-max-ziplist-entries 7\nslave-priority 3\n"
        "notify-keyspace-events KEA\nlist-max-ziplist-entries 512\noom-score-adj-values 1 2 3\n"
        "user a on\nuser b off nopass\n"
        'rename-command GET ""\nrename-command SET PUT\nlatency-tracking-info-percentiles ""\n',
    )
    assert settings.port == 7000
    assert settings.requirepass == "a bA\n"
    assert settings.logfile == "/tmp/it's"
    assert settings.bind == ("127.0.0.1", "::1")
    assert settings.maxmemory == 1 << 30
    assert settings.unixsocketperm == 0o770
    assert settings.loglevel == "verbose"
    assert settings.hash_max_listpack_entries == 7
    assert settings.replica_priority == 3
    assert settings.notify_keyspace_events == "g$lshzxetdKE"
    assert settings.oom_score_adj_values == (1, 2, 3)
    assert settings.user == (("a", "on"), ("b", "off", "nopass"))
    assert settings.rename_command == (("GET", ""), ("SET", "PUT"))
    assert settings.latency_tracking_info_percentiles == ()


@pytest.mark.parametrize(
    ("text", "save"),
    [
        ("", ((3600, 1), (300, 100), (60, 10000))),
        ("save 900 1", ((900, 1),)),
        ("save 900 1\nsave 300 10", ((900, 1), (300, 10))),
        ("save 900 1 300 10", ((900, 1), (300, 10))),
        ('save "900 1 300 10"', ((900, 1), (300, 10))),
        ('save ""', ()),
        ('save 900 1\nsave ""\nsave 1 2', ((1, 2),)),
    ],
)
def test_save_lines_add_up(tmp_path: Path, text: str, save: object) -> None:
    assert load(tmp_path, text).save == save


def test_buffer_limits_change_one_class(tmp_path: Path) -> None:
    limits = load(tmp_path, "client-output-buffer-limit replica 1mb 2k 3\nclient-output-buffer-limit normal 1 2 3")
    assert limits.client_output_buffer_limit == {
        "normal": (1, 2, 3),
        "replica": (1 << 20, 2000, 3),
        "pubsub": (32 << 20, 8 << 20, 60),
    }


BAD_LINES = [
    ("logleve notice", "'logleve notice': unknown option, did you mean 'loglevel'?"),
    ("qqqqqqqq 1", "'qqqqqqqq 1': unknown option"),
    ("port", "'port': wrong number of arguments"),
    ("port 1 2", "'port 1 2': wrong number of arguments"),
    ("port abc", "'port abc': argument couldn't be parsed into an integer"),
    ("port 70000", "'port 70000': argument must be between 0 and 65535 inclusive"),
    ('appendonly "ye', "'appendonly \"ye': Unbalanced quotes in configuration line"),
    ("save 1", "'save 1': Invalid save parameters"),
    ("unixsocketperm 888", "'unixsocketperm 888': argument couldn't be parsed as an octal number"),
    ("include", "'include': wrong number of arguments"),
    ("include /nonexistent/x", "can't open config file '/nonexistent/x': No such file or directory"),
    ("loadmodule /x.so", "modules cannot be loaded"),
    ("sentinel monitor m 1 2 3", "diskkv is no sentinel"),
    ("replicaof 10.0.0.1 6379", "diskkv does not replicate"),
    ("replicaof master", "diskkv does not replicate"),
    ("cluster-enabled yes", "diskkv has no cluster mode"),
    ("rename-command GET", "wrong number of arguments"),
    ("user", "wrong number of arguments"),
    ("dir /dev/null", "Not a directory"),
    ("dir ''", "No such file or directory"),
    ("leveldb-compression zlib", "argument(s) must be one of the following: snappy, none"),
    ("proc-title-template {x}", "template format is invalid or contains unknown variables"),
    ("appendfilename a/b", "appendfilename can't be a path, just a filename"),
    ("port \x1b[2J", "\\x1b[2J"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_errors_are_one_line_with_file_and_number(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f"# first\nport 1\n{line}\nport 2\n")
    message = str(raised.value)
    assert message.startswith(f"*** FATAL CONFIG FILE ERROR *** {tmp_path}/test.conf, line 3: ")
    assert reason in message
    assert message.isprintable()


@pytest.mark.parametrize("line", ["requirepass s3cret extra", "masterauth 's3cret' x", 'user "s3cret'])
def test_secrets_are_not_in_errors(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, line)
    assert "s3cret" not in str(raised.value)


def test_no_replication_is_accepted_as_such(tmp_path: Path) -> None:
    assert load(tmp_path, "replicaof no one\nslaveof NO ONE\nreplicaof ''\ncluster-enabled no").replicaof == ""


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "a1.inc").write_text("port 1\ntimeout 1\n")
    (tmp_path / "a2.inc").write_text("timeout 2\n")
    settings = load(tmp_path, f"port 5\ninclude {tmp_path}/a*.inc\ninclude {tmp_path}/none*.inc\ntcp-keepalive 9\n")
    assert (settings.port, settings.timeout, settings.tcp_keepalive) == (1, 2, 9)


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.inc").write_text("\nport x\n")
    with pytest.raises(ConfigError, match=r"a\.inc, line 2: 'port x'"):
        load(tmp_path, f"include {tmp_path}/a.inc")


def test_a_file_that_includes_itself_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"more than {MAX_INCLUDE_DEPTH} nested includes"):
        load(tmp_path, f"include {tmp_path}/test.conf")


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match="can't open config file '/nonexistent': No such file or directory"):
        load_file(Settings(), "/nonexistent")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_file(Settings(), "/")


@given(st.text())
def test_any_file_loads_or_fails_cleanly(text: str) -> None:
    from diskkv.config.lines import Loader

    try:
        Loader(Settings()).load(text.replace("include", "x"), "f")
    except ConfigError as error:
        assert str(error).isprintable()


def test_printable() -> None:
    assert printable("aé\x00\udcff\n") == "aé\\x00\\xff\\n"
