"""The command table: every command is declared once, beside its function.

    @command("GETRANGE", arity=4, flags=READONLY, keys=KeySpec("RO access"), group="string", since="2.4.0",
             complexity="O(N) ...", syntax="key start end")
    def getrange(client, argv): "Return a part of the string at key."

From this follow dispatch's checks, COMMAND INFO / DOCS / GETKEYS, the ACL categories and the command table of the
README. Modules of this package are imported by `load_all`, so a new command is a change of one file. The decorator
returns the function untouched. A function takes the client and the arguments (argv[0] is the command's name as sent)
and answers with an encoded reply, or with a `Block` (services/blocking.py) when it has to wait.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntFlag, auto
from typing import Any

from diskkv.commands.runs import RUNS, RunHandler
from diskkv.services.durations import Durations

Handler = Callable[[Any, list[bytes]], Any]
"""(client, argv) -> encoded reply, or a Block."""


class Flag(IntFlag):
    """Properties of a command, named as COMMAND INFO names them."""

    WRITE = auto()
    READONLY = auto()
    DENYOOM = auto()
    ADMIN = auto()
    PUBSUB = auto()
    NOSCRIPT = auto()
    BLOCKING = auto()
    LOADING = auto()
    STALE = auto()
    SKIP_MONITOR = auto()
    SKIP_SLOWLOG = auto()
    ASKING = auto()
    FAST = auto()
    NO_AUTH = auto()
    MAY_REPLICATE = auto()
    NO_ASYNC_LOADING = auto()
    NO_MULTI = auto()
    MOVABLEKEYS = auto()
    ALLOW_BUSY = auto()
    NO_MANDATORY_KEYS = auto()
    ONLY_SENTINEL = auto()
    PROTECTED = auto()
    TOUCHES_ARBITRARY_KEYS = auto()
    DANGEROUS = auto()
    """Only for the ACL category: not shown by COMMAND INFO."""
    PLAIN = auto()
    """Runs without looking at the client's state, on the fast path (see dispatch.py). Set by the registry for data
    commands."""


_HIDDEN = (Flag.DANGEROUS, Flag.PLAIN, Flag.PROTECTED, Flag.TOUCHES_ARBITRARY_KEYS, Flag.MAY_REPLICATE)
_FLAG_NAMES = {
    flag: flag.name.lower() if flag is not Flag.MOVABLEKEYS else "movablekeys"
    for flag in Flag
    if flag.name and flag not in _HIDDEN
}

_GROUP_CATEGORIES = {
    "string": "string",
    "list": "list",
    "set": "set",
    "sorted-set": "sortedset",
    "hash": "hash",
    "stream": "stream",
    "bitmap": "bitmap",
    "hyperloglog": "hyperloglog",
    "geo": "geo",
    "generic": "keyspace",
    "connection": "connection",
    "transactions": "transaction",
    "scripting": "scripting",
}

_STATEFUL_GROUPS = frozenset({"connection", "transactions", "scripting", "pubsub", "server"})


NOT_KEY = "not_key"
"""The flags of a `KeySpec` for shard channels: a cluster routes them as it routes keys, but they are none."""


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where a command's keys are, as COMMAND INFO describes it.

    `flags`: RO, RW, OW or RM, then access, update, insert, delete ..., separated by spaces. The search begins at
    argument `begin`, or behind the `keyword` (looked for from `begin`, backwards when negative). Then come the keys up
    to `last` (relative to the first, negative from the end; `limit` divides what is left), every `step`th argument;
    or, with `keynum`, the number of keys stands at `keynum` and the first key at `first`, both relative to the begin.
    """

    flags: str
    begin: int = 1
    last: int = 0
    step: int = 1
    limit: int = 0
    keyword: bytes = b""
    keynum: int | None = None
    first: int = 0
    notes: str = ""
    unknown: bool = False
    """The positions do not follow from the arguments' order (SORT ... BY); `get_keys` finds what can be found."""

    def positions(self, argv: Sequence[bytes]) -> range:
        """The positions of the keys in `argv`; empty when there are none or the arguments make no sense."""
        if self.unknown:
            return range(0)
        begin = self.begin
        if self.keyword:
            found = self._find_keyword(argv)
            if found is None:
                return range(0)
            begin = found + 1
        if begin >= len(argv):
            return range(0)
        if self.keynum is not None:
            try:
                count = int(argv[begin + self.keynum])
            except (IndexError, ValueError):
                return range(0)
            first = begin + self.first
            if count <= 0 or first + (count - 1) * self.step >= len(argv):
                return range(0)
            return range(first, first + count * self.step, self.step)
        if self.last >= 0:
            last = begin + self.last
        elif self.limit <= 1:
            last = len(argv) + self.last
        else:
            last = begin + (len(argv) - begin) // self.limit + self.last
        return range(begin, min(last, len(argv) - 1) + 1, self.step)

    def _find_keyword(self, argv: Sequence[bytes]) -> int | None:
        start = self.begin if self.begin >= 0 else len(argv) + self.begin
        positions = range(start, len(argv)) if self.begin >= 0 else range(start, 0, -1)
        return next((at for at in positions if argv[at].upper() == self.keyword), None)


@dataclass(slots=True, eq=False)
class Command:
    """One command or subcommand. `name` is lower case; a subcommand is called ``container|sub``."""

    name: str
    fn: Handler
    arity: int
    flags: Flag
    keys: tuple[KeySpec, ...]
    group: str
    since: str
    complexity: str
    syntax: str
    summary: str
    tips: tuple[str, ...]
    extra_categories: tuple[str, ...]
    get_keys: Callable[[Sequence[bytes]], Sequence[tuple[int, str]]] | None
    subcommands: dict[str, Command] = field(default_factory=dict)
    parent: Command | None = None
    min_argc: int = 0
    max_argc: int = 0
    durations: Durations = field(default_factory=Durations)
    fine_durations: list[int] = field(init=False)
    """durations.fine, for dispatch."""
    run: RunHandler | None = None
    """Executes requests of this command with `run_argc` arguments each (the name included, see runs.py) as a whole."""
    run_argc: int = 0
    usec_ns: int = 0
    rejected_calls: int = 0
    failed_calls: int = 0

    def __post_init__(self) -> None:
        self.fine_durations = self.durations.fine

    @property
    def calls(self) -> int:
        """How often it ran."""
        return self.durations.count

    def reset_stats(self) -> None:
        """Start counting from zero."""
        self.durations.clear()
        self.usec_ns = self.rejected_calls = self.failed_calls = 0

    @property
    def categories(self) -> frozenset[str]:
        """The ACL categories, without the leading @."""
        flags = self.flags
        if self.subcommands and not flags & ~Flag.PLAIN:
            # A container that does nothing itself; its subcommands have the categories.
            return frozenset({"slow"})
        found = set(self.extra_categories)
        # A generic command that names its categories works on values of those types rather than on keys (SORT).
        if self.group in _GROUP_CATEGORIES and not (found and self.group == "generic"):
            found.add(_GROUP_CATEGORIES[self.group])
        if flags & Flag.WRITE:
            found.add("write")
        if flags & Flag.READONLY and "scripting" not in found:
            found.add("read")
        if flags & Flag.ADMIN:
            found |= {"admin", "dangerous"}
        if flags & Flag.DANGEROUS:
            found.add("dangerous")
        if flags & Flag.PUBSUB:
            found.add("pubsub")
        if flags & Flag.BLOCKING:
            found.add("blocking")
        found.add("fast" if flags & Flag.FAST else "slow")
        return frozenset(found)

    @property
    def flag_names(self) -> list[str]:
        """The flags as COMMAND INFO shows them."""
        return [name for flag, name in _FLAG_NAMES.items() if self.flags & flag]

    @property
    def key_range(self) -> tuple[int, int, int]:
        """First key, last key and step as COMMAND INFO had them before there were key specifications.

        They cover what one range can: a single range, or ranges of step 1 that follow each other; else 0, 0, 0.
        """
        ranges = [spec for spec in self.keys if not (spec.unknown or spec.keyword or spec.keynum is not None)]
        if len(self.keys) == 1 and ranges:
            only = ranges[0]
            return only.begin, only.begin + only.last if only.last >= 0 else only.last, only.step
        first = last = 0
        for spec in ranges:
            if spec.step != 1 or (last and last != spec.begin - 1):
                continue
            first = first or spec.begin
            last = spec.begin + spec.last if spec.last >= 0 else spec.last
        return first, last, 1 if first else 0

    def key_positions(self, argv: Sequence[bytes]) -> list[tuple[int, str]]:
        """(position, key spec flags) of every key in `argv`, in order of the key specs."""
        if self.get_keys is not None:
            return list(self.get_keys(argv))
        return [(at, spec.flags) for spec in self.keys if spec.flags != NOT_KEY for at in spec.positions(argv)]

    def accepts(self, argc: int) -> bool:
        """Whether the arity allows this many arguments, the name included."""
        return self.min_argc <= argc <= self.max_argc


_NO_LIMIT = 1 << 62

TABLE: dict[str, Command] = {}
"""Top-level commands by the lower-case name that clients use; rename-command changes it."""
ORIGINAL: dict[str, Command] = {}
"""The same by their own names, whatever rename-command says."""

_orphans: list[Command] = []


def command(
    name: str,
    *,
    arity: int,
    flags: Flag,
    group: str,
    since: str,
    complexity: str,
    syntax: str = "",
    keys: KeySpec | tuple[KeySpec, ...] = (),
    tips: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    get_keys: Callable[[Sequence[bytes]], Sequence[tuple[int, str]]] | None = None,
    may_wait: bool = False,
) -> Callable[[Handler], Handler]:
    """Declare a command. `arity` counts the name, negative means "at least"; `name` "CONFIG GET" is a subcommand.

    `may_wait`: it may answer a `Block` though it is not flagged as blocking.
    """

    def register(fn: Handler) -> Handler:
        key_specs = keys if isinstance(keys, tuple) else (keys,)
        full_name = name.lower().replace(" ", "|")
        plain = (
            group not in _STATEFUL_GROUPS
            and not flags & (Flag.ADMIN | Flag.PUBSUB | Flag.BLOCKING | Flag.NO_MULTI)
            and not may_wait
        )
        summary = (fn.__doc__ or "").strip().split("\n")[0]
        entry = Command(
            name=full_name,
            fn=fn,
            arity=arity,
            flags=flags | Flag.PLAIN if plain else flags,
            keys=key_specs,
            group=group,
            since=since,
            complexity=complexity,
            syntax=syntax,
            summary=summary,
            tips=tips,
            extra_categories=categories,
            get_keys=get_keys,
        )
        entry.min_argc = abs(arity)
        entry.max_argc = arity if arity > 0 else _NO_LIMIT
        if full_name in TABLE or any(full_name == other.name for other in _orphans):
            message = f"command {full_name} is declared twice"
            raise ValueError(message)
        if "|" in full_name:
            _orphans.append(entry)
        else:
            TABLE[full_name] = entry
        return fn

    return register


def load_all() -> dict[str, Command]:
    """Import every module of the package and answer the complete table."""
    package = importlib.import_module("diskkv.commands")
    for module in pkgutil.walk_packages(package.__path__, "diskkv.commands."):
        importlib.import_module(module.name)
    for entry in _orphans:
        container, _, sub = entry.name.partition("|")
        entry.parent = TABLE[container]
        entry.parent.subcommands[sub] = entry
    _orphans.clear()
    for entry in TABLE.values():
        ORIGINAL[entry.name] = entry
    for name, (run, argc) in RUNS.items():
        ORIGINAL[name].run = run
        ORIGINAL[name].run_argc = argc
    return TABLE


def find(argv: Sequence[bytes]) -> Command | None:
    """The command or subcommand that `argv` calls, None when there is none; a lone container is itself."""
    entry = TABLE.get(argv[0].decode("latin-1").lower())
    if entry is not None and entry.subcommands and len(argv) > 1:
        return entry.subcommands.get(argv[1].decode("latin-1").lower(), None)
    return entry
