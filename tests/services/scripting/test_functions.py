"""Function libraries: loading is all or nothing, names, flags, payloads, calls."""

from __future__ import annotations

import pytest

from diskkv.codec.rdb_payload import dump_functions
from diskkv.errors import CommandError
from diskkv.services.scripting.engine import ScriptEngine
from diskkv.services.scripting.functions import FunctionStore
from diskkv.services.scripting.shebang import ScriptFlag


def library(name: str, *functions: str) -> bytes:
    lines = [
        f"redis.register_function('{function}', function(keys, args) return '{name}' end)" for function in functions
    ]
    return "\n".join([f"#!lua name={name}", *lines]).encode()


@pytest.fixture
def store() -> FunctionStore:
    return FunctionStore(ScriptEngine(lambda argv, resp: b"+OK\r\n"))


def failure(call: object, *args: object, **options: object) -> bytes:
    with pytest.raises(CommandError) as caught:
        call(*args, **options)  # type: ignore[operator]
    return caught.value.message


def names(store: FunctionStore) -> dict[bytes, list[bytes]]:
    return {name: sorted(found.functions) for name, found in store.libraries.items()}


def test_functions_are_called_with_their_keys_and_arguments(store: FunctionStore) -> None:
    store.load(b"#!lua name=l\nredis.register_function('f', function(k, a) return {k, a, #k + #a} end)")
    reply = store.call(b"F", [b"k"], [b"a", b"b"])
    assert reply == b"*3\r\n*1\r\n$1\r\nk\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:3\r\n"
    assert store.call(b"f", [b"k"] * 5000, [b"a"] * 5000)[-8:] == b":10000\r\n"
    assert failure(store.call, b"nosuch", [], []) == b"ERR Function not found"


def test_libraries_keep_their_locals_between_calls(store: FunctionStore) -> None:
    store.load(b"#!lua name=l\nlocal n = 0\nredis.register_function('f', function() n = n + 1 return n end)")
    assert [store.call(b"f", [], []) for _ in range(2)] == [b":1\r\n", b":2\r\n"]


def test_metadata_is_listed(store: FunctionStore) -> None:
    store.load(
        b"#!lua name=l\nredis.register_function{function_name='f', callback=function() end, description='text', "
        b"flags={'allow-stale', 'no-writes'}}"
    )
    function = store.get(b"f")
    assert (function.name, function.description, function.library.name) == (b"f", b"text", b"l")
    assert function.flags == ScriptFlag.NO_WRITES | ScriptFlag.ALLOW_STALE
    assert function.flag_names == [b"no-writes", b"allow-stale"]
    assert store.function_count == 1


def test_lists_are_filtered_by_a_glob_in_any_case(store: FunctionStore) -> None:
    store.load(library("Alpha", "f"))
    store.load(library("beta", "g"))
    assert [found.name for found in store.list()] == [b"Alpha", b"beta"]
    assert [found.name for found in store.list(b"a*")] == [b"Alpha"]
    assert store.list(b"x") == []


def test_a_library_is_replaced_only_on_request(store: FunctionStore) -> None:
    store.load(library("l", "f", "g"))
    assert failure(store.load, library("l", "h")) == b"ERR Library 'l' already exists"
    assert store.load(library("l", "g", "h"), replace=True) == b"l"
    assert names(store) == {b"l": [b"g", b"h"]}
    assert failure(store.call, b"f", [], []) == b"ERR Function not found"


@pytest.mark.parametrize("code", [b"#!lua name=l\nx(", b"#!lua name=l\nnosuch()", library("l", "taken")])
def test_a_failed_replacement_changes_nothing(store: FunctionStore, code: bytes) -> None:
    store.load(library("other", "taken"))
    store.load(library("l", "f"))
    assert failure(store.load, code, replace=True).startswith(b"ERR ")
    assert names(store) == {b"other": [b"taken"], b"l": [b"f"]}
    assert store.call(b"f", [], []) == b"$1\r\nl\r\n"
    assert store.call(b"taken", [], []) == b"$5\r\nother\r\n"


def test_function_names_are_unique_in_any_case(store: FunctionStore) -> None:
    store.load(library("a", "f"))
    assert failure(store.load, library("b", "F")) == b"ERR Function F already exists"
    assert b"already exists in the library" in failure(store.load, library("c", "x", "X"))


def test_deleted_and_flushed_libraries_are_gone(store: FunctionStore) -> None:
    store.load(library("a", "f"))
    store.load(library("b", "g"))
    store.delete(b"a")
    assert names(store) == {b"b": [b"g"]}
    assert failure(store.delete, b"a") == b"ERR Library not found"
    store.flush()
    assert (names(store), store.function_count) == ({}, 0)


def test_endless_libraries_time_out(store: FunctionStore) -> None:
    message = failure(store.load, b"#!lua name=l\nwhile true do end", timeout_ms=5)
    assert message == b"ERR Error registering functions: ERR FUNCTION LOAD timeout"
    assert store.load(library("l", "f")) == b"l"


def test_read_only_calls_need_the_flag(store: FunctionStore) -> None:
    store.load(library("l", "f"))
    assert failure(store.call, b"f", [], [], readonly=True) == (
        b"ERR Can not execute a script with write flag using *_ro command."
    )


def test_functions_are_killed_as_functions() -> None:
    engine = ScriptEngine(lambda argv, resp: b"+OK\r\n", busy_threshold_ms=0)
    store = FunctionStore(engine)
    store.load(b"#!lua name=l\nredis.register_function('f', function() while true do end end)")
    seen: list[bytes] = []

    def on_tick() -> None:
        seen.append(engine.busy_error.message)
        if len(seen) == 1:
            seen.append(failure(engine.kill))
        engine.kill(function=True)

    engine.on_tick = on_tick
    reply = store.call(b"f", [], [])
    assert reply.startswith(b"-ERR Script killed by user with SCRIPT KILL... script: f, on @user_function:2.")
    assert seen[0] == seen[1]
    assert seen[0] == b"BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."


# -- payloads


def test_payloads_restore_libraries(store: FunctionStore) -> None:
    store.load(library("a", "f"))
    store.load(library("b", "g"))
    payload = store.dump()
    store.flush()
    store.restore(payload)
    assert names(store) == {b"a": [b"f"], b"b": [b"g"]}
    assert store.call(b"g", [], []) == b"$1\r\nb\r\n"


def test_append_refuses_known_libraries_and_replace_takes_them(store: FunctionStore) -> None:
    store.load(library("a", "f"))
    payload = dump_functions([library("a", "g"), library("b", "h")])
    assert failure(store.restore, payload) == b"ERR Library a already exists"
    assert names(store) == {b"a": [b"f"]}
    store.restore(payload, b"replace")
    assert names(store) == {b"a": [b"g"], b"b": [b"h"]}


def test_replace_refuses_functions_of_other_libraries(store: FunctionStore) -> None:
    store.load(library("a", "f"))
    assert failure(store.restore, dump_functions([library("b", "f")]), b"REPLACE") == b"ERR Function f already exists"
    assert names(store) == {b"a": [b"f"]}


def test_flush_drops_what_was_there(store: FunctionStore) -> None:
    store.load(library("a", "f"))
    store.restore(dump_functions([library("b", "f")]), b"FLUSH")
    assert names(store) == {b"b": [b"f"]}


@pytest.mark.parametrize(
    ("payload", "policy", "message"),
    [
        (b"x" * 20, b"APPEND", b"ERR DUMP payload version or checksum are wrong"),
        (b"", b"APPEND", b"ERR DUMP payload version or checksum are wrong"),
        (dump_functions([]), b"x", b"ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."),
        (dump_functions([b"nothing"]), b"FLUSH", b"ERR Missing library metadata"),
    ],
)
def test_bad_payloads_change_nothing(store: FunctionStore, payload: bytes, policy: bytes, message: bytes) -> None:
    store.load(library("a", "f"))
    assert failure(store.restore, payload, policy) == message
    assert names(store) == {b"a": [b"f"]}
