"""Which command groups the subject has to have, in one place.

A group in `DECLARED` must be supported whole (a test asserts it), and its test files are collected. A group that is not
declared yet must not be supported whole (the same test asserts it), so that nothing stays untested unnoticed. Against
another server than diskkv, every group is declared.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.harness.servers import subject_flavour


@dataclass(frozen=True)
class Group:
    """The commands of a group, and the test files of this directory that need it."""

    commands: str
    files: tuple[str, ...] = ()


GROUPS = {
    "string": Group(
        "APPEND DECR DECRBY GET GETDEL GETEX GETRANGE GETSET INCR INCRBY INCRBYFLOAT LCS MGET MSET MSETNX PSETEX SET "
        "SETEX SETNX SETRANGE STRLEN SUBSTR",
        ("test_strings.py", "test_examples_string.py"),
    ),
    "string-conditional": Group("MSETEX DELEX DIGEST", ("test_examples_conditional.py",)),
    "generic": Group(
        "COPY DEL DUMP EXISTS EXPIRE EXPIREAT EXPIRETIME KEYS MOVE OBJECT PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PTTL "
        "RANDOMKEY RENAME RENAMENX RESTORE SCAN TOUCH TTL TYPE UNLINK WAIT WAITAOF",
        ("test_generic.py", "test_examples_generic.py"),
    ),
    "connection": Group("AUTH CLIENT ECHO HELLO PING QUIT RESET SELECT", ("test_examples_connection.py",)),
    "server": Group(
        "BGREWRITEAOF BGSAVE COMMAND CONFIG DBSIZE DEBUG FLUSHALL FLUSHDB INFO LASTSAVE LATENCY LOLWUT MEMORY SAVE "
        "SHUTDOWN SLOWLOG SWAPDB TIME",
        ("test_examples_server.py",),
    ),
    "hash": Group(
        "HDEL HEXISTS HEXPIRE HEXPIREAT HEXPIRETIME HGET HGETALL HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET "
        "HMSET HPERSIST HPEXPIRE HPEXPIREAT HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSET HSETEX HSETNX HSTRLEN HTTL HVALS",
        ("test_hashes.py", "test_examples_hash.py"),
    ),
    "list": Group(
        "BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH LINDEX LINSERT LLEN LMOVE LMPOP LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET "
        "LTRIM RPOP RPOPLPUSH RPUSH RPUSHX",
        ("test_lists.py", "test_examples_list.py", "test_blocking.py"),
    ),
    "set": Group(
        "SADD SCARD SDIFF SDIFFSTORE SINTER SINTERCARD SINTERSTORE SISMEMBER SMEMBERS SMISMEMBER SMOVE SPOP "
        "SRANDMEMBER SREM SSCAN SUNION SUNIONSTORE",
        ("test_sets.py", "test_examples_set.py"),
    ),
    "sorted-set": Group(
        "BZMPOP BZPOPMAX BZPOPMIN ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY ZINTER ZINTERCARD ZINTERSTORE ZLEXCOUNT "
        "ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK ZREM "
        "ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN "
        "ZSCORE ZUNION ZUNIONSTORE",
        ("test_sorted_sets.py", "test_examples_sorted_set.py"),
    ),
    "sort": Group("SORT SORT_RO", ("test_examples_sort.py",)),
    "stream": Group(
        "XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XINFO XLEN XPENDING XRANGE XREAD XREADGROUP XREVRANGE XSETID XTRIM",
        ("test_streams.py", "test_examples_stream.py"),
    ),
    "bitmap": Group("BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS GETBIT SETBIT", ("test_bitmaps.py",)),
    "hyperloglog": Group("PFADD PFCOUNT PFMERGE PFDEBUG PFSELFTEST", ("test_hyperloglogs.py",)),
    "geo": Group(
        "GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH "
        "GEOSEARCHSTORE",
        ("test_geo.py",),
    ),
    "transactions": Group(
        "DISCARD EXEC MULTI UNWATCH WATCH", ("test_transactions.py", "test_examples_transactions.py")
    ),
    "scripting": Group(
        "EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO FUNCTION SCRIPT",
        ("test_scripting.py", "test_examples_scripting.py", "test_examples_script_calls.py"),
    ),
    "pubsub": Group(
        "PSUBSCRIBE PUBLISH PUBSUB PUNSUBSCRIBE SPUBLISH SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE UNSUBSCRIBE",
        ("test_pubsub.py", "test_examples_pubsub.py"),
    ),
}

DISKKV_HAS = frozenset(
    {
        "bitmap",
        "connection",
        "generic",
        "geo",
        "hash",
        "hyperloglog",
        "list",
        "pubsub",
        "scripting",
        "server",
        "set",
        "sort",
        "sorted-set",
        "stream",
        "string",
        "string-conditional",
        "transactions",
    }
)

# What Redis 8.2 lacks is tested against Valkey and the documentation, and only when diskkv is the subject.
_NOT_IN_REFERENCE = frozenset({"string-conditional"})


def declared() -> frozenset[str]:
    """The groups that the subject of this run must have."""
    if subject_flavour().is_diskkv:
        return DISKKV_HAS
    return frozenset(GROUPS) - _NOT_IN_REFERENCE


def files_not_collected() -> list[str]:
    """The test files of groups that are not declared."""
    return [file for name, group in GROUPS.items() if name not in declared() for file in group.files]
