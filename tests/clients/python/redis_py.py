"""Drives a server through redis-py and reports every check as TAP.

Started as: redis_py.py HOST PORT PASSWORD DIRECTORY
"""

from __future__ import annotations

import sys
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from report import (
    ALL_BYTES,
    HOST,
    IS_WORKER,
    JOBS,
    MEGABYTE,
    OPEN_PORT,
    PASSWORD,
    PIPELINED,
    PORT,
    SCANNED,
    SCRIPT,
    Report,
    library,
    raises,
    restart,
    until,
    worker,
)


def connected(**options: Any) -> redis.Redis:
    defaults = {"host": HOST, "port": PORT, "password": PASSWORD or None, "socket_timeout": 10}
    return redis.Redis(**defaults | {"retry": Retry(NoBackoff(), 3)} | options)


db = connected()


def connect() -> None:
    with connected(port=OPEN_PORT, password=None, decode_responses=True) as client:
        assert client.ping() is True
        assert client.echo("hello") == "hello"
    with redis.from_url(f"redis://{HOST}:{OPEN_PORT}/2", decode_responses=True) as client:
        assert client.client_info()["db"] == 2


def auth() -> None:
    with connected(password=None) as client, raises(redis.AuthenticationError, ""):
        client.get("k")
    with connected(username="default") as client:
        assert client.acl_whoami() in ("default", b"default")


def wrong_password() -> None:
    with (
        connected(password="no such password") as client,
        raises(redis.AuthenticationError, "invalid username-password pair or user is disabled."),
    ):
        client.ping()


def select_database() -> None:
    db.set("where", "zero")
    with connected(db=3) as other:
        assert other.get("where") is None
        other.set("where", "three")
        assert other.dbsize() == 1
        with raises(redis.ResponseError, "DB index is out of range"):
            other.select(1000)
    assert db.get("where") == b"zero"


def strings() -> None:
    assert db.set("s", "value") is True
    assert db.get("s") == b"value"
    assert db.set("s", "other", nx=True) is None
    assert db.set("s", "other", get=True) == b"value"
    assert db.append("s", "s") == 6
    assert db.getrange("s", 1, 3) == b"the"
    db.mset({"s1": "one", "s2": "two"})
    assert db.mget("s1", "nosuch", "s2") == [b"one", None, b"two"]
    assert db.delete("s", "s1", "s2", "nosuch") == 3


def counters() -> None:
    assert db.incr("n") == 1
    assert db.incrby("n", 9223372036854775000) == 9223372036854775001
    with raises(redis.ResponseError, "increment or decrement would overflow"):
        db.incrby("n", 1000)
    assert db.decrby("n", 9223372036854775000) == 1
    assert db.incrbyfloat("n", 0.5) == 1.5
    with raises(redis.ResponseError, "value is not an integer or out of range"):
        db.incr("n")


def binary() -> None:
    assert db.set(ALL_BYTES, ALL_BYTES)
    assert db.get(ALL_BYTES) == ALL_BYTES
    assert db.keys(b"\0\1*") == [ALL_BYTES]
    assert db.set("", "")
    assert db.get("") == b""
    assert db.delete("") == 1
    db.set("big", MEGABYTE)
    assert db.get("big") == MEGABYTE
    db.set(MEGABYTE[:65536], "long-key")
    assert db.get(MEGABYTE[:65536]) == b"long-key"


def hashes() -> None:
    assert db.hset("h", mapping={"a": 1, "b": 2, "c": 3}) == 3
    assert db.hget("h", "b") == b"2"
    assert db.hget("h", "nosuch") is None
    assert db.hgetall("h") == {b"a": b"1", b"b": b"2", b"c": b"3"}
    assert db.hincrby("h", "a", 41) == 42
    assert db.hdel("h", "b", "c", "nosuch") == 2
    assert dict(db.hscan_iter("h")) == {b"a": b"42"}


def lists() -> None:
    assert db.rpush("l", "a", "b", "c") == 3
    assert db.lpush("l", "z") == 4
    assert db.lrange("l", 0, -1) == [b"z", b"a", b"b", b"c"]
    assert db.lpop("l") == b"z"
    assert db.rpop("l", 2) == [b"c", b"b"]
    assert db.lindex("l", 0) == b"a"
    assert db.lmove("l", "l2", "LEFT", "RIGHT") == b"a"
    assert db.exists("l") == 0


def sets() -> None:
    assert db.sadd("s1", "a", "b", "c", "a") == 3
    assert db.sadd("s2", "b", "c", "d") == 3
    assert db.sismember("s1", "a") == 1
    assert db.sinter("s1", "s2") == {b"b", b"c"}
    assert db.sunionstore("s3", "s1", "s2") == 4
    assert db.sdiff("s1", "s2") == {b"a"}
    assert db.srem("s1", "a", "nosuch") == 1
    assert db.scard("s1") == 2


def sorted_sets() -> None:
    assert db.zadd("z", {"a": 1, "b": 2.5, "c": float("-inf")}) == 3
    assert db.zrange("z", 0, -1, withscores=True) == [(b"c", float("-inf")), (b"a", 1.0), (b"b", 2.5)]
    assert db.zscore("z", "b") == 2.5
    assert db.zincrby("z", 2, "a") == 3.0
    assert db.zrank("z", "a") == 2
    assert db.zrangebyscore("z", "(2.5", "+inf") == [b"a"]
    assert db.zpopmin("z") == [(b"c", float("-inf"))]
    assert db.zcard("z") == 2


def expiry() -> None:
    db.set("e", "v", ex=100)
    assert 99 <= db.ttl("e") <= 100
    assert db.persist("e")
    assert db.ttl("e") == -1
    assert db.pexpire("e", 30)
    until(lambda: db.exists("e") == 0)
    assert db.get("e") is None
    assert db.ttl("e") == -2


def pipeline() -> None:
    batch = db.pipeline(transaction=False)
    sums = [0]
    for i in range(PIPELINED):
        batch.incrby("pipelined", i % 7)
        sums.append(sums[-1] + i % 7)
    assert batch.execute() == sums[1:]


def transaction() -> None:
    batch = db.pipeline()
    batch.set("t", 1).incr("t").lpop("t")
    replies = batch.execute(raise_on_error=False)
    assert replies[:2] == [True, 2]
    assert isinstance(replies[2], redis.ResponseError) and str(replies[2]).startswith("WRONGTYPE")
    batch.execute_command("NOSUCH")
    with raises(redis.ResponseError, "Command # 1 (NOSUCH) of pipeline caused error: "):
        batch.execute()


def watch_conflict() -> None:
    db.set("w", 1)
    attempts = []

    def double(batch: Any) -> None:
        value = int(batch.get("w"))
        attempts.append(value)
        if len(attempts) == 1:
            db.incr("w")
        batch.multi()
        batch.set("w", value * 2)

    assert db.transaction(double, "w") == [True]
    assert attempts == [1, 2]
    assert db.get("w") == b"4"
    with db.pipeline() as batch:
        batch.watch("w")
        db.incr("w")
        batch.multi()
        batch.set("w", 100)
        with raises(redis.WatchError, ""):
            batch.execute()


def message() -> None:
    with db.pubsub() as subscriber:
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=5)["type"] == "subscribe"
        assert db.publish("news", b"a\0b") == 1
        received = subscriber.get_message(timeout=5)
        assert (received["type"], received["channel"], received["data"]) == ("message", b"news", b"a\0b")
        subscriber.unsubscribe("news")
        assert subscriber.get_message(timeout=5)["type"] == "unsubscribe"


def pattern() -> None:
    with db.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.psubscribe("n?ws.*")
        subscriber.get_message(timeout=5)
        assert db.publish("news.art", "hello") == 1
        assert db.publish("nws.art", "hello") == 0
        received = subscriber.get_message(timeout=5)
        assert received == {"type": "pmessage", "pattern": b"n?ws.*", "channel": b"news.art", "data": b"hello"}


def work() -> None:
    for _ in JOBS:
        _, job = db.blpop("jobs", timeout=10)
        db.rpush("done", b"did-" + job)


def queue() -> None:
    with worker():
        until(lambda: db.info("clients")["blocked_clients"] == 1)
        assert db.rpush("jobs", "one") == 1
        assert db.blpop("done", timeout=10) == (b"done", b"did-one")
        db.rpush("jobs", "two", "three")
        assert [db.blpop("done", timeout=10)[1] for _ in range(2)] == [b"did-two", b"did-three"]


def blocking_timeout() -> None:
    begin = time.monotonic()
    assert db.blpop("nosuch", timeout=0.2) is None
    assert 0.19 < time.monotonic() - begin < 5
    assert db.brpoplpush("nosuch", "other", timeout=0.05) is None


def evaluate() -> None:
    assert db.eval(SCRIPT, 1, "k", "v") == [b"v", 42, [None]]
    with raises(redis.ResponseError, "MINE it went wrong"):
        db.eval("return redis.error_reply('MINE it went wrong')", 0)
    with raises(redis.ResponseError, "Error compiling script"):
        db.eval("return +", 0)


def evalsha() -> None:
    double = db.register_script("return ARGV[1] * 2")
    assert double(args=[21]) == 42
    assert db.evalsha(double.sha, 0, 21) == 42
    db.script_flush()
    with raises(redis.exceptions.NoScriptError, "No matching script"):
        db.evalsha(double.sha, 0, 21)
    assert double(args=[4]) == 8


def scan() -> None:
    names = {b"scanned:%d" % i for i in range(SCANNED)}
    db.mset(dict.fromkeys(names, 1))
    found = list(db.scan_iter("scanned:*", count=100))
    assert len(found) == SCANNED and set(found) == names
    assert db.scan(count=10)[0] != 0


def streams() -> None:
    assert db.xadd("x", {"f": "a"}, id="1-1") == b"1-1"
    db.xadd("x", {"f": "b"}, id="1-2")
    newest = db.xadd("x", {"f": "c"})
    assert db.xgroup_create("x", "g", id="0") is True
    with raises(redis.ResponseError, "BUSYGROUP"):
        db.xgroup_create("x", "g", id="0")
    assert db.xreadgroup("g", "alice", {"x": ">"}, count=2) == [
        [b"x", [(b"1-1", {b"f": b"a"}), (b"1-2", {b"f": b"b"})]]
    ]
    assert db.xpending("x", "g")["consumers"] == [{"name": b"alice", "pending": 2}]
    assert db.xack("x", "g", "1-1") == 1
    assert db.xclaim("x", "g", "bob", 0, ["1-2"]) == [(b"1-2", {b"f": b"b"})]
    assert db.xautoclaim("x", "g", "alice", 0)[1] == [(b"1-2", {b"f": b"b"})]
    assert db.xreadgroup("g", "bob", {"x": ">"}, block=1000)[0][1][0][0] == newest
    assert db.xreadgroup("g", "bob", {"x": ">"}, block=30) == []
    assert [group["name"] for group in db.xinfo_groups("x")] == [b"g"]
    assert db.xlen("x") == 3


def resp3() -> None:
    with connected(protocol=3) as client:
        client.hset("r", "f", "v")
        assert client.hgetall("r") == {b"f": b"v"}
        client.sadd("rs", "m")
        assert client.smembers("rs") == {b"m"}
        client.zadd("rz", {"m": 1.5})
        assert client.zscore("rz", "m") == 1.5
        assert client.execute_command("ZRANGE", "rz", 0, -1, "WITHSCORES") == [[b"m", 1.5]]
        assert client.eval("redis.setresp(3); return true", 0) is True
        with client.pubsub(ignore_subscribe_messages=True) as subscriber:
            subscriber.subscribe("pushed")
            subscriber.get_message(timeout=5)
            client.publish("pushed", "hello")
            assert subscriber.get_message(timeout=5)["data"] == b"hello"


def errors() -> None:
    db.set("text", "v")
    with raises(redis.ResponseError, "WRONGTYPE Operation against a key holding the wrong kind of value"):
        db.lpush("text", "x")
    with raises(redis.ResponseError, "unknown command 'NOSUCH', with args beginning with: 'a' 'b' "):
        db.execute_command("NOSUCH", "a", "b")
    with raises(redis.ResponseError, "wrong number of arguments for 'get' command"):
        db.execute_command("GET")
    with raises(redis.ResponseError, "value is not an integer or out of range"):
        db.execute_command("SET", "text", "v", "EX", "nan")


def reconnect() -> None:
    db.set("kept", "over the restart")
    db.rpush("kept-list", "a", "b")
    restart()
    # The pool notices connections that the server closed, and opens new ones.
    assert db.get("kept") == b"over the restart"
    assert db.lrange("kept-list", 0, -1) == [b"a", b"b"]


def main() -> int:
    library("redis-py", redis.__version__)
    db.flushall()
    report = Report()
    report.check("connect", connect)
    report.check("auth", auth)
    report.check("wrong password error", wrong_password)
    report.check("select database isolation", select_database)
    report.check("strings", strings)
    report.check("counters", counters)
    report.check("binary-safe keys and values", binary)
    report.check("hashes", hashes)
    report.check("lists", lists)
    report.check("sets", sets)
    report.check("sorted sets", sorted_sets)
    report.check("expiry", expiry)
    report.check("pipeline of 10,000 commands", pipeline)
    report.check("MULTI/EXEC", transaction)
    report.check("WATCH conflict", watch_conflict)
    report.check("publish/subscribe message", message)
    report.check("publish/subscribe pattern", pattern)
    report.check("blocking pop queue between two processes", queue)
    report.check("blocking pop timeout", blocking_timeout)
    report.check("EVAL", evaluate)
    report.check("EVALSHA/NOSCRIPT", evalsha)
    report.check("SCAN loop", scan)
    report.check("streams with consumer group", streams)
    report.check("RESP3", resp3)
    report.check("errors", errors)
    report.check("reconnect after restart", reconnect)
    return report.end()


if __name__ == "__main__":
    sys.exit(work() if IS_WORKER else main())
