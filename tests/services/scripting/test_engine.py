"""Scripts with a fake command executor: caching, callbacks, limits, kills."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from diskkv.errors import CommandError
from diskkv.services.scripting.engine import BUSY_SCRIPT, ScriptEngine
from diskkv.services.scripting.shebang import ScriptFlag


class Commands:
    """Records what scripts execute and answers with `reply`, or raises it."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[bytes], int]] = []
        self.reply: bytes | BaseException | Callable[[list[bytes]], bytes] = b"+OK\r\n"

    def __call__(self, argv: list[bytes], resp: int) -> bytes:
        self.seen.append((argv, resp))
        if isinstance(self.reply, BaseException):
            raise self.reply
        return self.reply(argv) if callable(self.reply) else self.reply


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def engine(commands: Commands) -> ScriptEngine:
    return ScriptEngine(commands)


def evaluate(engine: ScriptEngine, source: bytes, *args: bytes, keys: tuple[bytes, ...] = (), resp: int = 2) -> bytes:
    return engine.run(engine.load(source, from_eval=True), keys, args, resp=resp)


# -- the cache


def test_scripts_are_found_by_their_hash_in_any_case(engine: ScriptEngine) -> None:
    sha = engine.load(b"return 1")
    assert sha == b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
    assert engine.exists(sha.upper())
    assert engine.run(sha.upper(), [], []) == b":1\r\n"
    assert not engine.exists(b"x" * 40)
    assert not engine.exists(b"e0")


def test_unknown_scripts_are_refused(engine: ScriptEngine) -> None:
    with pytest.raises(CommandError) as caught:
        engine.run(b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db", [], [])
    assert caught.value.message == b"NOSCRIPT No matching script. Please use EVAL."


def test_flush_forgets_all_scripts(engine: ScriptEngine) -> None:
    sha = engine.load(b"return 1")
    engine.flush()
    assert len(engine) == 0
    assert not engine.exists(sha)


def test_scripts_from_eval_are_evicted_least_recently_used_first(commands: Commands) -> None:
    engine = ScriptEngine(commands, max_eval_scripts=2)
    kept = engine.load(b"return 'kept'")
    first, second = engine.load(b"return 1", from_eval=True), engine.load(b"return 2", from_eval=True)
    engine.run(first, [], [])
    third = engine.load(b"return 3", from_eval=True)
    assert [engine.exists(sha) for sha in (kept, first, second, third)] == [True, True, False, True]
    assert engine.evicted_scripts == 1


def test_script_load_makes_a_script_from_eval_stay(commands: Commands) -> None:
    engine = ScriptEngine(commands, max_eval_scripts=1)
    sha = engine.load(b"return 1", from_eval=True)
    engine.load(b"return 1")
    engine.load(b"return 2", from_eval=True)
    engine.load(b"return 3", from_eval=True)
    assert engine.exists(sha)


def test_a_script_that_does_not_compile_is_not_kept(engine: ScriptEngine) -> None:
    with pytest.raises(CommandError) as caught:
        engine.load(b"x(")
    assert caught.value.message == (
        b"ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'"
    )
    assert len(engine) == 0


def test_bytecode_is_refused(engine: ScriptEngine) -> None:
    with pytest.raises(CommandError, match="unexpected symbol near"):
        engine.load(b"\x1bLuaQ\0\1\4\x08\4\x08\0")
    assert evaluate(engine, b"return loadstring(string.dump(function() end))") == b"$-1\r\n"


def test_flags_are_there_for_dispatch(engine: ScriptEngine) -> None:
    assert engine.get(engine.load(b"return 1")).flags == ScriptFlag.COMPAT
    script = engine.get(engine.load(b"#!lua flags=no-writes,allow-stale\nreturn 1"))
    assert script.flags == ScriptFlag.NO_WRITES | ScriptFlag.ALLOW_STALE


# -- commands


def test_commands_get_bytes_and_the_scripts_protocol_version(engine: ScriptEngine, commands: Commands) -> None:
    evaluate(
        engine, b"redis.call('a', KEYS[1], ARGV[1], 1, 2.5) redis.setresp(3) redis.call('b')", b"v\0", keys=(b"k",)
    )
    assert commands.seen == [([b"a", b"k", b"v\0", b"1", b"2.5"], 2), ([b"b"], 3)]
    commands.seen.clear()
    evaluate(engine, b"redis.call('c')")
    assert commands.seen == [([b"c"], 2)]


@pytest.mark.parametrize(
    ("reply", "expression", "expected"),
    [
        (b"+OK\r\n", b"r.ok", b"$2\r\nOK\r\n"),
        (b":-7\r\n", b"r + 1", b":-6\r\n"),
        (b"$-1\r\n", b"r == false", b":1\r\n"),
        (b"*-1\r\n", b"r == false", b":1\r\n"),
        (b"$3\r\na\0b\r\n", b"r", b"$3\r\na\0b\r\n"),
        (b"$0\r\n\r\n", b"r", b"$0\r\n\r\n"),
        (b"*0\r\n", b"#r", b":0\r\n"),
        (b"*5\r\n$1\r\na\r\n$12\r\n0123456789ab\r\n:12\r\n$-1\r\n*1\r\n$0\r\n\r\n", b"r", None),
        (b"*2\r\n+OK\r\n-ERR x\r\n", b"r", b"*2\r\n+OK\r\n-ERR x\r\n"),
        (b"*1\r\n$100\r\n" + b"x" * 100 + b"\r\n", b"#r[1]", b":100\r\n"),
        (b"_\r\n", b"r == nil", b":1\r\n"),
        (b"#t\r\n", b"r == true", b":1\r\n"),
        (b",1.5\r\n", b"tostring(r.double)", b"$3\r\n1.5\r\n"),
        (b",-inf\r\n", b"tostring(r.double)", b"$4\r\n-inf\r\n"),
        (b"(123\r\n", b"r.big_number", b"$3\r\n123\r\n"),
        (b"=6\r\ntxt:hi\r\n", b"r.verbatim_string.format .. r.verbatim_string.string", b"$5\r\ntxthi\r\n"),
        (b"%1\r\n$1\r\na\r\n:1\r\n", b"r.map.a", b":1\r\n"),
        (b"~1\r\n$1\r\na\r\n", b"tostring(r.set.a)", b"$4\r\ntrue\r\n"),
        (b"%1\r\n_\r\n:1\r\n", b"type(r.map)", b"$5\r\ntable\r\n"),
    ],
)
def test_replies_become_lua_values(
    engine: ScriptEngine, commands: Commands, reply: bytes, expression: bytes, expected: bytes | None
) -> None:
    commands.reply = reply
    assert evaluate(engine, b"local r = redis.call('x') return " + expression) == (
        reply if expected is None else expected
    )


def test_errors_raised_by_commands_are_replies(engine: ScriptEngine, commands: Commands) -> None:
    commands.reply = CommandError(b"WRONGTYPE no")
    assert evaluate(engine, b"return redis.pcall('x').err") == b"$12\r\nWRONGTYPE no\r\n"
    assert evaluate(engine, b"\nredis.call('x')").startswith(b"-WRONGTYPE no script: ")
    assert evaluate(engine, b"\nredis.call('x')").endswith(b", on @user_script:2.\r\n")


@pytest.mark.parametrize("source", [b"redis.call('x')", b"pcall(redis.call, 'x') return 1", b"return redis.pcall('x')"])
def test_other_exceptions_of_commands_end_the_run_and_come_out(
    engine: ScriptEngine, commands: Commands, source: bytes
) -> None:
    commands.reply = KeyError("bug")
    with pytest.raises(KeyError, match="bug"):
        evaluate(engine, source)
    assert engine.running is None
    commands.reply = b"+OK\r\n"
    assert evaluate(engine, b"return redis.call('x')") == b"+OK\r\n"


def test_commands_work_inside_coroutines(engine: ScriptEngine, commands: Commands) -> None:
    commands.reply = b"*2\r\n$1\r\na\r\n:5\r\n"
    source = b"local f = coroutine.wrap(function() coroutine.yield(redis.call('x')) return redis.call('y')[2] end) "
    assert evaluate(engine, source + b"local t = f() return {t[1], f()}") == b"*2\r\n$1\r\na\r\n:5\r\n"


def test_the_run_in_progress_is_described(engine: ScriptEngine, commands: Commands) -> None:
    seen = []

    def look(_argv: list[bytes]) -> bytes:
        running = engine.running
        assert running is not None
        seen.append((running.name, running.readonly, running.is_function, running.command, running.wrote))
        return b"+OK\r\n"

    commands.reply = look
    sha = engine.load(b"#!lua flags=no-writes\nreturn redis.call('x')")
    engine.run(sha, [], [], command=[b"EVALSHA", sha, b"0"])
    assert seen == [(sha, True, False, [b"EVALSHA", sha, b"0"], False)]
    assert engine.running is None


def test_read_only_runs_need_a_read_only_or_a_legacy_script(engine: ScriptEngine) -> None:
    assert engine.run(engine.load(b"return 1"), [], [], readonly=True) == b":1\r\n"
    with pytest.raises(CommandError, match=r"Can not execute a script with write flag using \*_ro command"):
        engine.run(engine.load(b"#!lua\nreturn 1"), [], [], readonly=True)


def test_runs_do_not_nest(engine: ScriptEngine, commands: Commands) -> None:
    sha = engine.load(b"return redis.call('x')")
    commands.reply = lambda _argv: engine.run(sha, [], [])
    with pytest.raises(RuntimeError, match="already running"):
        engine.run(sha, [], [])


def test_acl_checks_and_logs_reach_the_server(commands: Commands) -> None:
    asked: list[list[bytes]] = []
    logged: list[tuple[int, bytes]] = []

    def acl_check(argv: list[bytes]) -> bool:
        asked.append(argv)
        return len(asked) > 1

    engine = ScriptEngine(commands, acl_check=acl_check, log=lambda level, message: logged.append((level, message)))
    assert evaluate(engine, b"return redis.acl_check_cmd('get', 1)") == b"$-1\r\n"
    assert evaluate(engine, b"return redis.acl_check_cmd('get', 'k')") == b":1\r\n"
    assert asked == [[b"get", b"1"], [b"get", b"k"]]
    evaluate(engine, b"redis.log(redis.LOG_WARNING, 'a', 1, {}, 'b')")
    assert logged == [(3, b"a 1 b")]


def test_the_version_is_visible(commands: Commands) -> None:
    engine = ScriptEngine(commands, version="7.4.2")
    assert (
        evaluate(engine, b"return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM}")
        == b"*2\r\n$5\r\n7.4.2\r\n:459778\r\n"
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3, 3999, 4001, 20000])
def test_any_number_of_keys_and_arguments_arrives(engine: ScriptEngine, count: int) -> None:
    sha = engine.load(b"return {#KEYS, #ARGV, KEYS[#KEYS] or '', ARGV[#ARGV] or ''}")
    keys = [b"k%d" % i for i in range(count)]
    args = [b"a%d" % i for i in range(count)]
    last = b"%d" % (count - 1) if count else b""
    texts = [b"k" + last, b"a" + last] if count else [b"", b""]
    expected = b"*4\r\n:%d\r\n:%d\r\n" % (count, count) + b"".join(b"$%d\r\n%b\r\n" % (len(t), t) for t in texts)
    assert engine.run(sha, keys, args) == expected


# -- stopping


def killing_engine(commands: Commands) -> ScriptEngine:
    engine = ScriptEngine(commands, busy_threshold_ms=0)
    engine.on_tick = engine.kill
    return engine


ENDLESS = [
    b"while true do end",
    b"while true do pcall(function() while true do end end) end",
    b"xpcall(function() while true do end end, function() while true do end end)",
    b"while true do xpcall(error, function() while true do end end) end",
    b"coroutine.resume(coroutine.create(function() while true do end end)) return 1",
    b"local f = coroutine.wrap(function() while true do end end) while true do pcall(f) end",
    b"while true do coroutine.wrap(function() for i = 1, 9000 do end end)() end",
    b"while true do redis.call('x') end",
    b"while true do redis.pcall('x') end",
    b"while true do cjson.encode({1, 2, 3}) end",
    b"load(function() while true do end end)",
    b"table.sort({1, 2, 3}, function() while true do end end)",
    b"string.gsub('aaa', '.', function() while true do end end)",
    b"return setmetatable({}, {__index = function() while true do end end}).x",
    b"return tostring(setmetatable({}, {__tostring = function() while true do end end}))",
    b"local function f() return f() end return f()",
]


@pytest.mark.parametrize("source", ENDLESS)
def test_no_script_survives_a_kill(commands: Commands, source: bytes) -> None:
    engine = killing_engine(commands)
    reply = evaluate(engine, source)
    assert reply.startswith(b"-ERR Script killed by user with SCRIPT KILL... script: "), reply
    assert reply.endswith(b", on @user_script:1.\r\n"), reply
    assert evaluate(engine, b"return cjson.encode({pcall(error, 'x', 0)})") == b'$11\r\n[false,"x"]\r\n'


def test_a_kill_names_the_line(commands: Commands) -> None:
    assert evaluate(killing_engine(commands), b"\n\nwhile true do end").endswith(b", on @user_script:3.\r\n")


def test_a_kill_reaches_a_script_whose_huge_reply_is_being_made(commands: Commands) -> None:
    source = b"local t = 1 for n = 1, 4 do local u = {} for i = 1, 50 do u[i] = t end t = u end return t"
    reply = evaluate(killing_engine(commands), source)
    assert reply.startswith(b"-ERR Script killed by user with SCRIPT KILL... script: "), reply[:100]
    engine = killing_engine(commands)
    evaluate(engine, source)
    assert evaluate(engine, b"return 1") == b":1\r\n"


def test_only_a_running_script_that_has_not_written_can_be_killed(commands: Commands) -> None:
    engine = ScriptEngine(commands, busy_threshold_ms=0)
    refused: list[bytes] = []

    def on_tick() -> None:
        running = engine.running
        assert running is not None
        assert engine.is_busy
        assert engine.busy_error.message == BUSY_SCRIPT
        running.wrote = not refused
        try:
            engine.kill(function=len(refused) == 1)
        except CommandError as error:
            refused.append(error.code)

    engine.on_tick = on_tick
    with pytest.raises(CommandError, match="NOTBUSY No scripts in execution right now"):
        engine.kill()
    assert b"killed by user" in evaluate(engine, b"while true do end")
    assert refused == [b"UNKILLABLE", b"BUSY"]


def test_ticks_wait_for_the_busy_threshold(commands: Commands) -> None:
    ticks: list[int] = []
    engine = ScriptEngine(commands, busy_threshold_ms=3_600_000, on_tick=lambda: ticks.append(1))
    evaluate(engine, b"for i = 1, 1000000 do end")
    assert ticks == []
    engine.busy_threshold_ms = 0
    evaluate(engine, b"for i = 1, 1000000 do end")
    assert ticks


def test_an_exception_from_a_tick_ends_the_run_and_comes_out(commands: Commands) -> None:
    engine = ScriptEngine(commands, busy_threshold_ms=0)

    def on_tick() -> None:
        raise KeyboardInterrupt

    engine.on_tick = on_tick
    with pytest.raises(KeyboardInterrupt):
        evaluate(engine, b"while true do pcall(function() while true do end end) end")
    assert evaluate(engine, b"return 1") == b":1\r\n"
