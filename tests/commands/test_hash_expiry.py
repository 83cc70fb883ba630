"""Times to live of fields: arguments, conditions, replies, what is gone when, notifications."""

from __future__ import annotations

import pytest

from diskkv.engine.expiry import sweep
from tests.commands.session import NOW_MS, Session

MISSING_FIELDS = "ERR Mandatory argument FIELDS is missing or not at the right position"
WRONG_COUNT = "ERR The `numfields` parameter must match the number of arguments"
LATEST_MS = (1 << 46) - 1
SIZES = {"packed": 512, "rows": 0}


@pytest.fixture(params=SIZES)
def session(request: pytest.FixtureRequest) -> Session:
    """Once with hashes that stay packed, once with hashes in rows."""
    made = Session()
    made.instance.config.hash_max_listpack_entries = SIZES[request.param]
    return made


def test_times(session: Session) -> None:
    session.check(f"""
        HSET h a 1 b 2 c 3 -> 3
        HEXPIRE h 10 FIELDS 3 a a zz -> [1, 1, -2]
        HTTL h FIELDS 3 a b zz -> [10, -1, -2]
        HPTTL h FIELDS 1 a -> [10000]
        HPEXPIRETIME h FIELDS 2 a b -> [{NOW_MS + 10_000}, -1]
        HEXPIRETIME h FIELDS 1 a -> [{NOW_MS // 1000 + 10}]
        HPEXPIRE h 1500 FIELDS 1 b -> [1]
        HTTL h FIELDS 1 b -> [2]
        HEXPIRETIME h FIELDS 1 b -> [{NOW_MS // 1000 + 2}]
        HEXPIREAT h 4102444800 FIELDS 1 c -> [1]
        HPEXPIRETIME h FIELDS 1 c -> [4102444800000]
        HPEXPIREAT h 4102444800001 FIELDS 1 c -> [1]
        HEXPIRETIME h FIELDS 1 c -> [4102444801]
        HPERSIST h FIELDS 3 a c zz -> [1, 1, -2]
        HPERSIST h FIELDS 1 a -> [-1]
        HTTL h FIELDS 3 a b c -> [-1, 2, -1]
        HEXPIRE none 10 FIELDS 2 a b -> [-2, -2]
        HTTL none FIELDS 2 a b -> [-2, -2]
        HPERSIST none FIELDS 2 a b -> [-2, -2]
    """)


def test_conditions(session: Session) -> None:
    session.check("""
        HSET h a 1 b 2 -> 2
        HEXPIRE h 10 XX FIELDS 2 a zz -> [0, -2]
        HEXPIRE h 10 GT FIELDS 1 a -> [0]
        HEXPIRE h 100 LT FIELDS 1 a -> [1]
        HEXPIRE h 100 LT FIELDS 1 a -> [0]
        HEXPIRE h 100 GT FIELDS 1 a -> [0]
        HEXPIRE h 101 gt FIELDS 1 a -> [1]
        HEXPIRE h 99 nx FIELDS 2 a b -> [0, 1]
        HEXPIRE h 50 XX FIELDS 2 a b -> [1, 1]
        HEXPIRE h 0 NX FIELDS 1 a -> [0]
        HEXPIRE h 0 GT FIELDS 1 a -> [0]
        HEXPIRE h 0 LT FIELDS 1 a -> [2]
        HGETALL h -> ["b", "2"]
    """)


def test_times_past_delete(session: Session) -> None:
    session.check("""
        HSET h a 1 b 2 c 3 -> 3
        HEXPIRE h 0 FIELDS 1 a -> [2]
        HEXPIREAT h 1 FIELDS 2 b b -> [2, -2]
        HLEN h -> 1
        HPEXPIREAT h 1 FIELDS 1 c -> [2]
        EXISTS h -> 0
    """)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("x FIELDS 1 a", "ERR value is not an integer or out of range"),
        ("x FOO 0 a", "ERR value is not an integer or out of range"),
        ("-1 FOO 1 a", "ERR invalid expire time, must be >= 0"),
        ("9223372036854775807 FOO 1 a", "ERR invalid expire time in 'hexpire' command"),
        ("10 FOO 1 a", MISSING_FIELDS),
        ("10 NX XX FIELDS 1 a", MISSING_FIELDS),
        ("10 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0"),
        ("10 FIELDS x a", "ERR Parameter `numFields` should be greater than 0"),
        ("10 FIELDS 01 a", "ERR Parameter `numFields` should be greater than 0"),
        ("10 FIELDS 2 a", WRONG_COUNT),
        ("10 FIELDS 1 a b", WRONG_COUNT),
        ("10 NX FIELDS 1", WRONG_COUNT),
        ("10 FIELDS 1", "ERR wrong number of arguments for 'hexpire' command"),
    ],
)
@pytest.mark.parametrize("key", ["h", "none"])
def test_errors_of_hexpire(key: str, arguments: str, error: str) -> None:
    session = Session()
    session.run("HSET h a 1")
    assert session.run(f"HEXPIRE {key} {arguments}") == error
    assert session.run("OBJECT ENCODING h") == '"listpack"'


@pytest.mark.parametrize("name", ["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST", "HGETDEL", "HGETEX"])
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("FOO 1 a", MISSING_FIELDS),
        ("FIELDS 0 a", "ERR Number of fields must be a positive integer"),
        ("FIELDS x a", "ERR Number of fields must be a positive integer"),
        ("FIELDS 9223372036854775808 a", "ERR Number of fields must be a positive integer"),
        ("FIELDS 2 a", WRONG_COUNT),
        ("FIELDS 1 a b", WRONG_COUNT),
    ],
)
def test_errors_of_field_lists(name: str, arguments: str, error: str) -> None:
    session = Session()
    session.run("HSET h a 1")
    assert session.run(f"{name} h {arguments}") == error
    assert session.run(f"{name} none {arguments}") == error


def test_the_latest_time() -> None:
    session = Session()
    session.check(f"""
        HSET h a 1 -> 1
        HPEXPIREAT h {LATEST_MS} FIELDS 1 a -> [1]
        HPEXPIREAT h {LATEST_MS + 1} FIELDS 1 a -> ERR invalid expire time in 'hpexpireat' command
        HPEXPIRE h {LATEST_MS} FIELDS 1 a -> ERR invalid expire time in 'hpexpire' command
        HGETEX h PXAT {LATEST_MS + 1} FIELDS 1 a -> ERR invalid expire time in 'hgetex' command
        HSETEX h PXAT {LATEST_MS + 1} FIELDS 1 a 2 -> ERR invalid expire time in 'hsetex' command
        HGET h a -> "1"
        HPEXPIRETIME h FIELDS 1 a -> [{LATEST_MS}]
    """)


def test_what_writes_do_to_the_time(session: Session) -> None:
    session.check("""
        HSET h a 1 -> 1
        HEXPIRE h 100 FIELDS 1 a -> [1]
        HINCRBY h a 1 -> 2
        HINCRBYFLOAT h a 1.5 -> "3.5"
        HSETNX h a 9 -> 0
        HTTL h FIELDS 1 a -> [100]
        HSET h a 1 -> 0
        HTTL h FIELDS 1 a -> [-1]
        HEXPIRE h 100 FIELDS 1 a -> [1]
        HMSET h a 1 -> OK
        HTTL h FIELDS 1 a -> [-1]
        HEXPIRE h 100 FIELDS 1 a -> [1]
        HDEL h a -> 1
        HSET h a 1 -> 1
        HTTL h FIELDS 1 a -> [-1]
    """)


def test_hgetdel(session: Session) -> None:
    session.check("""
        HSET h a 1 b 2 c 3 -> 3
        HGETDEL h FIELDS 2 a zz -> ["1", nil]
        HGETDEL h FIELDS 2 b b -> ["2", nil]
        HGETDEL none FIELDS 1 a -> [nil]
        HGETDEL h FIELDS 1 c -> ["3"]
        EXISTS h -> 0
        HGETDEL h FIELDS -> ERR wrong number of arguments for 'hgetdel' command
    """)


def test_hgetex(session: Session) -> None:
    session.check(f"""
        HSET h a 1 b 2 c 3 -> 3
        HGETEX h FIELDS 2 a zz -> ["1", nil]
        HTTL h FIELDS 1 a -> [-1]
        HGETEX h EX 10 FIELDS 2 a zz -> ["1", nil]
        HTTL h FIELDS 2 a zz -> [10, -2]
        HGETEX h FIELDS 1 a -> ["1"]
        HTTL h FIELDS 1 a -> [10]
        HGETEX h PERSIST FIELDS 1 a -> ["1"]
        HTTL h FIELDS 1 a -> [-1]
        HGETEX h PXAT 4102444800001 FIELDS 1 a -> ["1"]
        HPEXPIRETIME h FIELDS 1 a -> [4102444800001]
        HGETEX h EXAT 1 FIELDS 2 a b -> ["1", "2"]
        HGETEX h EX 0 FIELDS 1 c -> ["3"]
        EXISTS h -> 0
        HGETEX none EX 10 FIELDS 1 a -> [nil]
        HSET h a 1 -> 1
        HGETEX h EX 10 PX 10 FIELDS 1 a -> {MISSING_FIELDS}
        HGETEX h KEEPTTL FIELDS 1 a -> {MISSING_FIELDS}
        HGETEX h EX -1 FIELDS 1 a -> ERR invalid expire time, must be >= 0
        HGETEX h EX FIELDS 1 a -> ERR value is not an integer or out of range
        HGETEX h EX 10 FIELDS -> ERR wrong number of arguments for 'hgetex' command
        HGETEX h PERSIST FIELDS 1 -> {WRONG_COUNT}
    """)


def test_hsetex(session: Session) -> None:
    session.check("""
        HSETEX h FXX FIELDS 1 a 1 -> 0
        EXISTS h -> 0
        HSETEX h FNX EX 10 FIELDS 2 a 1 b 2 -> 1
        HSETEX h FNX FIELDS 2 c 1 b 2 -> 0
        HSETEX h FXX FIELDS 2 c 1 b 2 -> 0
        HSETEX h KEEPTTL FXX FIELDS 2 a 3 b 4 -> 1
        HTTL h FIELDS 3 a b c -> [10, 10, -2]
        HSETEX h FIELDS 1 a 5 -> 1
        HTTL h FIELDS 1 a -> [-1]
        HMGET h a b -> ["5", "4"]
        HSETEX h EXAT 1 FIELDS 1 a 5 -> 1
        HSETEX h PX 0 FIELDS 2 b 5 c 6 -> 1
        EXISTS h -> 0
        HSETEX h EX 10 FIELDS 2 z 3 z 4 -> 1
        HGETALL h -> ["z", "4"]
    """)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("FNX FXX FIELDS 1 a 2", "ERR Only one of FXX or FNX arguments can be specified"),
        ("FXX FXX FIELDS 1 a 2", "ERR Only one of FXX or FNX arguments can be specified"),
        ("EX 10 KEEPTTL FIELDS 1 a 2", "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"),
        ("KEEPTTL PX 1 FIELDS 1 a 2", "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"),
        ("EX x FNX FXX", "ERR value is not an integer or out of range"),
        ("EX -1 FIELDS 0 a b", "ERR invalid expire time, must be >= 0"),
        ("PERSIST FIELDS 1 a 2", "ERR unknown argument: PERSIST"),
        ("1 2 3 4", "ERR unknown argument: 1"),
        ("FIELDS 0 a 2", "ERR invalid number of fields"),
        ("FIELDS 2147483648 a 2", "ERR invalid number of fields"),
        ("FIELDS 2 a 2", "ERR wrong number of arguments for 'hsetex' command"),
        ("FIELDS 1 a 2 b", "ERR wrong number of arguments for 'hsetex' command"),
        ("FIELDS 1 a 2 EX 10", "ERR wrong number of arguments for 'hsetex' command"),
        ("EX 10 FXX FIELDS", "ERR wrong number of arguments for 'hsetex' command"),
    ],
)
def test_errors_of_hsetex(arguments: str, error: str) -> None:
    session = Session()
    session.run("SET h string")
    assert session.run(f"HSETEX h {arguments}") == error


def test_encodings() -> None:
    session = Session()
    session.check("""
        HSET h a 1 -> 1
        HPERSIST h FIELDS 1 a -> [-1]
        HGETEX h FIELDS 1 a -> ["1"]
        HSETEX h KEEPTTL FIELDS 1 a 1 -> 1
        HSETEX h FNX EX 10 FIELDS 1 a 1 -> 0
        OBJECT ENCODING h -> "listpack"
        HEXPIRE h 10 FIELDS 1 zz -> [-2]
        OBJECT ENCODING h -> "listpackex"
        HSET h2 a 1 -> 1
        HGETEX h2 PERSIST FIELDS 1 zz -> [nil]
        OBJECT ENCODING h2 -> "listpackex"
        HSETEX h3 EX 10 FIELDS 1 a 1 -> 1
        HPERSIST h3 FIELDS 1 a -> [1]
        COPY h3 h4 -> 1
        OBJECT ENCODING h4 -> "listpackex"
    """)


GONE = """
    HGET h a -> nil
    HMGET h a b -> [nil, "2"]
    HEXISTS h a -> 0
    HSTRLEN h a -> 0
    HLEN h -> 1
    HGETALL h -> ["b", "2"]
    HKEYS h -> ["b"]
    HVALS h -> ["2"]
    HSCAN h 0 -> ["0", ["b", "2"]]
    HRANDFIELD h -> "b"
    HRANDFIELD h 5 -> ["b"]
    HTTL h FIELDS 2 a b -> [-2, -1]
    HPERSIST h FIELDS 1 a -> [-2]
    HEXPIRE h 10 FIELDS 1 a -> [-2]
    HGETEX h FIELDS 1 a -> [nil]
    HGETEX h EX 10 FIELDS 1 a -> [nil]
    HGETDEL h FIELDS 1 a -> [nil]
    HDEL h a -> 0
    HSETEX h FXX FIELDS 1 a 1 -> 0
    HINCRBY h a 1 -> 1
    HINCRBYFLOAT h a 1 -> "1"
    HSETNX h a 1 -> 1
    HSET h a 1 -> 1
    HSETEX h FNX FIELDS 1 a 1 -> 1
    COPY h h2 -> 1
"""


@pytest.mark.parametrize("line", [line.strip() for line in GONE.strip().splitlines()])
def test_no_command_sees_an_expired_field(session: Session, line: str) -> None:
    session.run("HSET h a 1 b 2")
    session.run("HPEXPIRE h 10 FIELDS 1 a")
    session.now_ms += 10
    session.check(line)


ENDED = """
    EXISTS h -> 0
    TYPE h -> none
    HLEN h -> 0
    DBSIZE -> 0
    SCAN 0 -> ["0", []]
    HSET h a 1 -> 1
    OBJECT ENCODING h -> nil
    RENAME h k -> ERR no such key
    HRANDFIELD h -> nil
    DUMP h -> nil
    DEL h -> 0
"""


@pytest.mark.parametrize("line", [line.strip() for line in ENDED.strip().splitlines()])
def test_the_key_is_gone_with_its_last_field(session: Session, line: str) -> None:
    session.run("HSET h a 1 b 2")
    session.run("HPEXPIRE h 10 FIELDS 1 a")
    session.run("HPEXPIRE h 20 FIELDS 1 b")
    session.now_ms += 20
    if line.startswith("DBSIZE"):
        session.engine.begin(session.now_ms)
        sweep(session.engine, 100)
        session.engine.commit()
    session.check(line)


def test_payloads_keep_the_times(session: Session) -> None:
    session.run("HSET h a 1 b 2 c 3")
    session.run("HPEXPIRE h 1000 FIELDS 1 a")
    session.run("HPEXPIRE h 10 FIELDS 1 b")
    payload = session.call(b"DUMP", b"h").partition(b"\r\n")[2][:-2]
    session.now_ms += 10
    assert session.call(b"RESTORE", b"copy", b"0", payload) == b"+OK\r\n"
    session.check("""
        HMGET copy a b c -> ["1", nil, "3"]
        HPTTL copy FIELDS 2 a c -> [990, -1]
    """)


def test_notifications(session: Session) -> None:
    session.notify()
    expected = {
        "HSET h a 1 b 2 c 3": ["hset"],
        "HEXPIRE h 100 FIELDS 3 a b zz": ["hexpire"],
        "HEXPIRE h 100 FIELDS 1 zz": [],
        "HEXPIRE h 100 NX FIELDS 1 a": [],
        "HPERSIST h FIELDS 2 a zz": ["hpersist"],
        "HPERSIST h FIELDS 1 a": [],
        "HEXPIRE h 0 FIELDS 1 a": ["hdel"],
        "HGETEX h FIELDS 1 b": [],
        "HGETEX h EX 100 FIELDS 1 zz": [],
        "HGETEX h EX 100 FIELDS 1 b": ["hexpire"],
        "HGETEX h PERSIST FIELDS 2 b c": ["hpersist"],
        "HGETEX h PERSIST FIELDS 1 c": [],
        "HGETEX h EXAT 1 FIELDS 1 b": ["hdel"],
        "HSETEX h FIELDS 1 a 1": ["hset"],
        "HSETEX h KEEPTTL FIELDS 1 a 1": ["hset"],
        "HSETEX h FNX FIELDS 1 a 1": [],
        "HSETEX h EX 100 FIELDS 2 a 1 b 2": ["hset", "hexpire"],
        "HSETEX h EXAT 1 FIELDS 1 a 1": ["hset", "hdel"],
        "HGETDEL h FIELDS 1 zz": [],
        "HGETDEL h FIELDS 1 b": ["hdel"],
        "HGETDEL h FIELDS 1 c": ["hdel", "del"],
        "HSETEX h EXAT 1 FIELDS 1 b 1": ["hset", "hdel", "del"],
    }
    for line, events in expected.items():
        session.events.clear()
        session.run(line)
        assert (line, session.events) == (line, [(event, "h") for event in events])


def test_notifications_of_the_sweeper(session: Session) -> None:
    session.notify()
    session.run("HSET h a 1 b 2")
    session.run("HPEXPIRE h 10 FIELDS 1 a")
    session.run("HPEXPIRE h 20 FIELDS 1 b")
    for delay_ms, events in ((9, []), (1, ["hexpired"]), (9, []), (1, ["hexpired", "del"])):
        session.events.clear()
        session.now_ms += delay_ms
        session.engine.begin(session.now_ms)
        sweep(session.engine, 100)
        session.engine.commit()
        assert session.events == [(event, "h") for event in events]
    assert session.engine.expired_fields == 2
    assert session.database.keys == 0


@pytest.mark.parametrize("line", ["RENAME h other", "COPY h other", "MOVE h 1"])
def test_fields_are_swept_wherever_the_hash_goes(session: Session, line: str) -> None:
    session.run("HSET h a 1 b 2")
    session.run("HPEXPIRE h 10 FIELDS 1 a")
    session.run(line)
    session.run("DEL h")
    session.now_ms += 10
    session.engine.begin(session.now_ms)
    sweep(session.engine, 100)
    session.engine.commit()
    assert session.engine.expired_fields == 1
    if line.startswith("MOVE"):
        session.client.db = session.engine.database(1)
    session.check(f"HLEN {line.split()[2] if 'other' in line else 'h'} -> 1")
