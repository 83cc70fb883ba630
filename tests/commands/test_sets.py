"""Set commands: replies in both protocols, errors, draws, algebra, encodings, notifications."""

from __future__ import annotations

import pytest

from tests.commands.session import Session

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.fixture(params=["packed", "rows"])
def session(request: pytest.FixtureRequest) -> Session:
    """Once with sets that stay packed, once with sets in rows."""
    made = Session()
    if request.param == "rows":
        made.instance.config.set_max_intset_entries = 0
        made.instance.config.set_max_listpack_entries = 0
    return made


def test_adding_asking_removing(session: Session) -> None:
    session.check(r"""
        SADD t a -> 1
        SADD t a "" "\xff" a -> 2
        SADD t a -> 0
        SCARD t -> 3
        SCARD none -> 0
        SISMEMBER t "\xff" -> 1
        SISMEMBER t b -> 0
        SISMEMBER none b -> 0
        SMISMEMBER t a b "" -> [1, 0, 1]
        SMISMEMBER none a b -> [0, 0]
        SREM t b -> 0
        SREM none b -> 0
        SREM t a "\xff" b -> 2
        SMEMBERS t -> [""]
        SREM t "" -> 1
        EXISTS t -> 0
        SMEMBERS t -> []
    """)


LINES = ("SADD s a", "SADD s a b", "SREM s a", "SCARD s", "SISMEMBER s a", "SMISMEMBER s a", "SMEMBERS s", "SPOP s",
         "SPOP s 1", "SRANDMEMBER s", "SRANDMEMBER s 1", "SSCAN s 0", "SSCAN s 0 BAD", "SMOVE s t a", "SMOVE t s a",
         "SMOVE t s none", "SINTER s", "SINTER none s", "SUNION none s", "SDIFF none s", "SDIFF s none",
         "SINTERSTORE t none s", "SUNIONSTORE t s", "SDIFFSTORE t t s", "SINTERCARD 2 none s")  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_other_types_are_refused(line: str) -> None:
    session = Session()
    session.run("SET s v")
    session.run("SADD t a")
    assert session.run(line) == WRONG_TYPE
    session.check("""
        GET s -> "v"
        SMEMBERS t -> ["a"]
    """)


def test_popping(session: Session) -> None:
    session.check("""
        SADD t a -> 1
        SPOP t 0 -> []
        SPOP t -> "a"
        EXISTS t -> 0
        SPOP t -> nil
        SPOP t 5 -> []
        SADD t a -> 1
        SPOP t 5 -> ["a"]
        EXISTS t -> 0
        SPOP t x -> ERR value is out of range, must be positive
        SPOP t -1 -> ERR value is out of range, must be positive
        SPOP t 1 2 -> ERR syntax error
    """)
    session.run("SADD t " + " ".join(map(str, range(100))))
    assert len(set(session.run("SPOP t 40").strip("[]").split(", "))) == 40
    session.check("SCARD t -> 60")


def test_drawing(session: Session) -> None:
    session.check("""
        SADD t a -> 1
        SRANDMEMBER t -> "a"
        SRANDMEMBER t 0 -> []
        SRANDMEMBER t 9223372036854775807 -> ["a"]
        SRANDMEMBER t -3 -> ["a", "a", "a"]
        SRANDMEMBER none -> nil
        SRANDMEMBER none 1 -> []
        SRANDMEMBER none -9223372036854775807 -> []
        SRANDMEMBER t -9223372036854775807 -> ERR the reply would exceed proto-max-bulk-len
        SRANDMEMBER t x -> ERR value is not an integer or out of range
        SRANDMEMBER t 1 2 -> ERR syntax error
        SCARD t -> 1
    """)
    assert session.run("SRANDMEMBER t -9223372036854775808") == (
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
    )


def test_moving(session: Session) -> None:
    session.check("""
        SADD t a b -> 2
        SMOVE t t a -> 1
        SMOVE t t z -> 0
        SMOVE t u z -> 0
        EXISTS u -> 0
        SMOVE none u a -> 0
        SMOVE t u a -> 1
        SMEMBERS u -> ["a"]
        SADD u b -> 1
        SMOVE t u b -> 1
        EXISTS t -> 0
        SCARD u -> 2
        SET s v -> OK
        SMOVE none s a -> 0
    """)


def test_scanning(session: Session) -> None:
    session.run("SADD t a b c")
    session.check("""
        SSCAN t 0 MATCH b -> ["0", ["b"]]
        SSCAN t 0 MATCH z* COUNT 100 -> ["0", []]
        SSCAN none 0 BAD -> ["0", []]
        SSCAN none x -> ERR invalid cursor
        SSCAN t 0 COUNT 0 -> ERR syntax error
        SSCAN t 0 NOVALUES -> ERR NOVALUES option can only be used in HSCAN
    """)
    session.run("SADD big " + " ".join(map(str, range(600))))
    found: list[str] = []
    cursor = "0"
    while not found or cursor != "0":
        page = session.run(f"SSCAN big {cursor} COUNT 50")
        cursor, *members = page.replace("[", "").replace("]", "").replace('"', "").split(", ")
        found += members
    assert sorted(map(int, found)) == list(range(600))


def test_algebra(session: Session) -> None:
    session.check("""
        SADD a 1 2 3 -> 3
        SADD b 3 4 -> 2
        SINTER a b -> ["3"]
        SINTER a none -> []
        SINTER a b a -> ["3"]
        SDIFF b a -> ["4"]
        SDIFF none a -> []
        SDIFF a a -> []
        SUNION none none -> []
        SINTERCARD 2 a b -> 1
        SINTERCARD 1 a -> 3
        SINTERCARD 1 a LIMIT 2 -> 2
        SINTERCARD 1 a LIMIT 0 -> 3
        SINTERCARD 1 a LIMIT 1 LIMIT 2 -> 2
        SINTERCARD 2 a none -> 0
        SINTERSTORE d a b -> 1
        SMEMBERS d -> ["3"]
        SUNIONSTORE d a b -> 4
        SCARD d -> 4
        SDIFFSTORE d a b -> 2
        SDIFFSTORE a a b -> 2
        SINTERCARD 2 a d -> 2
        SET d string -> OK
        SUNIONSTORE d none -> 0
        EXISTS d -> 0
        PEXPIRE a 1000 -> 1
        SUNIONSTORE a a -> 2
        PTTL a -> -1
    """)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("x t", "ERR numkeys should be greater than 0"),
        ("0 t", "ERR numkeys should be greater than 0"),
        ("-1 t", "ERR numkeys should be greater than 0"),
        ("2 t", "ERR Number of keys can't be greater than number of args"),
        ("1 t LIMIT", "ERR syntax error"),
        ("1 t FOO 1", "ERR syntax error"),
        ("1 t LIMIT x", "ERR LIMIT can't be negative"),
        ("1 t LIMIT -1", "ERR LIMIT can't be negative"),
    ],
)
def test_errors_of_sintercard(arguments: str, error: str) -> None:
    session = Session()
    session.run("SET t string")
    assert session.run(f"SINTERCARD {arguments}") == error


def test_sets_are_sets_in_resp3() -> None:
    session = Session(3)
    session.run("SADD t a")
    member = b"$1\r\na\r\n"
    expected = {
        "SMEMBERS t": b"~1\r\n" + member,
        "SINTER t": b"~1\r\n" + member,
        "SUNION t": b"~1\r\n" + member,
        "SDIFF t": b"~1\r\n" + member,
        "SMEMBERS none": b"~0\r\n",
        "SRANDMEMBER t 1": b"*1\r\n" + member,
        "SRANDMEMBER none": b"_\r\n",
        "SPOP none 1": b"~0\r\n",
        "SPOP t 1": b"~1\r\n" + member,
        "SPOP t": b"_\r\n",
    }
    for line, reply in expected.items():
        assert (line, session.call(*line.encode().split())) == (line, reply)


def test_encodings() -> None:
    session = Session()
    config = session.instance.config
    config.set_max_intset_entries = 4
    config.set_max_listpack_entries = 3
    session.check(f"""
        SADD i 1 2 3 4 -> 4
        OBJECT ENCODING i -> "intset"
        SADD i 5 -> 1
        OBJECT ENCODING i -> "hashtable"
        SADD lp 1 2 -> 2
        SADD lp a -> 1
        OBJECT ENCODING lp -> "listpack"
        SREM lp a -> 1
        OBJECT ENCODING lp -> "listpack"
        COPY lp lp2 -> 1
        OBJECT ENCODING lp2 -> "listpack"
        SUNIONSTORE u lp -> 2
        OBJECT ENCODING u -> "intset"
        SADD lp 3 4 -> 2
        OBJECT ENCODING lp -> "hashtable"
        SADD same a a a a -> 1
        OBJECT ENCODING same -> "hashtable"
        SADD full 1 2 3 4 -> 4
        SADD full a -> 1
        OBJECT ENCODING full -> "hashtable"
        SADD long {"x" * 65} -> 1
        OBJECT ENCODING long -> "hashtable"
        SADD first a -> 1
        SMOVE i first 5 -> 1
        OBJECT ENCODING first -> "listpack"
        SMOVE i fresh 4 -> 1
        OBJECT ENCODING fresh -> "intset"
        OBJECT ENCODING i -> "hashtable"
    """)


def test_notifications(session: Session) -> None:
    session.notify()
    expected = {
        "SADD t a b": [("sadd", "t")],
        "SADD t a": [],
        "SREM t z": [],
        "SREM t b": [("srem", "t")],
        "SREM t a": [("srem", "t"), ("del", "t")],
        "SADD t a b c d e": [("sadd", "t")],
        "SPOP t": [("spop", "t")],
        "SPOP t 1": [("spop", "t")],
        "SPOP t 0": [],
        "SPOP t 10": [("spop", "t"), ("del", "t")],
        "SADD t b a": [("sadd", "t")],
        "SMOVE t t a": [],
        "SMOVE t u z": [],
        "SMOVE t u a": [("srem", "t"), ("sadd", "u")],
        "SADD u b": [("sadd", "u")],
        "SMOVE t u b": [("srem", "t"), ("del", "t")],
        "SINTERSTORE d u u": [("sinterstore", "d")],
        "SUNIONSTORE d u": [("sunionstore", "d")],
        "SDIFFSTORE d u none": [("sdiffstore", "d")],
        "SINTERSTORE d u none": [("del", "d")],
        "SINTERSTORE d none u": [],
    }
    for line, events in expected.items():
        session.events.clear()
        session.run(line)
        assert (line, session.events) == (line, events)
