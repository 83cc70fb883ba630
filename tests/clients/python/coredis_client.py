"""Drives a server through coredis and reports every check as TAP.

Started as: coredis_client.py HOST PORT PASSWORD DIRECTORY
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import coredis
from coredis import PureToken, exceptions
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

LOWEST = float("-inf")


def connected(**options: Any) -> Any:
    defaults = {"host": HOST, "port": PORT, "password": PASSWORD or None, "decode_responses": True}
    return coredis.Redis(**defaults | {"stream_timeout": 15} | options)


class Checks:
    """The checks, by their names with underscores for everything else."""

    def __init__(self, client: Any) -> None:
        self.db = client

    async def connect(self) -> None:
        async with connected(port=OPEN_PORT, password=None) as client:
            assert await client.ping() == "PONG"
            assert await client.echo("hello") == "hello"
        async with coredis.Redis.from_url(f"redis://{HOST}:{OPEN_PORT}/2") as client:
            assert (await client.client_info())["db"] == 2

    async def auth(self) -> None:
        async with connected(username="default") as client:
            assert await client.acl_whoami() == "default"
        with raises(exceptions.AuthenticationError, ""):
            await self._fail_to_connect(password=None)

    async def wrong_password(self) -> None:
        with raises(exceptions.AuthenticationError, ""):
            await self._fail_to_connect(password="no such password")

    async def _fail_to_connect(self, **options: Any) -> None:
        try:
            async with connected(**options) as client:
                await client.get("k")
        except* exceptions.AuthenticationError as group:
            raised: BaseException = group
            while isinstance(raised, BaseExceptionGroup):
                raised = raised.exceptions[0]
            error = raised
        raise error

    async def select_database(self) -> None:
        await self.db.set("where", "zero")
        async with connected(db=3) as other:
            assert await other.get("where") is None
            await other.set("where", "three")
            assert await other.dbsize() == 1
        assert await self.db.get("where") == "zero"

    async def strings(self) -> None:
        assert await self.db.set("s", "value")
        assert await self.db.get("s") == "value"
        assert not await self.db.set("s", "other", condition=PureToken.NX)
        assert await self.db.set("s", "other", get=True) == "value"
        assert await self.db.append("s", "s") == 6
        assert await self.db.getrange("s", 1, 3) == "the"
        assert await self.db.mset({"s1": "one", "s2": "two"})
        assert await self.db.mget(["s1", "nosuch", "s2"]) == ("one", None, "two")
        assert await self.db.delete(["s", "s1", "s2", "nosuch"]) == 3

    async def counters(self) -> None:
        assert await self.db.incr("n") == 1
        assert await self.db.incrby("n", 9223372036854775000) == 9223372036854775001
        with raises(exceptions.ResponseError, "increment or decrement would overflow"):
            await self.db.incrby("n", 1000)
        assert await self.db.decrby("n", 9223372036854775000) == 1
        assert await self.db.incrbyfloat("n", 0.5) == 1.5
        with raises(exceptions.ResponseError, "value is not an integer or out of range"):
            await self.db.incr("n")

    async def binary(self) -> None:
        async with connected(decode_responses=False) as raw:
            assert await raw.set(ALL_BYTES, ALL_BYTES)
            assert await raw.get(ALL_BYTES) == ALL_BYTES
            assert await raw.keys(b"\0\1*") == {ALL_BYTES}
            assert await raw.set(b"", b"")
            assert await raw.get(b"") == b""
            assert await raw.delete([b""]) == 1
            await raw.set(b"big", MEGABYTE)
            assert await raw.get(b"big") == MEGABYTE
            await raw.set(MEGABYTE[:65536], b"long-key")
            assert await raw.get(MEGABYTE[:65536]) == b"long-key"

    async def hashes(self) -> None:
        assert await self.db.hset("h", {"a": 1, "b": 2, "c": 3}) == 3
        assert await self.db.hget("h", "b") == "2"
        assert await self.db.hget("h", "nosuch") is None
        assert await self.db.hgetall("h") == {"a": "1", "b": "2", "c": "3"}
        assert await self.db.hincrby("h", "a", 41) == 42
        assert await self.db.hdel("h", ["b", "c", "nosuch"]) == 2
        assert await self.db.hlen("h") == 1

    async def lists(self) -> None:
        assert await self.db.rpush("l", ["a", "b", "c"]) == 3
        assert await self.db.lpush("l", ["z"]) == 4
        assert list(await self.db.lrange("l", 0, -1)) == ["z", "a", "b", "c"]
        assert await self.db.lpop("l") == "z"
        assert list(await self.db.rpop("l", 2)) == ["c", "b"]
        assert await self.db.lindex("l", 0) == "a"
        assert await self.db.lmove("l", "l2", PureToken.LEFT, PureToken.RIGHT) == "a"
        assert await self.db.exists(["l"]) == 0

    async def sets(self) -> None:
        assert await self.db.sadd("s1", ["a", "b", "c", "a"]) == 3
        assert await self.db.sadd("s2", ["b", "c", "d"]) == 3
        assert await self.db.sismember("s1", "a")
        assert await self.db.sinter(["s1", "s2"]) == {"b", "c"}
        assert await self.db.sunionstore(["s1", "s2"], "s3") == 4
        assert await self.db.sdiff(["s1", "s2"]) == {"a"}
        assert await self.db.srem("s1", ["a", "nosuch"]) == 1
        assert await self.db.scard("s1") == 2

    async def sorted_sets(self) -> None:
        assert await self.db.zadd("z", {"a": 1, "b": 2.5, "c": LOWEST}) == 3
        ranged = await self.db.zrange("z", 0, -1, withscores=True)
        assert [tuple(pair) for pair in ranged] == [("c", LOWEST), ("a", 1), ("b", 2.5)]
        assert await self.db.zscore("z", "b") == 2.5
        assert await self.db.zincrby("z", "a", 2) == 3
        assert await self.db.zrank("z", "a") == 2
        assert tuple(await self.db.zrangebyscore("z", 2.6, float("inf"))) == ("a",)
        assert tuple(await self.db.zpopmin("z")) == ("c", LOWEST)
        assert await self.db.zcard("z") == 2

    async def expiry(self) -> None:
        await self.db.set("e", "v", ex=100)
        assert 99 <= await self.db.ttl("e") <= 100
        assert await self.db.persist("e")
        assert await self.db.ttl("e") == -1
        assert await self.db.pexpire("e", 30)

        async def is_gone() -> bool:
            return await self.db.exists(["e"]) == 0

        await until_async(is_gone)
        assert await self.db.get("e") is None
        assert await self.db.ttl("e") == -2

    async def pipeline(self) -> None:
        sums = [0]
        async with self.db.pipeline(transaction=False) as batch:
            for i in range(PIPELINED):
                batch.incrby("pipelined", i % 7)
                sums.append(sums[-1] + i % 7)
        assert batch.results == tuple(sums[1:])

    async def transaction(self) -> None:
        async with self.db.pipeline(raise_on_error=False) as batch:
            batch.set("t", 1)
            batch.incr("t")
            popped = batch.lpop("t")
        assert batch.results[:2] == (True, 2)
        with raises(exceptions.WrongTypeError, ""):
            result = await popped
            raise result if isinstance(result, Exception) else AssertionError(result)

    async def watch_conflict(self) -> None:
        await self.db.set("w", 1)
        with raises(exceptions.WatchError, ""):
            async with self.db.pipeline() as batch, batch.watch("w"):
                await self.db.incr("w")
                batch.set("w", 100)
        assert await self.db.get("w") == "2"
        async with self.db.pipeline() as batch, batch.watch("w"):
            batch.set("w", 100)
        assert await self.db.get("w") == "100"

    async def message(self) -> None:
        async with self.db.pubsub(channels=["news"]) as subscriber:
            assert (await subscriber.get_message(timeout=5))["type"] == "subscribe"
            assert await self.db.publish("news", "a\0b") == 1
            received = await subscriber.get_message(timeout=5)
            assert (received["type"], received["channel"], received["data"]) == ("message", "news", "a\0b")

    async def pattern(self) -> None:
        async with self.db.pubsub(patterns=["n?ws.*"]) as subscriber:
            assert (await subscriber.get_message(timeout=5))["type"] == "psubscribe"
            assert await self.db.publish("nws.art", "hello") == 0
            assert await self.db.publish("news.art", "hello") == 1
            received = await subscriber.get_message(timeout=5)
            assert (received["pattern"], received["channel"], received["data"]) == ("n?ws.*", "news.art", "hello")

    async def queue(self) -> None:
        async def is_blocked() -> bool:
            return (await self.db.info("clients"))["blocked_clients"] == 1

        with worker():
            await until_async(is_blocked)
            assert await self.db.rpush("jobs", ["one"]) == 1
            assert list(await self.db.blpop(["done"], 10)) == ["done", "did-one"]
            await self.db.rpush("jobs", ["two", "three"])
            assert [(await self.db.blpop(["done"], 10))[1] for _ in range(2)] == ["did-two", "did-three"]

    async def blocking_timeout(self) -> None:
        begin = time.monotonic()
        assert await self.db.blpop(["nosuch"], 0.2) is None
        assert 0.19 < time.monotonic() - begin < 5
        assert await self.db.brpoplpush("nosuch", "other", 0.05) is None

    async def evaluate(self) -> None:
        assert await self.db.eval(SCRIPT, ["k"], ["v"]) == ["v", 42, [None]]
        with raises(exceptions.ResponseError, "MINE it went wrong"):
            await self.db.eval("return redis.error_reply('MINE it went wrong')")
        with raises(exceptions.ResponseError, "Error compiling script"):
            await self.db.eval("return +")

    async def evalsha(self) -> None:
        double = self.db.register_script("return ARGV[1] * 2")
        assert await double(args=[21]) == 42
        assert await self.db.evalsha(double.sha, args=[21]) == 42
        await self.db.script_flush()
        with raises(exceptions.NoScriptError, ""):
            await self.db.evalsha(double.sha, args=[21])
        assert await double(args=[4]) == 8

    async def scan(self) -> None:
        names = {f"scanned:{i}" for i in range(SCANNED)}
        await self.db.mset(dict.fromkeys(names, 1))
        found = [name async for name in self.db.scan_iter("scanned:*", count=100)]
        assert len(found) == SCANNED and set(found) == names
        assert (await self.db.scan(count=10))[0] != 0

    async def streams(self) -> None:
        assert await self.db.xadd("x", {"f": "a"}, identifier="1-1") == "1-1"
        await self.db.xadd("x", {"f": "b"}, identifier="1-2")
        newest = await self.db.xadd("x", {"f": "c"})
        assert await self.db.xgroup_create("x", "g", "0")
        with raises(exceptions.StreamDuplicateConsumerGroupError, ""):
            await self.db.xgroup_create("x", "g", "0")
        read = await self.db.xreadgroup("g", "alice", {"x": ">"}, count=2)
        assert [(entry.identifier, dict(entry.field_values)) for entry in read["x"]] == [
            ("1-1", {"f": "a"}),
            ("1-2", {"f": "b"}),
        ]
        assert (await self.db.xpending("x", "g")).pending == 2
        assert await self.db.xack("x", "g", ["1-1"]) == 1
        assert [entry.identifier for entry in await self.db.xclaim("x", "g", "bob", 0, ["1-2"])] == ["1-2"]
        assert (await self.db.xreadgroup("g", "bob", {"x": ">"}, block=1000))["x"][0].identifier == newest
        assert not await self.db.xreadgroup("g", "bob", {"x": ">"}, block=30)
        assert await self.db.xlen("x") == 3

    async def resp3(self) -> None:
        # coredis asks for RESP3 always.
        assert int((await self.db.client_info())["resp"]) == 3
        await self.db.sadd("rs", ["m"])
        assert await self.db.smembers("rs") == {"m"}
        assert await self.db.eval("redis.setresp(3); return true") is True
        assert await self.db.eval("redis.setresp(3); return {double = 1.5}") == 1.5

    async def errors(self) -> None:
        await self.db.set("text", "v")
        with raises(exceptions.WrongTypeError, "Operation against a key holding the wrong kind of value"):
            await self.db.lpush("text", ["x"])
        with raises(exceptions.ResponseError, "Wrong number of args calling Redis command from script"):
            await self.db.eval("return redis.call('GET')")

    async def reconnect(self) -> None:
        await self.db.set("kept", "over the restart")
        await self.db.rpush("kept-list", ["a", "b"])
        restart()
        async with connected() as client:
            assert await client.get("kept") == "over the restart"
            assert list(await client.lrange("kept-list", 0, -1)) == ["a", "b"]


async def work() -> None:
    async with connected() as client:
        for _ in JOBS:
            _, job = await client.blpop(["jobs"], 10)
            await client.rpush("done", [f"did-{job}"])


async def main() -> int:
    library("coredis", coredis.__version__)
    report = Report()
    async with connected() as client:
        await client.flushall()
        checks = Checks(client)
        await report.check_async("connect", checks.connect)
        await report.check_async("auth", checks.auth)
        await report.check_async("wrong password error", checks.wrong_password)
        await report.check_async("select database isolation", checks.select_database)
        await report.check_async("strings", checks.strings)
        await report.check_async("counters", checks.counters)
        await report.check_async("binary-safe keys and values", checks.binary)
        await report.check_async("hashes", checks.hashes)
        await report.check_async("lists", checks.lists)
        await report.check_async("sets", checks.sets)
        await report.check_async("sorted sets", checks.sorted_sets)
        await report.check_async("expiry", checks.expiry)
        await report.check_async("pipeline of 10,000 commands", checks.pipeline)
        await report.check_async("MULTI/EXEC", checks.transaction)
        await report.check_async("WATCH conflict", checks.watch_conflict)
        await report.check_async("publish/subscribe message", checks.message)
        await report.check_async("publish/subscribe pattern", checks.pattern)
        await report.check_async("blocking pop queue between two processes", checks.queue)
        await report.check_async("blocking pop timeout", checks.blocking_timeout)
        await report.check_async("EVAL", checks.evaluate)
        await report.check_async("EVALSHA/NOSCRIPT", checks.evalsha)
        await report.check_async("SCAN loop", checks.scan)
        await report.check_async("streams with consumer group", checks.streams)
        await report.check_async("RESP3", checks.resp3)
        await report.check_async("errors", checks.errors)
        await report.check_async("reconnect after restart", checks.reconnect)
    return report.end()


if __name__ == "__main__":
    sys.exit(asyncio.run(work() if IS_WORKER else main()))
