"""Hash commands: replies in both protocols, errors, counters, scans, notifications."""

from __future__ import annotations

import pytest

from tests.commands.session import Session

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


@pytest.fixture(params=["packed", "rows"])
def session(request: pytest.FixtureRequest) -> Session:
    """Once with hashes that stay packed, once with hashes in rows."""
    made = Session()
    if request.param == "rows":
        made.instance.config.hash_max_listpack_entries = 0
    return made


def test_setting_and_reading(session: Session) -> None:
    session.check(r"""
        HSET h a 1 -> 1
        HSET h a 2 b 3 c "" -> 2
        HGET h a -> "2"
        HGET h c -> ""
        HGET h z -> nil
        HGET none z -> nil
        HMGET h a z c -> ["2", nil, ""]
        HMGET none a z -> [nil, nil]
        HLEN h -> 3
        HLEN none -> 0
        HEXISTS h a -> 1
        HEXISTS h z -> 0
        HEXISTS none z -> 0
        HSTRLEN h b -> 1
        HSTRLEN h z -> 0
        HMSET h "\xff" "\x00" -> OK
        HGET h "\xff" -> "\x00"
        HSETNX h a 9 -> 0
        HSETNX h n 9 -> 1
        HSETNX fresh n 9 -> 1
        HDEL h a b "\xff" z -> 3
        HLEN h -> 2
        HDEL h c n n -> 2
        EXISTS h -> 0
        HDEL h c -> 0
    """)


def test_whole_hashes(session: Session) -> None:
    session.check("""
        HSET h a 1 -> 1
        HGETALL h -> ["a", "1"]
        HKEYS h -> ["a"]
        HVALS h -> ["1"]
        HGETALL none -> []
        HKEYS none -> []
        HVALS none -> []
    """)
    session.client.use_resp(3)
    session.check("""
        HGETALL h -> {"a": "1"}
        HGETALL none -> {}
        HRANDFIELD h 1 WITHVALUES -> [["a", "1"]]
        HRANDFIELD h -2 WITHVALUES -> [["a", "1"], ["a", "1"]]
    """)


@pytest.mark.parametrize("name", ["hset", "hmset"])
def test_pairs_must_be_whole(session: Session, name: str) -> None:
    session.check(f"""
        {name} h a -> ERR wrong number of arguments for '{name}' command
        {name} h a 1 b -> ERR wrong number of arguments for '{name}' command
        SET s v -> OK
        {name} s a 1 b -> ERR wrong number of arguments for '{name}' command
        {name} s a 1 -> {WRONG_TYPE}
        {name} s a 1 b 2 -> {WRONG_TYPE}
    """)


READS = ("HGET s f", "HMGET s f", "HGETALL s", "HKEYS s", "HVALS s", "HLEN s", "HEXISTS s f", "HSTRLEN s f",
         "HRANDFIELD s", "HRANDFIELD s 1", "HSCAN s 0", "HSCAN s 0 BAD", "HTTL s FIELDS 1 f",
         "HEXPIRETIME s BAD 1 f")  # fmt: skip
WRITES = ("HSETNX s f v", "HDEL s f", "HINCRBY s f 1", "HINCRBYFLOAT s f 1", "HEXPIRE s x FIELDS 1 f",
          "HPERSIST s BAD 1 f", "HGETDEL s FIELDS 1 f", "HGETEX s EX x FIELDS 1 f",
          "HSETEX s FIELDS 1 f v")  # fmt: skip


@pytest.mark.parametrize("line", READS + WRITES)
def test_other_types_are_refused(line: str) -> None:
    session = Session()
    session.run("SET s v")
    assert session.run(line) == WRONG_TYPE
    assert session.run("GET s") == '"v"'


def test_integers(session: Session) -> None:
    session.check("""
        HINCRBY h n 5 -> 5
        HINCRBY h n -7 -> -2
        HINCRBY h n x -> ERR value is not an integer or out of range
        HINCRBY h n 1.5 -> ERR value is not an integer or out of range
        HSET h t abc -> 1
        HINCRBY h t 1 -> ERR hash value is not an integer
        HSET h t " 1" -> 0
        HINCRBY h t 1 -> ERR hash value is not an integer
        HINCRBY h max 9223372036854775807 -> 9223372036854775807
        HINCRBY h max 1 -> ERR increment or decrement would overflow
        HINCRBY h min -9223372036854775808 -> -9223372036854775808
        HINCRBY h min -1 -> ERR increment or decrement would overflow
        HGET h max -> "9223372036854775807"
        HGET h t -> " 1"
        HLEN h -> 4
    """)


def test_floats(session: Session) -> None:
    session.check("""
        HINCRBYFLOAT h n 0.1 -> "0.1"
        HINCRBYFLOAT h n 0.2 -> "0.3"
        HINCRBYFLOAT h n 5.0e3 -> "5000.29999999999999982"
        HINCRBYFLOAT h n -5000.3 -> "0"
        HINCRBYFLOAT h n x -> ERR value is not a valid float
        HINCRBYFLOAT h n nan -> ERR value is not a valid float
        HINCRBYFLOAT h n inf -> ERR value is NaN or Infinity
        HSET h t abc i inf -> 2
        HINCRBYFLOAT h t 1 -> ERR hash value is not a float
        HINCRBYFLOAT h i 1 -> ERR increment would produce NaN or Infinity
        HGET h i -> "inf"
    """)


def test_random_fields(session: Session) -> None:
    session.check("""
        HSET h a 1 -> 1
        HRANDFIELD h -> "a"
        HRANDFIELD h 0 -> []
        HRANDFIELD h 3 -> ["a"]
        HRANDFIELD h -3 -> ["a", "a", "a"]
        HRANDFIELD h 1 WITHVALUES -> ["a", "1"]
        HRANDFIELD none -> nil
        HRANDFIELD none 2 -> []
        HRANDFIELD h x -> ERR value is not an integer or out of range
        HRANDFIELD none x -> ERR value is not an integer or out of range
        HRANDFIELD h 1 BOGUS -> ERR syntax error
        HRANDFIELD h 1 WITHVALUES x -> ERR syntax error
        HRANDFIELD h 4611686018427387904 WITHVALUES -> ERR value is out of range
        HRANDFIELD h -4611686018427387904 WITHVALUES -> ERR value is out of range
        HRANDFIELD h 4611686018427387903 WITHVALUES -> ["a", "1"]
        HRANDFIELD h -1000000000 -> ERR the reply would exceed proto-max-bulk-len
        HRANDFIELD none -1000000000 -> []
    """)
    assert session.run("HRANDFIELD h -9223372036854775808") == (
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
    )


def test_scanning(session: Session) -> None:
    session.run("HSET h a 1 b 2 c 3")
    assert sorted(session.run("HSCAN h 0 COUNT 100").replace("[", "").replace("]", "").split(", ")) == sorted(
        ['"0"', '"a"', '"1"', '"b"', '"2"', '"c"', '"3"']
    )
    session.check("""
        HSCAN h 0 MATCH b -> ["0", ["b", "2"]]
        HSCAN h 0 MATCH b NOVALUES -> ["0", ["b"]]
        HSCAN h 0 MATCH z* NOVALUES -> ["0", []]
        HSCAN h 0 COUNT 0 -> ERR syntax error
        HSCAN h 0 COUNT x -> ERR value is not an integer or out of range
        HSCAN h 0 TYPE hash -> ERR syntax error
        HSCAN h x -> ERR invalid cursor
        HSCAN none x -> ERR invalid cursor
        HSCAN none 0 BAD -> ["0", []]
        HSCAN h 18446744073709551616 -> ERR invalid cursor
    """)


def test_a_big_hash_is_scanned_in_pages() -> None:
    session = Session()
    session.run("HSET h " + " ".join(f"{number} v" for number in range(600)))
    found: list[str] = []
    cursor = "0"
    calls = 0
    while calls == 0 or cursor != "0":
        calls += 1
        page = session.run(f"HSCAN h {cursor} COUNT 50 NOVALUES")
        cursor, *fields = page.replace("[", "").replace("]", "").replace('"', "").split(", ")
        assert len(fields) == 50
        found += fields
    assert calls == 12
    assert sorted(map(int, found)) == list(range(600))


def test_notifications(session: Session) -> None:
    session.notify()
    expected = {
        "HSET h a 1": ["hset"],
        "HSET h a 1 b 2": ["hset"],
        "HMSET h a 1": ["hset"],
        "HSETNX h a 1": [],
        "HSETNX h c 1": ["hset"],
        "HINCRBY h a 0": ["hincrby"],
        "HINCRBYFLOAT h a 1": ["hincrbyfloat"],
        "HDEL h z": [],
        "HDEL h a": ["hdel"],
        "HDEL h b c": ["hdel", "del"],
    }
    for line, events in expected.items():
        session.events.clear()
        session.run(line)
        assert (line, session.events) == (line, [(event, "h") for event in events])


def test_a_value_that_outgrows_the_limit_takes_the_hash_along() -> None:
    session = Session()
    long = "x" * 65
    session.check(f"""
        HSET h a 1 -> 1
        OBJECT ENCODING h -> "listpack"
        HSETNX h a {long} -> 0
        OBJECT ENCODING h -> "listpack"
        HSET h b {long} -> 1
        OBJECT ENCODING h -> "hashtable"
        HDEL h b -> 1
        OBJECT ENCODING h -> "hashtable"
        COPY h copy -> 1
        HSET copy a 2 -> 0
        HGET h a -> "1"
        HGET copy a -> "2"
        OBJECT ENCODING copy -> "hashtable"
    """)
    session.run("HSET f n 1")
    session.run("HINCRBYFLOAT f n 1e70")
    assert session.run("OBJECT ENCODING f") == '"hashtable"'
