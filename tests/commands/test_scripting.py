"""EVAL, SCRIPT and what scripts may do, without a server; the replies themselves are compared with a real one."""

from __future__ import annotations

import hashlib

import pytest

from diskkv.commands import dispatch
from diskkv.engine.memory import MemoryStore
from diskkv.errors import StorageError
from tests.commands.session import Session

GET = "return redis.call('GET', KEYS[1])"


@pytest.fixture
def session() -> Session:
    return Session()


def evaluate(session: Session, script: str, *keys_and_arguments: str, keys: int = 0) -> bytes:
    words = ["EVAL", script, str(keys), *keys_and_arguments]
    return session.call(*(word.encode() for word in words))


# ---- the engine behind the commands


def test_no_interpreter_is_started_before_it_is_needed(session: Session) -> None:
    scripts = session.instance.scripts
    for line in ("SET k v", "SCRIPT FLUSH", "INFO everything", "COMMAND"):
        session.run(line)
    assert scripts.engine is None
    evaluate(session, "return 1")
    assert scripts.engine is not None


def test_info_tells_about_scripts(session: Session) -> None:
    def field(name: str) -> int:
        text = session.call(b"INFO", b"everything").decode()
        return int(next(line for line in text.splitlines() if line.startswith(name + ":")).split(":")[1])

    assert field("number_of_cached_scripts") == field("used_memory_lua") == 0
    evaluate(session, "return 1")
    session.call(b"FUNCTION", b"LOAD", b"#!lua name=l\nredis.register_function('f', function() end)")
    assert field("number_of_cached_scripts") == 1
    assert field("number_of_libraries") == field("number_of_functions") == 1
    assert field("used_memory_lua") > 10_000
    assert field("used_memory_scripts_eval") == len("return 1")
    for number in range(600):
        evaluate(session, f"return {number}")
    assert field("number_of_cached_scripts") == 500
    assert field("evicted_scripts") == 100


def test_scripts_are_known_by_their_digest(session: Session) -> None:
    sha = hashlib.sha1(GET.encode()).hexdigest()
    session.run("SET k v")
    assert session.run(f"EVALSHA {sha} 1 k") == "NOSCRIPT No matching script. Please use EVAL."
    assert evaluate(session, GET, "k", keys=1) == b"$1\r\nv\r\n"
    assert session.run(f"EVALSHA {sha} 1 k") == '"v"'
    assert session.run(f"EVALSHA {sha.upper()} 1 k") == '"v"'
    assert session.run("SCRIPT FLUSH") == "OK"
    assert session.run(f"SCRIPT EXISTS {sha}") == "[0]"


# ---- what a script is run as


def test_the_callers_state_is_its_own(session: Session) -> None:
    session.run("SET k 0")
    script = "redis.call('SELECT', 5) redis.setresp(3) return redis.call('SET', 'k', '5')"
    assert evaluate(session, script) == b"+OK\r\n"
    assert session.client.db.index == 0
    assert session.client.resp == 2
    assert evaluate(session, GET, "k", keys=1) == b"$1\r\n0\r\n"
    session.run("SELECT 5")
    assert evaluate(session, GET, "k", keys=1) == b"$1\r\n5\r\n"


@pytest.mark.parametrize(("resp", "null"), [(2, b"$-1\r\n"), (3, b"_\r\n")])
def test_replies_are_in_the_callers_protocol(resp: int, null: bytes) -> None:
    session = Session(resp)
    assert evaluate(session, GET, "nosuch", keys=1) == null
    assert evaluate(session, "return redis.call('HGETALL', 'nosuch')") == b"*0\r\n"


def test_blocking_commands_answer_at_once(session: Session) -> None:
    assert evaluate(session, "return redis.call('BLPOP', 'l', 0)") == b"$-1\r\n"
    assert session.client.blocked is None
    assert session.instance.scripts.client.blocked is None


def test_large_arguments_and_replies_go_through(session: Session) -> None:
    value = "x" * 300_000
    assert evaluate(session, "return redis.call('APPEND', KEYS[1], ARGV[1])", "k", value, keys=1) == b":300000\r\n"
    assert len(evaluate(session, GET, "k", keys=1)) == 300_000 + len("$300000\r\n\r\n")
    evaluate(session, "for i = 1, 20000 do redis.call('RPUSH', KEYS[1], i) end", "l", keys=1)
    reply = evaluate(session, "return #redis.call('LRANGE', KEYS[1], 0, -1)", "l", keys=1)
    assert reply == b":20000\r\n"


def test_many_keys_are_passed(session: Session) -> None:
    words = [str(number) for number in range(10_000)]
    assert evaluate(session, "return {#KEYS, #ARGV, KEYS[9000], ARGV[1000]}", *words, keys=9000) == (
        b"*4\r\n:9000\r\n:1000\r\n$4\r\n8999\r\n$4\r\n9999\r\n"
    )


# ---- effects


def test_a_script_that_fails_keeps_what_it_wrote(session: Session) -> None:
    assert evaluate(session, "redis.call('SET', 'a', '1') redis.call('LPUSH', 'a', 'x')").startswith(b"-WRONGTYPE")
    assert session.run("GET a") == '"1"'


def test_a_failing_store_undoes_the_whole_script(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.run("SET kept v")
    session.database.segment.clear()

    def fail(store: MemoryStore, row: bytes) -> bytes:
        raise StorageError("unreadable")

    script = "redis.call('SET', 'a', '1') redis.pcall('GET', 'b') return redis.call('SET', 'c', '1')"
    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "get", fail)
        assert evaluate(session, script).startswith(b"-ERR storage error: unreadable")
    assert session.run("MGET kept a c") == '["v", nil, nil]'
    assert evaluate(session, script) == b"+OK\r\n"


def test_a_bug_in_a_command_undoes_the_whole_script(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(client: object, argv: list[bytes]) -> bytes:
        raise RuntimeError("bug")

    monkeypatch.setattr(session.instance.commands["echo"], "fn", fail)
    assert evaluate(session, "redis.call('SET', 'a', '1') return redis.pcall('ECHO', 'x')").startswith(b"-ERR internal")
    assert session.run("GET a") == "nil"
    assert evaluate(session, "return 1") == b":1\r\n"


def test_writes_of_a_script_are_one_batch() -> None:
    session = Session()
    evaluate(session, "return 1")
    commits = session.engine.commits
    evaluate(session, "for i = 1, 1000 do redis.call('SET', 'k' .. i, i) end")
    assert session.engine.commits == commits + 1
    assert session.run("DBSIZE") == "1000"


def test_watchers_hear_of_a_scripts_writes(session: Session) -> None:
    other = session.instance.new_client()
    session.run("WATCH k")
    session.run("MULTI")
    session.run("PING")
    session.engine.begin(session.now_ms)
    assert dispatch.execute(other, [b"EVAL", b"return redis.call('SET', 'k', '1')", b"0"]) == b"+OK\r\n"
    session.engine.commit()
    assert session.run("EXEC") == "nil"


def test_notifications_of_a_script(session: Session) -> None:
    session.notify()
    evaluate(session, "redis.call('SET', 'k', '1') redis.call('SELECT', 2) redis.call('RPUSH', 'l', 'x')")
    assert session.events == [("set", "k"), ("rpush", "l")]


# ---- refusals


def refuse_writes(session: Session) -> None:
    session.instance.writes.store_failed("disk full")


def test_scripts_run_until_they_write_while_writes_are_refused(session: Session) -> None:
    session.run("SET k v")
    evaluate(session, "return 1")
    refuse_writes(session)
    assert evaluate(session, GET, "k", keys=1) == b"$1\r\nv\r\n"
    assert evaluate(session, "return redis.call('SET', 'k', 'w')").startswith(b"-MISCONF")
    assert evaluate(session, "#!lua\nreturn 1").startswith(b"-MISCONF")
    assert evaluate(session, "#!lua flags=no-writes\nreturn 1") == b":1\r\n"
    session.call(b"FUNCTION", b"LOAD", b"#!lua name=l\nredis.register_function('f', function() end)")
    assert session.run("FUNCTION LIST") == "[]"
    assert session.run("GET k") == '"v"'


def test_pausing_writes_holds_back_scripts_that_may_write(session: Session) -> None:
    session.run("CLIENT PAUSE 100000 WRITE")
    readonly = b"#!lua flags=no-writes\nreturn 1"
    assert session.call(b"EVAL", readonly, b"0") == b":1\r\n"
    assert session.call(b"EVAL_RO", b"return 1", b"0") == b":1\r\n"
    sha = session.call(b"SCRIPT", b"LOAD", readonly)[5:45]
    assert session.call(b"EVALSHA", sha, b"0") == b":1\r\n"
    for argv in (
        [b"EVAL", b"return 1", b"0"],
        [b"EVAL", b"#!lua\nreturn 1", b"0"],
        [b"EVAL", b"#!nonsense", b"0"],
        [b"EVALSHA", b"0" * 40, b"0"],
        [b"FCALL", b"f", b"0"],
    ):
        other = session.instance.new_client()
        assert dispatch.execute(other, argv) is dispatch.HELD


# ---- those who look on


@pytest.mark.parametrize("on_fast_path", [True, False])
def test_messages_to_the_caller_itself_follow_the_reply(on_fast_path: bool) -> None:
    session = Session(3)
    session.call(b"SUBSCRIBE", b"channel")
    assert bool(session.client.fast)
    script = b"redis.call('PUBLISH', 'channel', 'message') return 'reply'"
    if on_fast_path:
        dispatch.execute_batch(session.client, [[b"EVAL", script, b"0"]], 0, 1)
        reply = b"".join(session.client.out)
    else:
        reply = session.call(b"EVAL", script, b"0")
    assert reply == b"$5\r\nreply\r\n>3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n$7\r\nmessage\r\n"
    assert session.instance.deferred == [] and session.instance.executing is None


def test_monitor_shows_the_script_and_then_its_commands(session: Session) -> None:
    other = session.instance.new_client()
    dispatch.execute(other, [b"MONITOR"])
    other.out.clear()
    session.run("SET k v")
    evaluate(session, GET, "k", keys=1)
    lines = [line.split(b"[", 1)[1] for line in b"".join(other.out).splitlines()]
    assert lines == [
        b'0 ] "SET" "k" "v"',
        b'0 ] "EVAL" "return redis.call(\'GET\', KEYS[1])" "1" "k"',
        b'0 lua] "GET" "k"',
    ]


def test_slow_log_has_the_commands_of_a_script(session: Session) -> None:
    session.run("CONFIG SET slowlog-log-slower-than 0")
    session.run("SLOWLOG RESET")
    evaluate(session, GET, "k", keys=1)
    entries = session.run("SLOWLOG GET")
    assert entries.index('"SLOWLOG"') > entries.index('["GET", "k"]') > entries.index('["EVAL", "return redis')


def test_denials_in_scripts_are_logged_as_such(session: Session) -> None:
    session.run("ACL SETUSER worker on nopass +eval +get ~k*")
    session.run("AUTH worker x")
    assert evaluate(session, GET, "kk", keys=1) == b"$-1\r\n"
    assert evaluate(session, "return redis.call('GET', 'x')").startswith(b"-ERR ACL failure in script: No permissions")
    entry = session.instance.acl.log.newest()[0]
    assert (entry.context, entry.object, entry.username) == ("lua", b"x", b"worker")


def test_tracked_reads_of_a_script_are_the_callers(session: Session) -> None:
    session = Session(3)
    session.run("SET k v")
    session.run("CLIENT TRACKING ON")
    evaluate(session, GET, "k", keys=1)
    other = session.instance.new_client()
    session.engine.begin(session.now_ms)
    dispatch.execute(other, [b"SET", b"k", b"w"])
    session.engine.commit()
    assert b"invalidate" in b"".join(session.client.out)


def test_scripts_cannot_be_debugged(session: Session) -> None:
    assert session.run("SCRIPT DEBUG NO") == "OK"
    assert session.run("SCRIPT DEBUG YES") == "ERR This server has no Lua debugger"
    assert session.run("SCRIPT DEBUG x") == "ERR Use SCRIPT DEBUG YES/SYNC/NO"
