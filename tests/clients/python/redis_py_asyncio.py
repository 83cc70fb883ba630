"""Drives a server through redis-py's asyncio client and reports every check as TAP.

Started as: redis_py_asyncio.py HOST PORT PASSWORD DIRECTORY
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from redis import __version__
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
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
    until_async,
    worker,
)


def connected(**options: Any) -> redis.Redis:
    defaults = {"host": HOST, "port": PORT, "password": PASSWORD or None, "socket_timeout": 10}
    return redis.Redis(**defaults | {"retry": Retry(NoBackoff(), 3)} | options)


db = connected()


async def connect() -> None:
    async with connected(port=OPEN_PORT, password=None, decode_responses=True) as client:
        assert await client.ping() is True
        assert await client.echo("hello") == "hello"
    async with redis.from_url(f"redis://{HOST}:{OPEN_PORT}/2", decode_responses=True) as client:
        assert (await client.client_info())["db"] == 2


async def auth() -> None:
    async with connected(password=None) as client:
        with raises(redis.AuthenticationError, ""):
            await client.get("k")
    async with connected(username="default") as client:
        assert await client.acl_whoami() in ("default", b"default")


async def wrong_password() -> None:
    async with connected(password="no such password") as client:
        with raises(redis.AuthenticationError, "invalid username-password pair or user is disabled."):
            await client.ping()


async def select_database() -> None:
    await db.set("where", "zero")
    async with connected(db=3) as other:
        assert await other.get("where") is None
        await other.set("where", "three")
        assert await other.dbsize() == 1
        with raises(redis.ResponseError, "DB index is out of range"):
            await other.select(1000)
    assert await db.get("where") == b"zero"


async def strings() -> None:
    assert await db.set("s", "value") is True
    assert await db.get("s") == b"value"
    assert await db.set("s", "other", nx=True) is None
    assert await db.set("s", "other", get=True) == b"value"
    assert await db.append("s", "s") == 6
    assert await db.getrange("s", 1, 3) == b"the"
    await db.mset({"s1": "one", "s2": "two"})
    assert await db.mget("s1", "nosuch", "s2") == [b"one", None, b"two"]
    assert await db.delete("s", "s1", "s2", "nosuch") == 3


async def counters() -> None:
    assert await db.incr("n") == 1
    assert await db.incrby("n", 9223372036854775000) == 9223372036854775001
    with raises(redis.ResponseError, "increment or decrement would overflow"):
        await db.incrby("n", 1000)
    assert await db.decrby("n", 9223372036854775000) == 1
    assert await db.incrbyfloat("n", 0.5) == 1.5
    with raises(redis.ResponseError, "value is not an integer or out of range"):
        await db.incr("n")


async def binary() -> None:
    assert await db.set(ALL_BYTES, ALL_BYTES)
    assert await db.get(ALL_BYTES) == ALL_BYTES
    assert await db.keys(b"\0\1*") == [ALL_BYTES]
    assert await db.set("", "")
    assert await db.get("") == b""
    assert await db.delete("") == 1
    await db.set("big", MEGABYTE)
    assert await db.get("big") == MEGABYTE
    await db.set(MEGABYTE[:65536], "long-key")
    assert await db.get(MEGABYTE[:65536]) == b"long-key"


async def hashes() -> None:
    assert await db.hset("h", mapping={"a": 1, "b": 2, "c": 3}) == 3
    assert await db.hget("h", "b") == b"2"
    assert await db.hget("h", "nosuch") is None
    assert await db.hgetall("h") == {b"a": b"1", b"b": b"2", b"c": b"3"}
    assert await db.hincrby("h", "a", 41) == 42
    assert await db.hdel("h", "b", "c", "nosuch") == 2
    assert [pair async for pair in db.hscan_iter("h")] == [(b"a", b"42")]


async def lists() -> None:
    assert await db.rpush("l", "a", "b", "c") == 3
    assert await db.lpush("l", "z") == 4
    assert await db.lrange("l", 0, -1) == [b"z", b"a", b"b", b"c"]
    assert await db.lpop("l") == b"z"
    assert await db.rpop("l", 2) == [b"c", b"b"]
    assert await db.lindex("l", 0) == b"a"
    assert await db.lmove("l", "l2", "LEFT", "RIGHT") == b"a"
    assert await db.exists("l") == 0


async def sets() -> None:
    assert await db.sadd("s1", "a", "b", "c", "a") == 3
    assert await db.sadd("s2", "b", "c", "d") == 3
    assert await db.sismember("s1", "a") == 1
    assert await db.sinter("s1", "s2") == {b"b", b"c"}
    assert await db.sunionstore("s3", "s1", "s2") == 4
    assert await db.sdiff("s1", "s2") == {b"a"}
    assert await db.srem("s1", "a", "nosuch") == 1
    assert await db.scard("s1") == 2


async def sorted_sets() -> None:
    assert await db.zadd("z", {"a": 1, "b": 2.5, "c": float("-inf")}) == 3
    assert await db.zrange("z", 0, -1, withscores=True) == [(b"c", float("-inf")), (b"a", 1.0), (b"b", 2.5)]
    assert await db.zscore("z", "b") == 2.5
    assert await db.zincrby("z", 2, "a") == 3.0
    assert await db.zrank("z", "a") == 2
    assert await db.zrangebyscore("z", "(2.5", "+inf") == [b"a"]
    assert await db.zpopmin("z") == [(b"c", float("-inf"))]
    assert await db.zcard("z") == 2


async def expiry() -> None:
    await db.set("e", "v", ex=100)
    assert 99 <= await db.ttl("e") <= 100
    assert await db.persist("e")
    assert await db.ttl("e") == -1
    assert await db.pexpire("e", 30)

    async def is_gone() -> bool:
        return await db.exists("e") == 0

    await until_async(is_gone)
    assert await db.get("e") is None
    assert await db.ttl("e") == -2


async def pipeline() -> None:
    batch = db.pipeline(transaction=False)
    sums = [0]
    for i in range(PIPELINED):
        batch.incrby("pipelined", i % 7)
        sums.append(sums[-1] + i % 7)
    assert await batch.execute() == sums[1:]


async def transaction() -> None:
    batch = db.pipeline()
    batch.set("t", 1).incr("t").lpop("t")
    replies = await batch.execute(raise_on_error=False)
    assert replies[:2] == [True, 2]
    assert isinstance(replies[2], redis.ResponseError) and str(replies[2]).startswith("WRONGTYPE")
    batch.execute_command("NOSUCH")
    with raises(redis.ResponseError, "Command # 1 (NOSUCH) of pipeline caused error: "):
        await batch.execute()


async def watch_conflict() -> None:
    await db.set("w", 1)
    attempts = []

    async def double(batch: Any) -> None:
        value = int(await batch.get("w"))
        attempts.append(value)
        if len(attempts) == 1:
            await db.incr("w")
        batch.multi()
        batch.set("w", value * 2)

    assert await db.transaction(double, "w") == [True]
    assert attempts == [1, 2]
    assert await db.get("w") == b"4"
    async with db.pipeline() as batch:
        await batch.watch("w")
        await db.incr("w")
        batch.multi()
        batch.set("w", 100)
        with raises(redis.WatchError, ""):
            await batch.execute()


async def message() -> None:
    async with db.pubsub() as subscriber:
        await subscriber.subscribe("news")
        assert (await subscriber.get_message(timeout=5))["type"] == "subscribe"
        assert await db.publish("news", b"a\0b") == 1
        received = await subscriber.get_message(timeout=5)
        assert (received["type"], received["channel"], received["data"]) == ("message", b"news", b"a\0b")
        await subscriber.unsubscribe("news")
        assert (await subscriber.get_message(timeout=5))["type"] == "unsubscribe"


async def pattern() -> None:
    async with db.pubsub(ignore_subscribe_messages=True) as subscriber:
        await subscriber.psubscribe("n?ws.*")
        await subscriber.get_message(timeout=5)
        assert await db.publish("news.art", "hello") == 1
        assert await db.publish("nws.art", "hello") == 0
        received = await subscriber.get_message(timeout=5)
        assert received == {"type": "pmessage", "pattern": b"n?ws.*", "channel": b"news.art", "data": b"hello"}


async def work() -> None:
    for _ in JOBS:
        _, job = await db.blpop("jobs", timeout=10)
        await db.rpush("done", b"did-" + job)


async def is_blocked() -> bool:
    return (await db.info("clients"))["blocked_clients"] == 1


async def queue() -> None:
    with worker():
        await until_async(is_blocked)
        assert await db.rpush("jobs", "one") == 1
        assert await db.blpop("done", timeout=10) == (b"done", b"did-one")
        await db.rpush("jobs", "two", "three")
        assert [(await db.blpop("done", timeout=10))[1] for _ in range(2)] == [b"did-two", b"did-three"]


async def blocking_timeout() -> None:
    begin = time.monotonic()
    assert await db.blpop("nosuch", timeout=0.2) is None
    assert 0.19 < time.monotonic() - begin < 5
    assert await db.brpoplpush("nosuch", "other", timeout=0.05) is None


async def evaluate() -> None:
    assert await db.eval(SCRIPT, 1, "k", "v") == [b"v", 42, [None]]
    with raises(redis.ResponseError, "MINE it went wrong"):
        await db.eval("return redis.error_reply('MINE it went wrong')", 0)
    with raises(redis.ResponseError, "Error compiling script"):
        await db.eval("return +", 0)


async def evalsha() -> None:
    double = db.register_script("return ARGV[1] * 2")
    assert await double(args=[21]) == 42
    assert await db.evalsha(double.sha, 0, 21) == 42
    await db.script_flush()
    with raises(NoScriptError, "No matching script"):
        await db.evalsha(double.sha, 0, 21)
    assert await double(args=[4]) == 8


async def scan() -> None:
    names = {b"scanned:%d" % i for i in range(SCANNED)}
    await db.mset(dict.fromkeys(names, 1))
    found = [name async for name in db.scan_iter("scanned:*", count=100)]
    assert len(found) == SCANNED and set(found) == names
    assert (await db.scan(count=10))[0] != 0


async def streams() -> None:
    assert await db.xadd("x", {"f": "a"}, id="1-1") == b"1-1"
    await db.xadd("x", {"f": "b"}, id="1-2")
    newest = await db.xadd("x", {"f": "c"})
    assert await db.xgroup_create("x", "g", id="0") is True
    with raises(redis.ResponseError, "BUSYGROUP"):
        await db.xgroup_create("x", "g", id="0")
    assert await db.xreadgroup("g", "alice", {"x": ">"}, count=2) == [
        [b"x", [(b"1-1", {b"f": b"a"}), (b"1-2", {b"f": b"b"})]]
    ]
    assert (await db.xpending("x", "g"))["consumers"] == [{"name": b"alice", "pending": 2}]
    assert await db.xack("x", "g", "1-1") == 1
    assert await db.xclaim("x", "g", "bob", 0, ["1-2"]) == [(b"1-2", {b"f": b"b"})]
    assert (await db.xautoclaim("x", "g", "alice", 0))[1] == [(b"1-2", {b"f": b"b"})]
    assert (await db.xreadgroup("g", "bob", {"x": ">"}, block=1000))[0][1][0][0] == newest
    assert await db.xreadgroup("g", "bob", {"x": ">"}, block=30) == []
    assert [group["name"] for group in await db.xinfo_groups("x")] == [b"g"]
    assert await db.xlen("x") == 3


async def resp3() -> None:
    async with connected(protocol=3) as client:
        await client.hset("r", "f", "v")
        assert await client.hgetall("r") == {b"f": b"v"}
        await client.sadd("rs", "m")
        assert await client.smembers("rs") == {b"m"}
        await client.zadd("rz", {"m": 1.5})
        assert await client.zscore("rz", "m") == 1.5
        assert await client.execute_command("ZRANGE", "rz", 0, -1, "WITHSCORES") == [[b"m", 1.5]]
        assert await client.eval("redis.setresp(3); return true", 0) is True
        async with client.pubsub(ignore_subscribe_messages=True) as subscriber:
            await subscriber.subscribe("pushed")
            await subscriber.get_message(timeout=5)
            await client.publish("pushed", "hello")
            assert (await subscriber.get_message(timeout=5))["data"] == b"hello"


async def errors() -> None:
    await db.set("text", "v")
    with raises(redis.ResponseError, "WRONGTYPE Operation against a key holding the wrong kind of value"):
        await db.lpush("text", "x")
    with raises(redis.ResponseError, "unknown command 'NOSUCH', with args beginning with: 'a' 'b' "):
        await db.execute_command("NOSUCH", "a", "b")
    with raises(redis.ResponseError, "wrong number of arguments for 'get' command"):
        await db.execute_command("GET")
    with raises(redis.ResponseError, "value is not an integer or out of range"):
        await db.execute_command("SET", "text", "v", "EX", "nan")


async def reconnect() -> None:
    await db.set("kept", "over the restart")
    await db.rpush("kept-list", "a", "b")
    restart()
    # The retries open a new connection.
    assert await db.get("kept") == b"over the restart"
    assert await db.lrange("kept-list", 0, -1) == [b"a", b"b"]


async def main() -> int:
    library("redis-py asyncio", __version__)
    await db.flushall()
    report = Report()
    await report.check_async("connect", connect)
    await report.check_async("auth", auth)
    await report.check_async("wrong password error", wrong_password)
    await report.check_async("select database isolation", select_database)
    await report.check_async("strings", strings)
    await report.check_async("counters", counters)
    await report.check_async("binary-safe keys and values", binary)
    await report.check_async("hashes", hashes)
    await report.check_async("lists", lists)
    await report.check_async("sets", sets)
    await report.check_async("sorted sets", sorted_sets)
    await report.check_async("expiry", expiry)
    await report.check_async("pipeline of 10,000 commands", pipeline)
    await report.check_async("MULTI/EXEC", transaction)
    await report.check_async("WATCH conflict", watch_conflict)
    await report.check_async("publish/subscribe message", message)
    await report.check_async("publish/subscribe pattern", pattern)
    await report.check_async("blocking pop queue between two processes", queue)
    await report.check_async("blocking pop timeout", blocking_timeout)
    await report.check_async("EVAL", evaluate)
    await report.check_async("EVALSHA/NOSCRIPT", evalsha)
    await report.check_async("SCAN loop", scan)
    await report.check_async("streams with consumer group", streams)
    await report.check_async("RESP3", resp3)
    await report.check_async("errors", errors)
    await report.check_async("reconnect after restart", reconnect)
    await db.aclose()
    return report.end()


if __name__ == "__main__":
    sys.exit(asyncio.run(work() if IS_WORKER else main()))
