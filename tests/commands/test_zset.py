"""The sorted-set commands on a client without a socket; the replies are a real server's."""

from __future__ import annotations

import pytest

from diskkv.codec.header import Header
from diskkv.commands import dispatch
from tests.commands.session import Session, show


@pytest.fixture(params=[(128, 64), (0, 0)], ids=["packed", "rows"])
def session(request: pytest.FixtureRequest) -> Session:
    """A client of a server with the usual limits, and of one that never packs."""
    made = Session()
    config = made.instance.config
    config.zset_max_listpack_entries, config.zset_max_listpack_value = request.param
    return made


def test_members(session: Session) -> None:
    session.check(r"""
        ZADD z 1 a 2 b 3 c -> 3
        ZADD z 1 a -> 0
        ZADD z 5 a 4 d -> 1
        ZADD z CH 6 a 4 d 7 e -> 2
        ZADD z NX 9 a 9 f -> 1
        ZADD z XX CH 8 f 1 nobody -> 1
        ZADD z GT CH 7 f 7 a -> 1
        ZADD z LT CH 7 f 9 a -> 1
        ZADD z GT 1 new -> 1
        ZADD z INCR 2 a -> "9"
        ZADD z XX INCR 2 nobody -> nil
        ZADD z NX INCR 2 a -> nil
        ZADD z GT INCR -1 a -> nil
        ZINCRBY z 0.5 a -> "9.5"
        ZINCRBY z -inf low -> "-inf"
        ZINCRBY z inf low -> ERR resulting score is not a number (NaN)
        ZADD z -> ERR wrong number of arguments for 'zadd' command
        ZADD z nx -> ERR wrong number of arguments for 'zadd' command
        ZADD z NX XX 1 a -> ERR XX and NX options at the same time are not compatible
        ZADD z GT NX 1 a -> ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z LT GT 1 a -> ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z INCR 1 a 2 b -> ERR INCR option supports a single increment-element pair
        ZADD z 1 a x b -> ERR value is not a valid float
        ZADD z 1 a 2 -> ERR syntax error
        ZADD nothing XX 1 a -> 0
        EXISTS nothing -> 0
        ZSCORE z a -> "9.5"
        ZSCORE z nobody -> nil
        ZMSCORE z a nobody b -> ["9.5", nil, "2"]
        ZMSCORE nothing a b -> [nil, nil]
        ZCARD z -> 8
        ZCARD nothing -> 0
        ZREM z nobody low -> 1
        ZREM z a b c -> 3
        ZRANGE z 0 -1 WITHSCORES -> ["new", "1", "d", "4", "e", "7", "f", "7"]
        ZREM z d e f new -> 4
        EXISTS z -> 0
    """)


def test_ranges(session: Session) -> None:
    session.check(r"""
        ZADD z 1 a 2 b 3 c 4 d 4 e -> 5
        ZRANGE z 0 -1 -> ["a", "b", "c", "d", "e"]
        ZRANGE z 1 -2 WITHSCORES -> ["b", "2", "c", "3", "d", "4"]
        ZRANGE z 0 1 REV -> ["e", "d"]
        ZRANGE z -100 100 -> ["a", "b", "c", "d", "e"]
        ZRANGE z 3 1 -> []
        ZRANGE z 5 9 -> []
        ZRANGE z (1 3 BYSCORE -> ["b", "c"]
        ZRANGE z +inf (2 BYSCORE REV WITHSCORES -> ["e", "4", "d", "4", "c", "3"]
        ZRANGE z -inf +inf BYSCORE LIMIT 1 2 -> ["b", "c"]
        ZRANGE z -inf +inf BYSCORE LIMIT 1 -1 -> ["b", "c", "d", "e"]
        ZRANGE z -inf +inf BYSCORE LIMIT -1 2 -> []
        ZRANGE z -inf +inf BYSCORE LIMIT 0 0 -> []
        ZRANGE z 0 -1 LIMIT 0 -1 -> ["a", "b", "c", "d", "e"]
        ZRANGE z 0 -1 LIMIT 0 1 -> ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
        ZRANGE z - + BYLEX WITHSCORES -> ERR syntax error, WITHSCORES not supported in combination with BYLEX
        ZRANGE z 0 -1 BYLEX -> ERR min or max not valid string range item
        ZRANGE z - + BYLEX BYSCORE -> ERR syntax error
        ZRANGE z 0 -1 BYSCORE LIMIT 1 -> ERR syntax error
        ZRANGE z a b -> ERR value is not an integer or out of range
        ZRANGE z a b BYSCORE -> ERR min or max is not a float
        ZREVRANGE z 0 1 WITHSCORES -> ["e", "4", "d", "4"]
        ZREVRANGE z 0 1 REV -> ERR syntax error
        ZREVRANGE z 0 1 BYSCORE -> ERR syntax error
        ZRANGEBYSCORE z "" 2 -> ["a", "b"]
        ZRANGEBYSCORE z ( 2 -> ["a", "b"]
        ZRANGEBYSCORE z "2\\x00x" 3 -> ["b", "c"]
        ZRANGEBYSCORE z 0x1 3 -> ERR min or max is not a float
        ZRANGEBYSCORE z " 1" 3 -> ERR min or max is not a float
        ZRANGEBYSCORE z 1e400 +inf -> []
        ZRANGEBYSCORE z 1e-400 1 -> ["a"]
        ZRANGEBYSCORE z nan 1 -> ERR min or max is not a float
        ZREVRANGEBYSCORE z 3 (1 LIMIT 0 1 -> ["c"]
        ZADD l 0 a 0 b 0 bb 0 c -> 4
        ZRANGEBYLEX l - + -> ["a", "b", "bb", "c"]
        ZRANGEBYLEX l [b (c -> ["b", "bb"]
        ZRANGEBYLEX l (b + LIMIT 1 5 -> ["c"]
        ZRANGEBYLEX l + - -> []
        ZREVRANGEBYLEX l + (a -> ["c", "bb", "b"]
        ZREVRANGEBYLEX l [bb [b -> ["bb", "b"]
        ZRANGEBYLEX l b c -> ERR min or max not valid string range item
        ZRANGEBYLEX l - + WITHSCORES -> ERR syntax error, WITHSCORES not supported in combination with BYLEX
        ZLEXCOUNT l [b + -> 3
        ZLEXCOUNT l x y -> ERR min or max not valid string range item
        ZLEXCOUNT none x y -> ERR min or max not valid string range item
        ZCOUNT z (1 4 -> 4
        ZCOUNT z a b -> ERR min or max is not a float
        ZCOUNT none 0 1 -> 0
        ZRANK z c -> 2
        ZREVRANK z c WITHSCORE -> [2, "3"]
        ZRANK z nobody -> nil
        ZRANK z nobody WITHSCORE -> nil
        ZRANK z c WITHSCOREX -> ERR syntax error
        ZRANK z c WITHSCORE x -> ERR wrong number of arguments for 'zrank' command
        ZRANGESTORE d z 1 2 -> 2
        ZRANGE d 0 -1 WITHSCORES -> ["b", "2", "c", "3"]
        ZRANGESTORE d z +inf -inf BYSCORE REV LIMIT 0 2 -> 2
        ZRANGE d 0 -1 WITHSCORES -> ["d", "4", "e", "4"]
        ZRANGESTORE d z 0 -1 WITHSCORES -> ERR syntax error
        ZRANGESTORE d none 0 -1 -> 0
        EXISTS d -> 0
        ZREMRANGEBYRANK z 0 0 -> 1
        ZREMRANGEBYSCORE z (2 3 -> 1
        ZREMRANGEBYLEX l [b [bb -> 2
        ZREMRANGEBYRANK z a b -> ERR value is not an integer or out of range
        ZREMRANGEBYSCORE z a b -> ERR min or max is not a float
        ZREMRANGEBYLEX z a b -> ERR min or max not valid string range item
        ZREMRANGEBYRANK none 0 -1 -> 0
        ZRANGE z 0 -1 -> ["b", "d", "e"]
        ZREMRANGEBYRANK z 0 -1 -> 3
        EXISTS z -> 0
        SET s v -> OK
        ZRANGE s 0 -1 -> WRONGTYPE Operation against a key holding the wrong kind of value
        ZRANGESTORE d s 0 -1 -> WRONGTYPE Operation against a key holding the wrong kind of value
        ZCOUNT s 0 1 -> WRONGTYPE Operation against a key holding the wrong kind of value
        ZREMRANGEBYRANK s 0 -1 -> WRONGTYPE Operation against a key holding the wrong kind of value
        ZRANK s a -> WRONGTYPE Operation against a key holding the wrong kind of value
    """)


def test_pops(session: Session) -> None:
    session.check(r"""
        ZADD z 1 a 2 b 3 c 4 d 5 e 6 f -> 6
        ZPOPMIN z -> ["a", "1"]
        ZPOPMAX z -> ["f", "6"]
        ZPOPMIN z 2 -> ["b", "2", "c", "3"]
        ZPOPMIN z 0 -> []
        ZPOPMIN z -1 -> ERR value is out of range, must be positive
        ZPOPMIN z x -> ERR value is out of range, must be positive
        ZPOPMIN z 1 2 -> ERR syntax error
        ZPOPMAX z 10 -> ["e", "5", "d", "4"]
        EXISTS z -> 0
        ZPOPMIN z -> []
        ZADD z 1 a 2 b 3 c -> 3
        ZMPOP 2 none z MAX -> ["z", [["c", "3"]]]
        ZMPOP 2 none z MIN COUNT 5 -> ["z", [["a", "1"], ["b", "2"]]]
        ZMPOP 2 none z MIN -> nil
        ZMPOP 0 z MIN -> ERR numkeys should be greater than 0
        ZMPOP x z MIN -> ERR numkeys should be greater than 0
        ZMPOP 2 z MIN -> ERR syntax error
        ZMPOP 1 z MID -> ERR syntax error
        ZMPOP 1 z MIN COUNT 0 -> ERR count should be greater than 0
        ZMPOP 1 z MIN COUNT 1 COUNT 2 -> ERR syntax error
        ZMPOP 1 z MIN COUNT -> ERR syntax error
        ZADD z 1 a 2 b 3 c -> 3
        BZPOPMIN none z 1 -> ["z", "a", "1"]
        BZPOPMAX none z 0 -> ["z", "c", "3"]
        BZMPOP 0.5 2 none z MIN COUNT 3 -> ["z", [["b", "2"]]]
        BZPOPMIN z x -> ERR timeout is not a float or out of range
        BZPOPMIN z -1 -> ERR timeout is negative
        BZMPOP x 0 z MIN -> ERR numkeys should be greater than 0
        BZMPOP x 1 z MIN -> ERR timeout is not a float or out of range
        SET s v -> OK
        ZPOPMIN s 0 -> WRONGTYPE Operation against a key holding the wrong kind of value
        ZMPOP 1 s MIN -> WRONGTYPE Operation against a key holding the wrong kind of value
        BZPOPMIN s 1 -> WRONGTYPE Operation against a key holding the wrong kind of value
    """)


def test_algebra(session: Session) -> None:
    session.check(r"""
        ZADD a 1 x 2 y 3 z -> 3
        ZADD b 10 y 20 z 30 w -> 3
        SADD s y w -> 2
        ZUNION 2 a b WITHSCORES -> ["x", "1", "y", "12", "z", "23", "w", "30"]
        ZUNION 2 a b WEIGHTS 2 0.5 AGGREGATE MAX -> ["x", "y", "z", "w"]
        ZUNION 3 a b s WITHSCORES -> ["x", "1", "y", "13", "z", "23", "w", "31"]
        ZINTER 2 a b WITHSCORES -> ["y", "12", "z", "23"]
        ZINTER 2 a b AGGREGATE MIN WITHSCORES -> ["y", "2", "z", "3"]
        ZINTER 2 a none -> []
        ZINTER 2 a s WITHSCORES -> ["y", "3"]
        ZDIFF 2 a b WITHSCORES -> ["x", "1"]
        ZDIFF 2 none a -> []
        ZDIFF 2 a a -> []
        ZUNIONSTORE d 2 a b -> 4
        ZRANGE d 0 -1 WITHSCORES -> ["x", "1", "y", "12", "z", "23", "w", "30"]
        ZINTERSTORE d 2 a b WEIGHTS 1 -1 -> 2
        ZRANGE d 0 -1 WITHSCORES -> ["z", "-17", "y", "-8"]
        ZDIFFSTORE d 2 a b -> 1
        ZRANGE d 0 -1 WITHSCORES -> ["x", "1"]
        ZINTERSTORE d 2 a none -> 0
        EXISTS d -> 0
        ZINTERCARD 2 a b -> 2
        ZINTERCARD 2 a b LIMIT 1 -> 1
        ZINTERCARD 2 a b LIMIT 0 -> 2
        ZINTERCARD 2 a b LIMIT -1 -> ERR LIMIT can't be negative
        ZINTERCARD 2 a b LIMIT x -> ERR LIMIT can't be negative
        ZINTERCARD 2 a b LIMIT -> ERR syntax error
        ZINTERCARD 0 a -> ERR at least 1 input key is needed for 'zintercard' command
        ZADD i inf x -> 1
        ZADD j -inf x -> 1
        ZUNION 2 i j WITHSCORES -> ["x", "0"]
        ZUNION 1 i WEIGHTS 0 WITHSCORES -> ["x", "0"]
        ZUNION 2 i j WEIGHTS 0 1 WITHSCORES -> ["x", "-inf"]
        ZUNION 0 a -> ERR at least 1 input key is needed for 'zunion' command
        ZUNION x a -> ERR value is not an integer or out of range
        ZUNION 3 a b -> ERR syntax error
        ZUNION 1 a WEIGHTS -> ERR syntax error
        ZUNION 1 a WEIGHTS x -> ERR weight value is not a float
        ZUNION 1 a AGGREGATE AVG -> ERR syntax error
        ZUNION 1 a BOGUS -> ERR syntax error
        ZUNIONSTORE d 1 a WITHSCORES -> ERR syntax error
        ZDIFF 1 a WEIGHTS 1 -> ERR syntax error
        SET str v -> OK
        ZUNION 1 str BOGUS -> WRONGTYPE Operation against a key holding the wrong kind of value
        ZUNIONSTORE str 1 a -> 3
        TYPE str -> zset
    """)


def test_scan_and_random() -> None:
    Session().check(r"""
        ZADD z 1 a 2.5 b -> 2
        ZSCAN z 0 -> ["0", ["a", "1", "b", "2.5"]]
        ZSCAN z 0 MATCH a* COUNT 1 -> ["0", ["a", "1"]]
        ZSCAN z 7 -> ["0", ["a", "1", "b", "2.5"]]
        ZSCAN z x -> ERR invalid cursor
        ZSCAN z 0 BOGUS -> ERR syntax error
        ZSCAN none 0 BOGUS -> ["0", []]
        ZRANDMEMBER none -> nil
        ZRANDMEMBER none 5 -> []
        ZRANDMEMBER z 0 -> []
        ZRANDMEMBER z 2 -> ["a", "b"]
        ZRANDMEMBER z 5 WITHSCORES -> ["a", "1", "b", "2.5"]
        ZRANDMEMBER z x -> ERR value is not an integer or out of range
        ZRANDMEMBER z 1 BOGUS -> ERR syntax error
        ZRANDMEMBER z 1 WITHSCORES BOGUS -> ERR syntax error
        ZRANDMEMBER z 9223372036854775807 WITHSCORES -> ERR value is out of range
        OBJECT ENCODING z -> "listpack"
        TYPE z -> zset
        COPY z y -> 1
        ZRANGE y 0 -1 WITHSCORES -> ["a", "1", "b", "2.5"]
    """)


def test_resp3() -> None:
    session = Session(3)
    session.check(r"""
        ZADD z 1 a 2.5 b inf c -> 3
        ZSCORE z b -> 2.5
        ZMSCORE z b x -> [2.5, nil]
        ZINCRBY z 1 a -> 2
        ZADD z XX INCR 1 nobody -> nil
        ZRANGE z 0 -1 WITHSCORES -> [["a", 2], ["b", 2.5], ["c", inf]]
        ZRANK z b WITHSCORE -> [1, 2.5]
        ZRANK z x WITHSCORE -> nil
        ZUNION 1 z WITHSCORES -> [["a", 2], ["b", 2.5], ["c", inf]]
        ZRANDMEMBER z 5 WITHSCORES -> [["a", 2], ["b", 2.5], ["c", inf]]
        ZSCAN z 0 -> ["0", ["a", "2", "b", "2.5", "c", "inf"]]
        ZPOPMAX z -> ["c", inf]
        ZMPOP 1 z MIN -> ["z", [["a", 2]]]
        ZPOPMIN z 1 -> [["b", 2.5]]
        ZMPOP 1 z MIN -> nil
    """)


def test_negative_zero_lives_in_big_sets_only() -> None:
    session = Session()
    session.check(r"""
        ZADD small -0 a -> 1
        ZSCORE small a -> "0"
        ZADD small INCR -0 b -> "-0"
        ZSCORE small b -> "0"
    """)
    session.instance.config.zset_max_listpack_entries = 2
    session.check(r"""
        ZADD small -0 c -> 1
        ZRANGE small 0 -1 WITHSCORES -> ["a", "0", "b", "0", "c", "-0"]
        ZADD small 0 c -> 0
        ZSCORE small c -> "-0"
        ZRANGEBYSCORE small 0 0 -> ["a", "b", "c"]
        ZPOPMAX small -> ["c", "-0"]
        ZADD other -0 x 1 y 2 z -> 3
        ZPOPMIN other 2 -> ["x", "-0", "y", "1"]
    """)


def test_encoding_follows_the_limits() -> None:
    session = Session()
    session.instance.config.zset_max_listpack_entries = 3
    session.instance.config.zset_max_listpack_value = 8
    session.check(r"""
        ZADD a 1 x 2 y 3 z -> 3
        OBJECT ENCODING a -> "listpack"
        ZADD a 4 w -> 1
        OBJECT ENCODING a -> "skiplist"
        ZREM a x y -> 2
        OBJECT ENCODING a -> "skiplist"
        ZADD b 1 123456789 -> 1
        OBJECT ENCODING b -> "skiplist"
        ZADD c 1 12345678 2 123456789 -> 2
        OBJECT ENCODING c -> "skiplist"
        ZADD d 1 x 1 x 1 x 1 x -> 1
        OBJECT ENCODING d -> "skiplist"
        ZRANGESTORE e a 0 0 -> 1
        OBJECT ENCODING e -> "listpack"
        ZUNIONSTORE e 2 a c -> 4
        OBJECT ENCODING e -> "skiplist"
        COPY a f -> 1
        OBJECT ENCODING f -> "skiplist"
    """)


def test_dump_and_restore(session: Session) -> None:
    session.run("ZADD z 1.5 a -0 b inf c")
    payload = session.call(b"DUMP", b"z").split(b"\r\n", 1)[1][:-2]
    assert session.call(b"RESTORE", b"copy", b"0", payload) == b"+OK\r\n"
    assert session.run("ZRANGE copy 0 -1 WITHSCORES") == session.run("ZRANGE z 0 -1 WITHSCORES")
    assert session.run("OBJECT ENCODING copy") == session.run("OBJECT ENCODING z")


def test_a_failed_command_leaves_no_trace(session: Session) -> None:
    session.run("ZADD z inf a 1 b")
    before = session.database.get(b"z")
    for request in ("ZINCRBY z -inf a", "ZADD z 1 c x d", "ZUNIONSTORE d 1 z BOGUS", "ZRANGESTORE d z 0 -1 BOGUS"):
        assert session.run(request).startswith("ERR")
    assert session.database.get(b"z") == before
    assert session.run("EXISTS d") == "0"


def test_a_time_to_live_stays(session: Session) -> None:
    session.run("ZADD z 1 a 2 b 3 c")
    session.run("PEXPIRE z 100000")
    for request in ("ZADD z 4 d", "ZINCRBY z 1 a", "ZREM z b", "ZPOPMIN z", "ZREMRANGEBYRANK z 0 0"):
        session.run(request)
        assert session.run("PTTL z") == "100000"
    session.run("ZUNIONSTORE z 1 z")
    assert session.run("PTTL z") == "-1"


def test_notifications(session: Session) -> None:
    session.notify()
    for request in (
        "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f",
        "ZADD z 1 a",
        "ZINCRBY z 1 a",
        "ZREM z nobody",
        "ZREM z a",
        "ZPOPMIN z",
        "ZPOPMAX z",
        "ZREMRANGEBYSCORE z 3 3",
        "ZREMRANGEBYRANK z 7 9",
        "ZUNIONSTORE d 1 z",
        "ZRANGESTORE d z 0 -1",
        "ZINTERSTORE d 2 z none",
        "ZINTERSTORE d 2 z none",
        "ZMPOP 1 z MIN COUNT 5",
    ):
        session.run(request)
    assert session.events == [
        ("zadd", "z"),
        ("zincr", "z"),
        ("zrem", "z"),
        ("zpopmin", "z"),
        ("zpopmax", "z"),
        ("zremrangebyscore", "z"),
        ("zunionstore", "d"),
        ("zrangestore", "d"),
        ("del", "d"),
        ("zpopmin", "z"),
        ("del", "z"),
    ]


def test_blocked_clients_are_served_in_turn() -> None:
    session = Session()
    blocking = session.instance.blocking
    first, second = session.instance.new_client(), session.instance.new_client()
    assert dispatch.execute(first, [b"BZPOPMIN", b"none", b"z", b"0"]) is None
    assert dispatch.execute(second, [b"BZMPOP", b"1", b"1", b"z", b"MAX", b"COUNT", b"2"]) is None
    assert blocking.count == 2
    session.run("ZADD z 1 a 2 b 3 c")
    blocking.serve(session.engine.databases)
    assert [show(client.out[0]) for client in (first, second)] == [
        '["z", "a", "1"]',
        '["z", [["c", "3"], ["b", "2"]]]',
    ]
    assert session.run("EXISTS z") == "0"
    assert blocking.count == 0


def test_scan_returns_everything_that_stays() -> None:
    session = Session()
    for number in range(500):
        session.run(f"ZADD z {number} m{number}")
    header = session.database.get(b"z")
    assert isinstance(header, Header) and header.value is None
    seen: set[str] = set()
    cursor = "0"
    step = 0
    while True:
        shown = session.run(f"ZSCAN z {cursor} COUNT 7")
        cursor, *items = [part.strip('[]" ') for part in shown.split(", ")]
        seen.update(items[::2])
        session.run(f"ZADD z 1 extra{step}")
        session.run(f"ZREM z extra{step - 3}")
        step += 1
        if cursor == "0":
            break
    assert {f"m{number}" for number in range(500)} <= seen
    assert step > 50


def test_a_negative_count_is_bounded() -> None:
    session = Session()
    session.run("ZADD z 1 a")
    assert session.run("ZRANDMEMBER z -3") == '["a", "a", "a"]'
    assert session.run("ZRANDMEMBER z -9223372036854775807").startswith("ERR the reply would exceed")
