"""GET, SET and their relatives: options, times to live, notifications, statistics."""

from __future__ import annotations

import pytest

from diskkv.codec.header import LIST, Header
from diskkv.datatypes import strings
from tests.commands.session import NOW_MS, Session

SYNTAX_ERROR = "ERR syntax error"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.fixture
def session() -> Session:
    return Session()


def put_list(session: Session, key: bytes) -> None:
    session.database.put(key, Header(LIST, [b"item"]), session.database.get(key))
    session.engine.commit()


@pytest.mark.parametrize("resp", [2, 3])
def test_get_set(resp: int) -> None:
    Session(resp).check(r"""
        GET k -> nil
        SET k v -> OK
        GET k -> "v"
        SET k "" -> OK
        GET k -> ""
        set "\x00\xff" "a\r\nb" -> OK
        get "\x00\xff" -> "a\r\nb"
        GET -> ERR wrong number of arguments for 'get' command
        SET k -> ERR wrong number of arguments for 'set' command
    """)


def test_conditions(session: Session) -> None:
    session.check("""
        SET k v XX -> nil
        GET k -> nil
        SET k v NX -> OK
        SET k w nx -> nil
        GET k -> "v"
        SET k w xX -> OK
        GET k -> "w"
        SET k x XX GET -> "w"
        SET k y NX GET -> "x"
        GET k -> "x"
        SET other v NX GET -> nil
        GET other -> "v"
        SET nobody v XX GET -> nil
        GET nobody -> nil
        SETNX k z -> 0
        SETNX fresh z -> 1
        GET fresh -> "z"
    """)


@pytest.mark.parametrize(
    "options",
    [
        *("BOGUS", "NX XX", "XX NX", "NX IFEQ v", "IFEQ v XX", "IFEQ v IFNE v", "IFDEQ v IFDNE v", "PERSIST"),
        *("KEEPTTL EX 10", "EX 10 KEEPTTL", "EX 10 PX 10", "EXAT 10 PXAT 10", "PX 10 EXAT 10", "EX", "PX", "EXAT"),
        *("PXAT", "IFEQ", "IFNE", "IFDEQ", "IFDNE", "NX EX", "EX 10 NX GET KEEPTTL"),
    ],
)
def test_options_that_are_no_syntax(session: Session, options: str) -> None:
    session.check(f"""
        SET k v -> OK
        SET k w {options} -> {SYNTAX_ERROR}
        GET k -> "v"
    """)


@pytest.mark.parametrize("options", ["NX NX", "GET GET", "KEEPTTL KEEPTTL", "EX 0 EX 10"])
def test_an_option_may_be_repeated(session: Session, options: str) -> None:
    assert session.run(f"SET k v {options}") in ("OK", "nil")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("SET k v EX {}", "set"),
        ("SET k v PX {}", "set"),
        ("SET k v PXAT {} NX", "set"),
        ("SET k v GET EXAT {}", "set"),
        ("SETEX k {} v", "setex"),
        ("PSETEX k {} v", "psetex"),
        ("GETEX old EX {}", "getex"),
        ("MSETEX 1 k v PX {}", "msetex"),
    ],
)
def test_bad_times(session: Session, command: str, name: str) -> None:
    session.run("SET old v")
    for time in ("0", "-1", "-9223372036854775808"):
        assert session.run(command.format(time)) == f"ERR invalid expire time in '{name}' command"
    for time in ("x", "1.5", '""', "+1", '" 1"', "01", "9223372036854775808"):
        assert session.run(command.format(time)) == "ERR value is not an integer or out of range"
    assert session.run("GET k") == "nil"


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ("EX 9223372036854775", False),
        ("EX 9223370336854775", True),
        ("EX 9223370336854776", False),
        ("PX 9223372036854775807", False),
        (f"PX {2**63 - 1 - NOW_MS}", True),
        (f"PX {2**63 - NOW_MS}", False),
        ("EXAT 9223372036854775", True),
        ("EXAT 9223372036854776", False),
        ("PXAT 9223372036854775807", True),
    ],
)
def test_the_latest_times(session: Session, options: str, allowed: bool) -> None:
    expected = "OK" if allowed else "ERR invalid expire time in 'set' command"
    assert session.run(f"SET k v {options}") == expected


def expire_ms(session: Session, key: bytes) -> int:
    value = session.database.get(key)
    return value.expire_ms if isinstance(value, Header) else 0


@pytest.mark.parametrize(
    ("command", "expected_ms"),
    [
        ("SET k w", 0),
        ("SET k w KEEPTTL", NOW_MS + 100_000),
        ("SET k w EX 5", NOW_MS + 5000),
        ("SET k w px 5", NOW_MS + 5),
        ("SET k w Ex 5", NOW_MS + 5000),
        ("SET k w XX PX 7", NOW_MS + 7),
        (f"SET k w EXAT {NOW_MS // 1000 + 1}", NOW_MS + 1000),
        (f"SET k w PXAT {NOW_MS + 3}", NOW_MS + 3),
        ("SET missing w KEEPTTL", NOW_MS + 100_000),
        ("SETEX k 5 w", NOW_MS + 5000),
        ("PSETEX k 5 w", NOW_MS + 5),
        ("GETSET k w", 0),
        ("MSET k w", 0),
        ("MSETEX 1 k w", 0),
        ("MSETEX 1 k w KEEPTTL", NOW_MS + 100_000),
        ("MSETEX 1 k w EX 5", NOW_MS + 5000),
        ("GETEX k", NOW_MS + 100_000),
        ("GETEX k PERSIST", 0),
        ("GETEX k EX 5", NOW_MS + 5000),
        (f"GETEX k PXAT {NOW_MS + 3}", NOW_MS + 3),
        ("APPEND k w", NOW_MS + 100_000),
        ("SETRANGE k 0 w", NOW_MS + 100_000),
        ("INCR n", NOW_MS + 100_000),
        ("INCRBYFLOAT n 1", NOW_MS + 100_000),
    ],
)
def test_times_to_live(session: Session, command: str, expected_ms: int) -> None:
    session.run("MSETEX 2 k v n 1 EX 100")
    session.run(command)
    key = b"n" if "INCR" in command else b"k"
    assert expire_ms(session, key) == expected_ms
    assert session.database.expires == (2 if expected_ms else 1)


def test_a_key_is_gone_when_its_time_has_come(session: Session) -> None:
    session.check("""
        SET k v PX 10 -> OK
        GET k -> "v"
    """)
    session.now_ms += 10
    session.check("""
        GET k -> nil
        SET k v XX -> nil
        SET k v NX KEEPTTL -> OK
    """)
    assert expire_ms(session, b"k") == 0


def test_a_time_that_has_passed_already(session: Session) -> None:
    session.check("""
        SET k v -> OK
        SET k v EXAT 1 -> OK
        GET k -> nil
        SET k v -> OK
        GETEX k PXAT 1 -> "v"
        GET k -> nil
        SET k v PXAT 5 GET -> nil
        MSETEX 1 k v PXAT 5 -> 1
        GET k -> nil
    """)
    assert session.database.keys == session.database.expires == 0


@pytest.mark.parametrize("resp", [2, 3])
def test_getex_getdel_getset(resp: int) -> None:
    Session(resp).check(f"""
        GETEX k EX 0 -> nil
        GETEX k BOGUS -> {SYNTAX_ERROR}
        GETEX k GET -> {SYNTAX_ERROR}
        GETEX k NX -> {SYNTAX_ERROR}
        GETEX k KEEPTTL -> {SYNTAX_ERROR}
        GETEX k EX 10 PERSIST -> {SYNTAX_ERROR}
        GETEX k PERSIST EX 10 -> {SYNTAX_ERROR}
        GETEX k EX -> {SYNTAX_ERROR}
        GETSET k v -> nil
        GETSET k w -> "v"
        GETEX k -> "w"
        GETEX k PERSIST -> "w"
        GETDEL k -> "w"
        GETDEL k -> nil
    """)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("GET l", WRONG_TYPE),
        ("SET l v GET", WRONG_TYPE),
        ("SET l v NX GET", WRONG_TYPE),
        ("SET l v IFEQ v", WRONG_TYPE),
        ("SET l v IFDNE short", WRONG_TYPE),
        ("SET l v GET EX 0", "ERR invalid expire time in 'set' command"),
        ("GETSET l v", WRONG_TYPE),
        ("GETDEL l", WRONG_TYPE),
        ("GETEX l", WRONG_TYPE),
        ("GETEX l EX 0", WRONG_TYPE),
        ("GETEX l BOGUS", SYNTAX_ERROR),
        ("STRLEN l", WRONG_TYPE),
        ("GETRANGE l 0 1", WRONG_TYPE),
        ("GETRANGE l x 1", "ERR value is not an integer or out of range"),
        ("APPEND l x", WRONG_TYPE),
        ("SETRANGE l 0 x", WRONG_TYPE),
        ("SETRANGE l 0 ''", WRONG_TYPE),
        ("SETRANGE l -1 x", "ERR offset is out of range"),
        ("SETRANGE l 99999999999 x", WRONG_TYPE),
        ("INCR l", WRONG_TYPE),
        ("INCRBY l x", "ERR value is not an integer or out of range"),
        ("INCRBYFLOAT l x", WRONG_TYPE),
        ("DIGEST l", WRONG_TYPE),
        ("DELEX l IFEQ v", "ERR Key should be of string type if conditions are specified"),
        ("DELEX l BOGUS v", "ERR Key should be of string type if conditions are specified"),
        ("LCS l k", "ERR The specified keys must contain string values"),
        ("LCS k l BOGUS", "ERR The specified keys must contain string values"),
        ("SETNX l v", "0"),
        ("MSETNX l v k v", "0"),
        ("SET l v NX", "nil"),
        ("MGET l k", "[nil, nil]"),
    ],
)
def test_another_type(session: Session, command: str, expected: str) -> None:
    put_list(session, b"l")
    assert session.run(command) == expected
    assert session.database.get(b"l") == Header(LIST, [b"item"])
    assert session.database.get(b"k") is None


@pytest.mark.parametrize("command", ["SET l v", "SET l v XX", "SETEX l 10 v", "MSET l v", "MSETEX 1 l v XX"])
def test_another_type_is_replaced(session: Session, command: str) -> None:
    put_list(session, b"l")
    assert session.run(command) in ("OK", "1")
    assert session.run("GET l") == '"v"'


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("SET k v", ["set k"]),
        ("SET k v EX 100", ["set k", "expire k"]),
        ("SET k v XX GET PXAT 9000000000000", ["set k", "expire k"]),
        ("SET k v KEEPTTL", ["set k"]),
        ("SET k v NX", []),
        ("SET k v IFNE v", []),
        ("SET k v IFEQ v", ["set k"]),
        ("SET new v", ["set new"]),
        ("SETEX k 100 v", ["set k", "expire k"]),
        ("PSETEX k 100 v", ["set k", "expire k"]),
        ("SETNX k v", []),
        ("SETNX new v", ["set new"]),
        ("GETSET k v", ["set k"]),
        ("GETDEL k", ["del k"]),
        ("GETDEL missing", []),
        ("GETEX k", []),
        ("GETEX k PERSIST", []),
        ("GETEX t PERSIST", ["persist t"]),
        ("GETEX k EX 10", ["expire k"]),
        ("GETEX k PXAT 1", ["del k"]),
        ("MSET k v new v", ["set k", "set new"]),
        ("MSETNX k v new v", []),
        ("MSETNX new v", ["set new"]),
        ("MSETEX 2 k v new v", ["set k", "set new"]),
        ("MSETEX 2 k v t v EX 10", ["set k", "expire k", "set t", "expire t"]),
        ("APPEND k v", ["append k"]),
        ("APPEND new v", ["append new"]),
        ("SETRANGE k 0 v", ["setrange k"]),
        ("SETRANGE k 0 ''", []),
        ("INCR n", ["incrby n"]),
        ("DECRBY n 3", ["incrby n"]),
        ("INCRBYFLOAT n 3", ["incrbyfloat n"]),
        ("DELEX k", ["del k"]),
        ("DELEX k IFEQ v", ["del k"]),
        ("DELEX k IFEQ w", []),
        ("DIGEST k", []),
        ("LCS k k", []),
    ],
)
def test_notifications(session: Session, command: str, expected: list[str]) -> None:
    session.run("MSET k v n 1")
    session.run("SETEX t 100 v")
    session.notify()
    session.run(command)
    assert [" ".join(event) for event in session.events] == expected


@pytest.mark.parametrize(
    ("command", "hits", "misses"),
    [
        ("GET k", 1, 0),
        ("GET missing", 0, 1),
        ("MGET k missing k", 2, 1),
        ("GETSET k v", 1, 0),
        ("GETDEL missing", 0, 1),
        ("GETEX k EX 10", 1, 0),
        ("STRLEN missing", 0, 1),
        ("GETRANGE k 0 1", 1, 0),
        ("LCS k missing", 1, 1),
        ("DIGEST k", 1, 0),
        ("SET k v GET", 1, 0),
        ("SET k v IFEQ v", 1, 0),
        ("SET k v", 0, 0),
        ("SET missing v NX", 0, 0),
        ("APPEND k v", 0, 0),
        ("INCR n", 0, 0),
        ("SETRANGE missing 0 v", 0, 0),
        ("DELEX k IFEQ v", 0, 0),
    ],
)
def test_hits_and_misses(session: Session, command: str, hits: int, misses: int) -> None:
    session.run("MSET k v n 1")
    engine = session.engine
    engine.keyspace_hits = engine.keyspace_misses = 0
    session.run(command)
    assert (engine.keyspace_hits, engine.keyspace_misses) == (hits, misses)


@pytest.mark.parametrize("size", [strings.INLINE_MAX_BYTES, strings.INLINE_MAX_BYTES + 1, 200_000])
@pytest.mark.parametrize("command", ["SET k {}", "SET k {} EX 10", "GETSET k {}", "MSET k {}", "MSETEX 1 k {}"])
def test_long_values(session: Session, command: str, size: int) -> None:
    data = b"v" * size
    bulk = b"$%d\r\n%b\r\n" % (size, data)
    session.call(*(data if word == b"{}" else word for word in command.encode().split()))
    assert session.call(b"GET", b"k") == bulk
    assert session.call(b"MGET", b"k", b"x") == b"*2\r\n" + bulk + b"$-1\r\n"
    assert session.run("STRLEN k") == str(size)
    assert session.call(b"GETSET", b"k", b"short") == bulk
    assert session.run("GET k") == '"short"'


def test_names_that_read_are_known_to_getkeys() -> None:
    entry = Session().instance.commands["set"]
    assert entry.key_positions([b"SET", b"k", b"v"]) == [(1, "OW update")]
    assert entry.key_positions([b"SET", b"k", b"v", b"EX", b"10", b"get"]) == [(1, "RW access update")]
    assert entry.key_positions([b"SET", b"k", b"v", b"IFNE", b"w"]) == [(1, "RW access update")]
