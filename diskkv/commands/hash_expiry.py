"""Fields of hashes with a time to live of their own: HEXPIRE, HTTL, HPERSIST, HGETEX, HSETEX, HGETDEL and relatives.

The times to live of HGETEX and HSETEX follow the same rules as those of HEXPIRE: zero means at once, at most
MAX_EXPIRE_MS.
"""

from __future__ import annotations

from collections.abc import Callable

from diskkv.codec.header import Header
from diskkv.codec.numbers import parse_int64
from diskkv.commands.hash import get_hash, notify, read_hash
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import hashes
from diskkv.datatypes.hashes_edit import HashEdit
from diskkv.errors import CommandError, NotIntegerError
from diskkv.resp.reply import ONE, ZERO, integers, optional_bulks
from diskkv.services.client import Client

MAX_EXPIRE_MS = (1 << 46) - 1
"""The latest expiry of a field (absolute ms), as in Redis."""

_MISSING = -2
_NO_EXPIRY = -1
_NOT_MET = 0
_DONE = 1
_DELETED = 2
_CONDITIONS = (b"NX", b"XX", b"GT", b"LT")
_UNITS = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}
_WRONG_PLACE = b"ERR Mandatory argument FIELDS is missing or not at the right position"
_WRONG_COUNT = b"ERR The `numfields` parameter must match the number of arguments"
_FIELDS = "FIELDS numfields field [field ...]"
_EXPIRE_SYNTAX = f"[NX | XX | GT | LT] {_FIELDS}"
_EXPIRATION = "EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds"
_EXPIRE_FLAGS = Flag.WRITE | Flag.FAST
_EXPIRE_KEYS = KeySpec("RW update")
_TIME_FLAGS = Flag.READONLY | Flag.FAST
_TIME_KEYS = KeySpec("RO access")
_PER_FIELD = "O(N) where N is the number of fields that are named."


# ---- arguments


def _parse_fields(
    argv: list[bytes], at: int, wrong_number: bytes = b"ERR Number of fields must be a positive integer"
) -> list[bytes]:
    """The fields of ``FIELDS numfields field ...``, which has to begin at `at` and take the rest of the arguments."""
    if argv[at].upper() != b"FIELDS":
        raise CommandError(_WRONG_PLACE)
    try:
        count = parse_int64(argv[at + 1]) if at + 1 < len(argv) else 0
    except ValueError:
        count = 0
    if count < 1:
        raise CommandError(wrong_number)
    if count != len(argv) - at - 2:
        raise CommandError(_WRONG_COUNT)
    return argv[at + 2 :]


def _parse_time(client: Client, text: bytes, unit_ms: int, relative: bool, name: bytes) -> int:
    """An absolute time in ms. Raises Redis' errors."""
    try:
        number = parse_int64(text)
    except ValueError:
        raise NotIntegerError from None
    if number < 0:
        raise CommandError(b"ERR invalid expire time, must be >= 0")
    at_ms = number * unit_ms + (client.engine.now_ms if relative else 0)
    if at_ms > MAX_EXPIRE_MS:
        raise CommandError(b"ERR invalid expire time in '%b' command" % name)
    return at_ms


# ---- HEXPIRE and its relatives


def _expire(client: Client, argv: list[bytes], unit_ms: int, relative: bool, name: bytes) -> bytes:
    key = argv[1]
    old = get_hash(client, key)
    at_ms = _parse_time(client, argv[2], unit_ms, relative, name)
    condition = argv[3].upper()
    at = 3
    if condition in _CONDITIONS:
        at = 4
    else:
        condition = b""
    fields = _parse_fields(argv, at, b"ERR Parameter `numFields` should be greater than 0")
    if old is None:
        return integers([_MISSING] * len(fields))
    edit = HashEdit(client.db, key, old)
    is_past = at_ms <= client.engine.now_ms
    results = [_expire_field(edit, field, at_ms, condition, is_past) for field in fields]
    _save_expiry(client, key, old, edit, _DONE in results, _DELETED in results)
    return integers(results)


def _expire_field(edit: HashEdit, field: bytes, at_ms: int, condition: bytes, is_past: bool) -> int:
    found = edit.get(field)
    if found is None:
        return _MISSING
    value, current_ms = found
    if condition and not _holds(condition, current_ms, at_ms):
        return _NOT_MET
    if is_past:
        edit.delete(field)
        return _DELETED
    edit.put(field, value, at_ms)
    return _DONE


def _holds(condition: bytes, current_ms: int, at_ms: int) -> bool:
    """Whether a condition allows the new time; a field without one counts as living forever, except for XX."""
    if condition == b"NX":
        return not current_ms
    if condition == b"XX":
        return current_ms > 0
    if condition == b"GT":
        return 0 < current_ms < at_ms
    return not current_ms or at_ms < current_ms


def _save_expiry(
    client: Client, key: bytes, old: Header, edit: HashEdit, changed: bool, deleted: bool, event: bytes = b"hexpire"
) -> None:
    """Stage what a command did to the times of fields, and publish it."""
    if not changed and not deleted and (old.raw or old.value is None):
        return
    edit.mark_timed()
    exists = edit.save()
    if changed:
        notify(client, event, key)
    if deleted:
        notify(client, b"hdel", key, exists)


@command("HEXPIRE", arity=-6, flags=_EXPIRE_FLAGS, keys=_EXPIRE_KEYS, group="hash", since="7.4.0",
         complexity=_PER_FIELD, syntax=f"key seconds {_EXPIRE_SYNTAX}")  # fmt: skip
def hexpire(client: Client, argv: list[bytes]) -> bytes:
    """Let fields of a hash live for so many seconds from now."""
    return _expire(client, argv, 1000, True, b"hexpire")


@command("HPEXPIRE", arity=-6, flags=_EXPIRE_FLAGS, keys=_EXPIRE_KEYS, group="hash", since="7.4.0",
         complexity=_PER_FIELD, syntax=f"key milliseconds {_EXPIRE_SYNTAX}")  # fmt: skip
def hpexpire(client: Client, argv: list[bytes]) -> bytes:
    """Let fields of a hash live for so many milliseconds from now."""
    return _expire(client, argv, 1, True, b"hpexpire")


@command("HEXPIREAT", arity=-6, flags=_EXPIRE_FLAGS, keys=_EXPIRE_KEYS, group="hash", since="7.4.0",
         complexity=_PER_FIELD, syntax=f"key unix-time-seconds {_EXPIRE_SYNTAX}")  # fmt: skip
def hexpireat(client: Client, argv: list[bytes]) -> bytes:
    """Let fields of a hash live until a Unix time in seconds."""
    return _expire(client, argv, 1000, False, b"hexpireat")


@command("HPEXPIREAT", arity=-6, flags=_EXPIRE_FLAGS, keys=_EXPIRE_KEYS, group="hash", since="7.4.0",
         complexity=_PER_FIELD, syntax=f"key unix-time-milliseconds {_EXPIRE_SYNTAX}")  # fmt: skip
def hpexpireat(client: Client, argv: list[bytes]) -> bytes:
    """Let fields of a hash live until a Unix time in milliseconds."""
    return _expire(client, argv, 1, False, b"hpexpireat")


# ---- HTTL and its relatives


def _times(client: Client, argv: list[bytes], shown: Callable[[int], int]) -> bytes:
    header = read_hash(client, argv[1])
    fields = _parse_fields(argv, 2)
    if header is None:
        return integers([_MISSING] * len(fields))
    engine = client.engine
    found = [hashes.expiry(engine, header, field) for field in fields]
    return integers([_MISSING if at_ms is None else shown(at_ms) if at_ms else _NO_EXPIRY for at_ms in found])


@command("HTTL", arity=-5, flags=_TIME_FLAGS, keys=_TIME_KEYS, group="hash", since="7.4.0", complexity=_PER_FIELD,
         syntax=f"key {_FIELDS}", tips=("nondeterministic_output",))  # fmt: skip
def httl(client: Client, argv: list[bytes]) -> bytes:
    """Tell how many seconds fields of a hash have left."""
    now_ms = client.engine.now_ms
    return _times(client, argv, lambda at_ms: (at_ms - now_ms + 999) // 1000)


@command("HPTTL", arity=-5, flags=_TIME_FLAGS, keys=_TIME_KEYS, group="hash", since="7.4.0", complexity=_PER_FIELD,
         syntax=f"key {_FIELDS}", tips=("nondeterministic_output",))  # fmt: skip
def hpttl(client: Client, argv: list[bytes]) -> bytes:
    """Tell how many milliseconds fields of a hash have left."""
    now_ms = client.engine.now_ms
    return _times(client, argv, lambda at_ms: at_ms - now_ms)


@command("HEXPIRETIME", arity=-5, flags=_TIME_FLAGS, keys=_TIME_KEYS, group="hash", since="7.4.0",
         complexity=_PER_FIELD, syntax=f"key {_FIELDS}")  # fmt: skip
def hexpiretime(client: Client, argv: list[bytes]) -> bytes:
    """Tell the Unix times in seconds at which fields of a hash expire."""
    return _times(client, argv, lambda at_ms: (at_ms + 999) // 1000)


@command("HPEXPIRETIME", arity=-5, flags=_TIME_FLAGS, keys=_TIME_KEYS, group="hash", since="7.4.0",
         complexity=_PER_FIELD, syntax=f"key {_FIELDS}")  # fmt: skip
def hpexpiretime(client: Client, argv: list[bytes]) -> bytes:
    """Tell the Unix times in milliseconds at which fields of a hash expire."""
    return _times(client, argv, lambda at_ms: at_ms)


@command("HPERSIST", arity=-5, flags=_EXPIRE_FLAGS, keys=_EXPIRE_KEYS, group="hash", since="7.4.0",
         complexity=_PER_FIELD, syntax=f"key {_FIELDS}")  # fmt: skip
def hpersist(client: Client, argv: list[bytes]) -> bytes:
    """Take the time to live away from fields of a hash."""
    key = argv[1]
    old = get_hash(client, key)
    fields = _parse_fields(argv, 2)
    if old is None:
        return integers([_MISSING] * len(fields))
    edit = HashEdit(client.db, key, old)
    results = [_persist_field(edit, field) for field in fields]
    if _DONE in results:
        edit.save()
        notify(client, b"hpersist", key)
    return integers(results)


def _persist_field(edit: HashEdit, field: bytes) -> int:
    found = edit.get(field)
    if found is None:
        return _MISSING
    value, current_ms = found
    if not current_ms:
        return _NO_EXPIRY
    edit.put(field, value)
    return _DONE


# ---- values and times together


@command("HGETDEL", arity=-5, flags=_EXPIRE_FLAGS, keys=KeySpec("RW access delete"), group="hash", since="8.0.0",
         complexity=_PER_FIELD, syntax=f"key {_FIELDS}")  # fmt: skip
def hgetdel(client: Client, argv: list[bytes]) -> bytes:
    """Return the values of fields of a hash and delete them."""
    key = argv[1]
    old = get_hash(client, key)
    fields = _parse_fields(argv, 2)
    if old is None:
        return optional_bulks([None] * len(fields), client.resp)
    edit = HashEdit(client.db, key, old)
    values: list[bytes | None] = []
    deleted = False
    for field in fields:
        found = edit.get(field)
        values.append(None if found is None else found[0])
        if found is not None:
            deleted = True
            edit.delete(field)
    if deleted:
        notify(client, b"hdel", key, edit.save())
    return optional_bulks(values, client.resp)


@command("HGETEX", arity=-5, flags=_EXPIRE_FLAGS,
         keys=KeySpec("RW access update", notes="RW and UPDATE because it changes the TTL"),
         group="hash", since="8.0.0", complexity=_PER_FIELD,
         syntax=f"key [{_EXPIRATION} | PERSIST] {_FIELDS}")  # fmt: skip
def hgetex(client: Client, argv: list[bytes]) -> bytes:
    """Return the values of fields of a hash and set or remove their time to live."""
    key = argv[1]
    old = get_hash(client, key)
    option = argv[2].upper()
    at_ms: int | None = None
    at = 2
    if option in _UNITS:
        at_ms = _parse_time(client, argv[3], *_UNITS[option], b"hgetex")
        at = 4
    elif option == b"PERSIST":
        at = 3
    if len(argv) < at + 2:
        raise CommandError(b"ERR wrong number of arguments for 'hgetex' command")
    fields = _parse_fields(argv, at)
    if old is None:
        return optional_bulks([None] * len(fields), client.resp)
    if at == 2:
        return optional_bulks([hashes.get(client.engine, old, field) for field in fields], client.resp)
    edit = HashEdit(client.db, key, old)
    is_past = at_ms is not None and at_ms <= client.engine.now_ms
    values: list[bytes | None] = []
    results = []
    for field in fields:
        found = edit.get(field)
        values.append(None if found is None else found[0])
        if at_ms is None:
            results.append(_persist_field(edit, field))
        else:
            results.append(_expire_field(edit, field, at_ms, b"", is_past))
    event = b"hpersist" if at_ms is None else b"hexpire"
    _save_expiry(client, key, old, edit, _DONE in results, _DELETED in results, event)
    return optional_bulks(values, client.resp)


class _SetOptions:
    """The arguments of HSETEX. `at_ms` is None without an expiry, `pairs` alternates fields and values."""

    __slots__ = ("at_ms", "condition", "keep_ttl", "pairs")

    def __init__(self, client: Client, argv: list[bytes]) -> None:
        self.condition = b""
        self.at_ms: int | None = None
        self.keep_ttl = False
        at = 2
        while at < len(argv):
            option = argv[at].upper()
            if option in (b"FNX", b"FXX"):
                if self.condition:
                    raise CommandError(b"ERR Only one of FXX or FNX arguments can be specified")
                self.condition = option
                at += 1
            elif option == b"KEEPTTL" or option in _UNITS:
                if self.keep_ttl or self.at_ms is not None:
                    raise CommandError(
                        b"ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
                    )
                self.keep_ttl = option == b"KEEPTTL"
                if not self.keep_ttl:
                    at += 1
                    self.at_ms = _parse_time(client, argv[at], *_UNITS[option], b"hsetex")
                at += 1
            elif option == b"FIELDS":
                self.pairs = _parse_pairs(argv, at)
                return
            else:
                raise CommandError(b"ERR unknown argument: " + argv[at].partition(b"\0")[0])
        raise CommandError(_WRONG_PLACE)


def _parse_pairs(argv: list[bytes], at: int) -> list[bytes]:
    wrong_arity = b"ERR wrong number of arguments for 'hsetex' command"
    if at + 1 >= len(argv):
        raise CommandError(wrong_arity)
    try:
        count = parse_int64(argv[at + 1])
    except ValueError:
        count = 0
    if not 0 < count < 1 << 31:
        raise CommandError(b"ERR invalid number of fields")
    if 2 * count != len(argv) - at - 2:
        raise CommandError(wrong_arity)
    return argv[at + 2 :]


@command("HSETEX", arity=-6, flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST, keys=_EXPIRE_KEYS, group="hash",
         since="8.0.0", complexity=_PER_FIELD,
         syntax=f"key [FNX | FXX] [{_EXPIRATION} | KEEPTTL] "
         "fields={FIELDS numfields data={field value [field value ...]}}")  # fmt: skip
def hsetex(client: Client, argv: list[bytes]) -> bytes:
    """Set fields of a hash with a time to live, if all or none of them exist."""
    options = _SetOptions(client, argv)
    key = argv[1]
    pairs = options.pairs
    old = get_hash(client, key)
    if options.condition:
        engine = client.engine
        wanted = options.condition == b"FXX"
        for field in pairs[::2]:
            if (old is not None and hashes.get(engine, old, field) is not None) != wanted:
                return ZERO
    edit = HashEdit(client.db, key, old)
    edit.expect(pairs)
    at_ms = options.at_ms
    for at in range(0, len(pairs), 2):
        field_ms = at_ms or 0
        if options.keep_ttl:
            found = edit.get(pairs[at])
            field_ms = 0 if found is None else found[1]
        edit.put(pairs[at], pairs[at + 1], field_ms)
    if at_ms is not None:
        edit.mark_timed()
    is_past = at_ms is not None and at_ms <= client.engine.now_ms
    if is_past:
        for field in pairs[::2]:
            edit.delete(field)
    exists = edit.save()
    if old is None and not exists and client.engine.on_new is not None:
        # The key came and went at once, so that the database never saw it.
        client.engine.on_new(client.db, key)
    _publish_set(client, key, at_ms is not None, is_past, exists)
    return ONE


def _publish_set(client: Client, key: bytes, expires: bool, is_past: bool, exists: bool) -> None:
    if not client.instance.notifications.enabled:
        return
    notify(client, b"hset", key)
    if is_past:
        notify(client, b"hdel", key, exists)
    elif expires:
        notify(client, b"hexpire", key)
