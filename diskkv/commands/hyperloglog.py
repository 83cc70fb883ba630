"""The HyperLogLog group (https://redis.io/docs/latest/commands/?group=hyperloglog)."""

from __future__ import annotations

from collections.abc import Callable

from diskkv.codec import hyperloglog
from diskkv.codec.header import Header, Value
from diskkv.commands.bitmap import get_string, read_string
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import strings
from diskkv.errors import CommandError
from diskkv.resp.reply import OK, ONE, ZERO, bulk, integer, integers, simple
from diskkv.services import notifications
from diskkv.services.client import Client


def _content(
    client: Client, key: bytes, find: Callable[[Client, bytes], Value | None] = read_string
) -> tuple[Value | None, bytes | None]:
    """The value at a key, and its bytes checked to be a HyperLogLog. Raises WRONGTYPE."""
    value = find(client, key)
    if value is None:
        return None, None
    data = strings.read(client.engine, value)
    hyperloglog.check(data)
    return value, data


def _store(client: Client, key: bytes, data: bytes, old: Value | None) -> None:
    expire_ms = old.expire_ms if isinstance(old, Header) else 0
    client.db.put(key, strings.make(client.engine, data, expire_ms, raw=True), old)


def _notify(client: Client, key: bytes) -> None:
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STRING, b"pfadd", key, client.db)


@command("PFADD", arity=-2, flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST, keys=KeySpec("RW insert"),
         group="hyperloglog", since="2.8.9", complexity="O(1) for each element.",
         syntax="key [element [element ...]]")  # fmt: skip
def pfadd(client: Client, argv: list[bytes]) -> bytes:
    """Add elements to a HyperLogLog."""
    key = argv[1]
    old, data = _content(client, key, get_string)
    result, changed = hyperloglog.add(data, argv[2:], client.instance.config.hll_sparse_max_bytes)
    if not changed:
        return ZERO
    _store(client, key, result, old)
    _notify(client, key)
    return ONE


_COUNT_NOTES = "RW because it may change the internal representation of the key, and propagate to replicas"


@command("PFCOUNT", arity=-2, flags=Flag.READONLY | Flag.MAY_REPLICATE,
         keys=KeySpec("RW access", last=-1, notes=_COUNT_NOTES), group="hyperloglog", since="2.8.9",
         complexity="O(1) for one key, O(N) for N keys.", syntax="key [key ...]")  # fmt: skip
def pfcount(client: Client, argv: list[bytes]) -> bytes:
    """Estimate how many different elements were added to one or several HyperLogLogs together."""
    if len(argv) > 2:
        found = [data for _, data in (_content(client, key) for key in argv[1:]) if data is not None]
        return integer(hyperloglog.count_union(found))
    old, data = _content(client, argv[1])
    if data is None:
        return ZERO
    cardinality, result = hyperloglog.count(data)
    if result is not data:
        _store(client, argv[1], result, old)
    return integer(cardinality)


@command("PFMERGE", arity=-2, flags=Flag.WRITE | Flag.DENYOOM,
         keys=(KeySpec("RW access insert"), KeySpec("RO access", begin=2, last=-1)), group="hyperloglog",
         since="2.8.9", complexity="O(N) to merge N HyperLogLogs.",
         syntax="destkey [sourcekey [sourcekey ...]]")  # fmt: skip
def pfmerge(client: Client, argv: list[bytes]) -> bytes:
    """Merge HyperLogLogs into one."""
    old, destination = _content(client, argv[1])
    sources = [data for _, data in (_content(client, key) for key in argv[2:]) if data is not None]
    result = hyperloglog.merge(destination, sources, client.instance.config.hll_sparse_max_bytes)
    _store(client, argv[1], result, old)
    _notify(client, argv[1])
    return OK


@command("PFDEBUG", arity=3, flags=Flag.WRITE | Flag.DENYOOM | Flag.ADMIN, keys=KeySpec("RW access", begin=2),
         group="hyperloglog", since="2.8.9", complexity="N/A", syntax="subcommand key",
         tips=(),)  # fmt: skip
def pfdebug(client: Client, argv: list[bytes]) -> bytes:
    """Look inside a HyperLogLog, for tests."""
    key = argv[2]
    name = argv[1].upper()
    old, data = _content(client, key, get_string)
    if data is None:
        raise CommandError(b"ERR The specified key does not exist")
    if name == b"ENCODING":
        return simple(hyperloglog.encoding(data).encode())
    if name == b"DECODE":
        return bulk(hyperloglog.describe_opcodes(data).encode())
    if name not in (b"GETREG", b"TODENSE"):
        raise CommandError(b"ERR Unknown PFDEBUG subcommand '%b'" % argv[1])
    dense = hyperloglog.to_dense(data)
    if dense is not data:
        _store(client, key, dense, old)
    if name == b"TODENSE":
        return ZERO if dense is data else ONE
    return integers(list(hyperloglog.registers(dense)))


@command("PFSELFTEST", arity=1, flags=Flag.ADMIN, group="hyperloglog", since="2.8.9", complexity="N/A")
def pfselftest(client: Client, argv: list[bytes]) -> bytes:
    """Check the implementation of HyperLogLogs."""
    hyperloglog.self_test()
    return OK
