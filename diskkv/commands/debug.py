"""DEBUG: for the test suites of clients, and for looking at what goes on. Off by default (enable-debug-command)."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from diskkv.codec.header import Header, Value, value_type
from diskkv.codec.numbers import parse_float, parse_int64
from diskkv.codec.rdb_values import StringValue
from diskkv.commands.help import help_reply
from diskkv.commands.registry import Flag, command
from diskkv.datatypes import operations
from diskkv.errors import CommandError, NotIntegerError
from diskkv.resp import reply
from diskkv.resp.reply import OK, array, bulk, integer, integers, simple
from diskkv.services.client import Client
from diskkv.services.dataset_digest import EMPTY, dataset_digest, value_digest

log = logging.getLogger(__name__)

Handler = Callable[[Client, list[bytes]], bytes]

_NOT_ALLOWED = (
    b'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local '
    b"connection, otherwise you need to set this option in the configuration file, and then restart the server."
)
_MAX_SLEEP_S = 3600.0


@command("DEBUG", arity=-2, flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE, group="server",
         since="1.0.0", complexity="Depends on subcommand.")  # fmt: skip
def debug(client: Client, argv: list[bytes]) -> bytes:
    """A container for debugging commands."""
    allowed = client.instance.config.enable_debug_command
    if allowed == "no" or (allowed == "local" and not client.is_local):
        raise CommandError(_NOT_ALLOWED)
    found = _SUBCOMMANDS.get(argv[1].upper())
    if found is not None:
        handler, least, most = found
        if least <= len(argv) - 2 <= most:
            return handler(client, argv)
    raise CommandError(b"ERR unknown subcommand or wrong number of arguments for '%b'. Try DEBUG HELP." % argv[1][:128])


def _help(client: Client, argv: list[bytes]) -> bytes:
    return help_reply(
        "DEBUG",
        "CHANGE-REPL-ID",
        "    Accepted; there is no replication.",
        "DICT-RESIZING <0|1>, PAUSE-CRON <0|1>, QUICKLIST-PACKED-THRESHOLD <size>, REPLYBUFFER <option> <value>,",
        "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
        "    Accepted; they concern internals of Redis.",
        "DIGEST",
        "    A digest of all data, equal to that of a Redis server with the same data.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    The digests of values.",
        "ERROR <message>",
        "    Answer with an error.",
        "LOADAOF",
        "    As RELOAD.",
        "LOG <message>",
        "    Write a line to the log.",
        "OBJECT <key>",
        "    How a value is stored.",
        "PANIC",
        "    End the server as a bug outside of any command would.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Make string keys <prefix>:<number>, where they are missing.",
        "PROTOCOL <type>",
        "    Answer with a reply of a type: string, integer, double, bignum, null, array, set, map, attrib, push,",
        "    verbatim, true, false.",
        "RELOAD",
        "    Close and open the store, with empty caches.",
        "SDSLEN <key>",
        "    The lengths of a key and of its string.",
        "SEGFAULT",
        "    End the server by a fatal signal.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Whether expired keys are deleted in the background.",
        "SLEEP <seconds>",
        "    Do nothing for a while; nobody is served meanwhile.",
    )


def _accept(client: Client, argv: list[bytes]) -> bytes:
    """What concerns internals that do not exist here."""
    return OK


def _sleep(client: Client, argv: list[bytes]) -> bytes:
    try:
        seconds = parse_float(argv[2])
    except ValueError:
        seconds = 0.0
    if seconds > 0:
        time.sleep(min(seconds, _MAX_SLEEP_S))
    return OK


def _set_active_expire(client: Client, argv: list[bytes]) -> bytes:
    client.instance.active_expire = _number(argv[2]) != 0
    return OK


def _number(text: bytes) -> int:
    """An integer as C's atoi reads it: 0 when it is none."""
    try:
        return parse_int64(text)
    except ValueError:
        return 0


def _existing(client: Client, key: bytes) -> Value:
    value = client.db.get(key)
    if value is None:
        raise CommandError(b"ERR no such key")
    return value


def _object(client: Client, argv: list[bytes]) -> bytes:
    value = _existing(client, argv[2])
    engine = client.engine
    kind = operations.of(value)
    oid = value.oid if isinstance(value, Header) else 0
    size_bytes = kind.memory_bytes(engine, value, 0)
    clock_s = (engine.now_ms // 1000) & 0xFFFFFF
    return simple(
        b"Value at:0x%012x refcount:1 encoding:%b serializedlength:%d lru:%d lru_seconds_idle:0 type:%d rows:%d"
        % (oid, kind.encoding(engine, value), size_bytes, clock_s, value_type(value), bool(oid))
    )


def _sdslen(client: Client, argv: list[bytes]) -> bytes:
    value = _existing(client, argv[2])
    content = operations.of(value).export(client.engine, value)
    if not isinstance(content, StringValue):
        raise CommandError(b"ERR Not an sds encoded string.")
    key_size, size = len(argv[2]), len(content.data)
    return simple(
        b"key_sds_len:%d, key_sds_avail:0, key_zmalloc: %d, val_sds_len:%d, val_sds_avail:0, val_zmalloc: %d"
        % (key_size, key_size, size, size)
    )


def _digest(client: Client, argv: list[bytes]) -> bytes:
    return simple(dataset_digest(client.engine).hex().encode())


def _digest_value(client: Client, argv: list[bytes]) -> bytes:
    values = [client.db.get(key) for key in argv[2:]]
    digests = [EMPTY if value is None else value_digest(client.engine, value) for value in values]
    return array([simple(digest.hex().encode()) for digest in digests])


def _reload(client: Client, argv: list[bytes]) -> bytes:
    if client.transaction is not None:
        raise CommandError(b"ERR DEBUG RELOAD is not allowed inside a transaction")
    client.instance.reload()
    log.info("store closed and opened again by DEBUG RELOAD")
    return OK


def _error(client: Client, argv: list[bytes]) -> bytes:
    return b"-%b\r\n" % argv[2].replace(b"\r", b" ").replace(b"\n", b" ")


class Panic(BaseException):
    """What DEBUG PANIC raises: nothing below the server's main function catches it."""


def _panic(client: Client, argv: list[bytes]) -> bytes:
    raise Panic


def _segfault(client: Client, argv: list[bytes]) -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return OK


def _log(client: Client, argv: list[bytes]) -> bytes:
    log.warning("DEBUG LOG: %s", argv[2].decode("utf-8", "backslashreplace"))
    return OK


def _populate(client: Client, argv: list[bytes]) -> bytes:
    try:
        count = parse_int64(argv[2])
    except ValueError:
        raise CommandError(b"ERR value is out of range, must be positive") from None
    if count < 0:
        raise CommandError(b"ERR value is out of range, must be positive")
    prefix = argv[3] if len(argv) > 3 else b"key"
    size = 0
    if len(argv) > 4:
        try:
            size = parse_int64(argv[4])
        except ValueError:
            raise NotIntegerError from None
        if not 0 <= size <= client.instance.config.proto_max_bulk_len:
            raise CommandError(b"ERR value is out of range, must be positive")
    database = client.db
    for number in range(count):
        key = b"%b:%d" % (prefix, number)
        if database.get(key) is None:
            value = b"value:%d" % number
            database.put(key, value[:size].ljust(size, b"\0") if size else value, None)
    return OK


_PROTOCOL_NAMES = "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"


def _protocol(client: Client, argv: list[bytes]) -> bytes:
    resp = client.resp
    name = argv[2].lower()
    if name == b"map":
        return reply.map_of([(integer(at), reply.boolean(at == 1, resp)) for at in range(3)], resp)
    if name == b"attrib":
        text = bulk(b"Some real reply following the attribute")
        extra = array([bulk(b"key:123"), integer(90)])
        return b"|1\r\n%b%b%b" % (bulk(b"key-popularity"), extra, text) if resp == 3 else text
    if name == b"push":
        if resp == 2:
            raise CommandError(b"ERR RESP2 is not supported by this command")
        text = bulk(b"Some real reply following the push reply")
        return text + reply.push([bulk(b"server-cpu-usage"), integer(42)], resp)
    simple_replies = {
        b"string": bulk(b"Hello World"),
        b"integer": integer(12345),
        b"double": reply.double(3.141, resp),
        b"bignum": reply.big_number(1234567999999999999999999999999999999, resp),
        b"null": client.null,
        b"array": integers(range(3)),
        b"set": reply.set_of([integer(at) for at in range(3)], resp),
        b"verbatim": reply.verbatim(b"This is a verbatim\nstring", resp),
        b"true": reply.boolean(True, resp),
        b"false": reply.boolean(False, resp),
    }
    if name not in simple_replies:
        raise CommandError(f"ERR Wrong protocol type name. Please use one of the following: {_PROTOCOL_NAMES}")
    return simple_replies[name]


_ANY = 1 << 20
_SUBCOMMANDS: dict[bytes, tuple[Handler, int, int]] = {
    b"HELP": (_help, 0, 0),
    b"CHANGE-REPL-ID": (_accept, 0, 0),
    b"DICT-RESIZING": (_accept, 1, 1),
    b"DIGEST": (_digest, 0, 0),
    b"DIGEST-VALUE": (_digest_value, 0, _ANY),
    b"ERROR": (_error, 1, 1),
    b"LOADAOF": (_reload, 0, 0),
    b"LOG": (_log, 1, 1),
    b"OBJECT": (_object, 1, 1),
    b"PANIC": (_panic, 0, 0),
    b"PAUSE-CRON": (_accept, 1, 1),
    b"POPULATE": (_populate, 1, 3),
    b"PROTOCOL": (_protocol, 1, 1),
    b"QUICKLIST-PACKED-THRESHOLD": (_accept, 1, 1),
    b"RELOAD": (_reload, 0, 3),
    b"REPLYBUFFER": (_accept, 2, 2),
    b"SDSLEN": (_sdslen, 1, 1),
    b"SEGFAULT": (_segfault, 0, 0),
    b"SET-ACTIVE-EXPIRE": (_set_active_expire, 1, 1),
    b"SET-SKIP-CHECKSUM-VALIDATION": (_accept, 1, 1),
    b"SLEEP": (_sleep, 1, 1),
}
"""Each subcommand with the least and the greatest number of its arguments."""
