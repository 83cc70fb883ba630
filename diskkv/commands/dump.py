"""DUMP and RESTORE: values in Redis' own serialized format."""

from __future__ import annotations

from diskkv.codec.rdb_payload import dump_payload, load_payload
from diskkv.codec.rdb_values import RdbError, RdbVersionError
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import operations
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import OK, bulk
from diskkv.services import notifications
from diskkv.services.client import Client


@command(
    "DUMP",
    arity=2,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="generic",
    since="2.6.0",
    complexity="O(N) where N is the size of the value.",
    syntax="key",
    tips=("nondeterministic_output",),
)
def dump(client: Client, argv: list[bytes]) -> bytes:
    """Return the value of a key in the format that RESTORE takes."""
    value = client.db.read(argv[1])
    if value is None:
        return client.null
    return bulk(dump_payload(operations.of(value).export(client.engine, value)))


def _parse_options(argv: list[bytes]) -> tuple[bool, bool]:
    """(replace, absolute time to live); IDLETIME and FREQ are checked and have no effect."""
    replace = absolute = False
    idle = frequency = -1
    at = 4
    while at < len(argv):
        option = argv[at].upper()
        has_more = at + 1 < len(argv)
        if option == b"REPLACE":
            replace = True
        elif option == b"ABSTTL":
            absolute = True
        elif option == b"IDLETIME" and has_more and frequency == -1:
            at += 1
            idle = parse_integer(argv[at])
            if idle < 0:
                raise CommandError(b"ERR Invalid IDLETIME value, must be >= 0")
        elif option == b"FREQ" and has_more and idle == -1:
            at += 1
            frequency = parse_integer(argv[at])
            if not 0 <= frequency <= 255:
                raise CommandError(b"ERR Invalid FREQ value, must be >= 0 and <= 255")
        else:
            raise CommandSyntaxError
        at += 1
    return replace, absolute


@command(
    "RESTORE",
    arity=-4,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.DANGEROUS,
    keys=KeySpec("OW update"),
    group="generic",
    since="2.6.0",
    complexity="O(N) where N is the size of the value.",
    syntax="key ttl serialized-value [REPLACE@3.0.0] [ABSTTL@5.0.0] [IDLETIME@5.0.0 seconds] [FREQ@5.0.0 frequency]",
)
def restore(client: Client, argv: list[bytes]) -> bytes:
    """Create a key from what DUMP returned."""
    key = argv[1]
    database = client.db
    replace, absolute = _parse_options(argv)
    old = database.get(key)
    if old is not None and not replace:
        raise CommandError(b"BUSYKEY Target key name already exists.")
    ttl_ms = parse_integer(argv[2])
    if ttl_ms < 0:
        raise CommandError(b"ERR Invalid TTL value, must be >= 0")
    try:
        content = load_payload(argv[3])
    except RdbVersionError:
        raise CommandError(b"ERR DUMP payload version or checksum are wrong") from None
    except RdbError:
        raise CommandError(b"ERR Bad data format") from None
    now_ms = client.engine.now_ms
    expire_ms = ttl_ms if absolute or not ttl_ms else now_ms + ttl_ms
    events = client.instance.notifications
    if expire_ms and expire_ms <= now_ms:
        if old is not None:
            database.delete(key, old)
            if events.enabled:
                events.event(notifications.GENERIC, b"del", key, database)
        return OK
    value = operations.load(client.engine, content, expire_ms)
    if value is None:
        raise CommandError(b"ERR Bad data format")
    database.put(key, value, old)
    if events.enabled:
        events.event(notifications.GENERIC, b"restore", key, database)
    return OK
