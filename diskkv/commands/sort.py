"""SORT and SORT_RO.

Source: https://redis.io/docs/latest/commands/sort/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from diskkv.codec.header import SET, Value, value_type
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import ORIGINAL, Flag, KeySpec, command
from diskkv.datatypes import lists, sorting
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import ZERO, integer, optional_bulks
from diskkv.services import notifications
from diskkv.services.client import Client

_BY_DENIED = b"ERR BY option of SORT denied due to insufficient ACL permissions."
_GET_DENIED = b"ERR GET option of SORT denied due to insufficient ACL permissions."
_OPERANDS = {b"LIMIT": 2, b"BY": 1, b"GET": 1, b"STORE": 1}
_BY_GET_SPEC = KeySpec(
    "RO access",
    unknown=True,
    notes="For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of "
    "the key we sort",
)
_STORE_SPEC = KeySpec(
    "OW update",
    unknown=True,
    notes="For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the "
    "argument array",
)
_COMPLEXITY = (
    "O(N+M*log(M)) where N is the number of elements and M that of elements returned, plus a lookup for each element "
    "and pattern; only the elements returned are read when nothing is sorted."
)
_SYNTAX = (
    "key [BY by-pattern=pattern#1] [LIMIT offset count] [GET get-pattern=pattern#1 [GET pattern ...]] [ASC | DESC]"
    " [ALPHA]"
)


@dataclass(slots=True)
class _Options:
    order: sorting.Order = field(default_factory=sorting.Order)
    patterns: list[bytes] = field(default_factory=list)
    target: bytes | None = None


def _parse_options(client: Client, argv: list[bytes], read_only: bool) -> _Options:
    options = _Options()
    order = options.order
    at = 2
    while at < len(argv):
        option = argv[at].upper()
        operands = _OPERANDS.get(option, 0)
        if at + operands >= len(argv):
            raise CommandSyntaxError
        if option in (b"ASC", b"DESC"):
            order.descending = option == b"DESC"
        elif option == b"ALPHA":
            order.alpha = True
        elif option == b"LIMIT":
            order.offset, order.limit = parse_integer(argv[at + 1]), parse_integer(argv[at + 2])
        elif option == b"STORE" and not read_only:
            options.target = argv[at + 1]
        elif option == b"BY":
            pattern = argv[at + 1]
            if b"*" not in pattern:
                order.nosort = True
            else:
                _require_all_keys(client, argv, _BY_DENIED)
                order.weight_of = sorting.lookup_of(client.db, pattern)
        elif option == b"GET":
            _require_all_keys(client, argv, _GET_DENIED)
            options.patterns.append(argv[at + 1])
        else:
            raise CommandSyntaxError
        at += 1 + operands
    return options


def _require_all_keys(client: Client, argv: list[bytes], message: bytes) -> None:
    """Patterns can reach any key, so only those may use them who may read every key."""
    user = client.user
    if user.unrestricted:
        return
    entry = ORIGINAL[argv[0].decode("latin-1").lower()]
    if not user.decide(entry, ORIGINAL).always:
        raise CommandError(message)


def _sort(client: Client, argv: list[bytes], read_only: bool) -> bytes:
    options = _parse_options(client, argv, read_only)
    order = options.order
    database = client.db
    value = database.read(argv[1])
    selected: list[bytes] = []
    if value is not None:
        if order.nosort and value_type(value) == SET and (options.target is not None or client.is_script):
            # What is stored or seen by a script must not depend on the order in which a set happens to be kept.
            order.nosort, order.alpha, order.weight_of = False, True, None
        selected = sorting.select(database, value, order)
    found: list[bytes | None] = list(_outputs(client, selected, options.patterns))
    if options.target is None:
        return optional_bulks(found, client.resp)
    return _store(client, options.target, [item or b"" for item in found])


def _outputs(client: Client, selected: list[bytes], patterns: list[bytes]) -> Iterator[bytes | None]:
    """What GET asks for, for every element: the elements themselves without GET."""
    if not patterns:
        return iter(selected)
    lookups = [sorting.lookup_of(client.db, pattern) for pattern in patterns]
    return sorting.bounded(client.db, (lookup(element) for element in selected for lookup in lookups))


def _store(client: Client, key: bytes, items: list[bytes]) -> bytes:
    database = client.db
    old: Value | None = database.get(key)
    events = client.instance.notifications
    if items:
        database.put(key, lists.make(client.engine, items), old)
        if events.enabled:
            events.event(notifications.LIST, b"sortstore", key, database)
    elif old is not None:
        database.delete(key, old)
        if events.enabled:
            events.event(notifications.GENERIC, b"del", key, database)
    else:
        return ZERO
    return integer(len(items))


def _sort_keys(argv: Sequence[bytes]) -> list[tuple[int, str]]:
    """The key that is sorted, and the last STORE's, which is the one that counts."""
    found = [(1, "RO access")]
    at = 2
    target = 0
    while at < len(argv):
        option = argv[at].upper()
        if option == b"STORE" and at + 1 < len(argv):
            target = at + 1
        at += 1 + _OPERANDS.get(option, 0)
    if target:
        found.append((target, "OW update"))
    return found


@command("SORT", arity=-2, flags=Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS | Flag.DANGEROUS,
         keys=(KeySpec("RO access"), _BY_GET_SPEC, _STORE_SPEC), group="generic", since="1.0.0",
         complexity=_COMPLEXITY, syntax=_SYNTAX + " [STORE destination#2]", get_keys=_sort_keys,
         categories=("set", "sortedset", "list"))  # fmt: skip
def sort(client: Client, argv: list[bytes]) -> bytes:
    """Sort the elements of a list, set or sorted set; return or store them, or what they lead to."""
    return _sort(client, argv, False)


@command("SORT_RO", arity=-2, flags=Flag.READONLY | Flag.MOVABLEKEYS | Flag.DANGEROUS,
         keys=(KeySpec("RO access"), _BY_GET_SPEC), group="generic", since="7.0.0", complexity=_COMPLEXITY,
         syntax=_SYNTAX, get_keys=lambda argv: [(1, "RO access")], categories=("set", "sortedset", "list"))  # fmt: skip
def sort_ro(client: Client, argv: list[bytes]) -> bytes:
    """Sort the elements of a list, set or sorted set and return them, or what they lead to."""
    return _sort(client, argv, True)
