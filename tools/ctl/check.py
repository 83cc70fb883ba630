"""`diskkvctl check`: proves that the rows of a store agree with each other.

System rows have a known form; every header decodes, is in the form in which it is written, and belongs to a database
that exists or waits to be reclaimed; the exact counts of every database equal its headers; every key with a time to
live, and every hash with fields that have one, is in the expiry index no later than the next of these ends; every
object belongs to one header or to the garbage queue, and its rows are what its type says (objects.py and the modules
that it names); every id lies below its lease; no row of an unknown kind is there. Nothing is changed.

Every row is read once, keys in their order. Memory: eight bytes per collection or big string, the ranges that wait to
be reclaimed, and a bounded table of keys whose expiry entry is not the exact one.
"""

from __future__ import annotations

import argparse
from array import array
from bisect import bisect_left
from itertools import pairwise
from pathlib import Path
from typing import Any

from diskkv.codec import keys
from diskkv.codec.header import HASH, Header, Value, decode_header, expire_ms_of, next_field_expiry
from diskkv.codec.keys import (
    ELEMENT_TAG,
    EXPIRY_PREFIX_SIZE,
    EXPIRY_TAG,
    GARBAGE_DATABASE,
    GARBAGE_LIST_HEAD,
    GARBAGE_LIST_TAIL,
    GARBAGE_OBJECT,
    GARBAGE_ROWS,
    GARBAGE_TAG,
    HEADER_PREFIX_SIZE,
    HEADER_TAG,
    SYSTEM_CURSOR,
    SYSTEM_DATABASE_LEASE,
    SYSTEM_LEASE,
    SYSTEM_NAMED,
    SYSTEM_TAG,
    U16,
    U32,
    U64,
    decode_expiry_row,
    decode_garbage_row,
    expiry_row,
    garbage_row,
    object_range,
    prefix_successor,
)
from diskkv.engine.store import Store
from diskkv.errors import CorruptionError
from tools.ctl import leftovers
from tools.ctl.leftovers import Leftovers
from tools.ctl.objects import object_problems
from tools.ctl.output import Outcome, Progress, quoted
from tools.ctl.packed import record_problems
from tools.ctl.snapshot import opened_target
from tools.ctl.store import DatabaseEntry, add_target, databases, opened

NAME = "check"
HELP = "prove that headers, counts, elements, expiry index and garbage queue agree"
DESCRIPTION = """\
Read every row once and prove that all agree with each other: every key decodes and is counted, every collection has
the elements and the indexes that its type says, every time to live is in the expiry index, every object belongs to one
key or waits to be reclaimed. Nothing is changed. The exit status is 1 when anything is wrong, and `diskkvctl repair`
helps then.

With --url the directory of a server on this machine is checked as of one instant, while it goes on: its tables are
linked, and its log is copied, to a place beside them that is removed afterwards.
"""
EPILOG = """\
examples:
  diskkvctl check --dir /var/lib/diskkv
  diskkvctl check --url redis://localhost
  # a backup: in a copy, because opening LevelDB changes its log
  diskkvctl restore /mnt/other --dir /tmp/try --link --check
"""

MAX_PROBLEMS = 1000
MAX_UNRESOLVED = 500_000

_TAGS = sorted((SYSTEM_TAG, ELEMENT_TAG, GARBAGE_TAG, HEADER_TAG, EXPIRY_TAG))
_BEHIND_ALL = b"\xff" * 32
_OBJECT_ROW_BYTES = 1 + U64.size + 1
_GARBAGE_ROW_BYTES = 2 + U64.size
# (bytes of the key behind the name, bytes of the value; None: any) of the system rows, by name.
_SYSTEM_ROWS: dict[bytes, tuple[int | None, int | None]] = {
    keys.SYSTEM_FORMAT: (0, U32.size),
    SYSTEM_LEASE: (0, U64.size),
    SYSTEM_DATABASE_LEASE: (0, U32.size),
    keys.SYSTEM_DATABASE: (U32.size, U32.size),
    keys.SYSTEM_COUNTS: (U32.size, 2 * U64.size),
    keys.SYSTEM_VALUES: (U32.size, U64.size),
    SYSTEM_CURSOR: (U16.size, None),
    SYSTEM_NAMED: (None, None),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of check."""
    add_target(parser)


def run(options: argparse.Namespace) -> Outcome:
    """All checks; status 1 when something is wrong."""
    with opened_target(options) as store:
        checker = Checker(store)
        checker.run()
    data: dict[str, Any] = {"problems": checker.problems, "problem_count": checker.problem_count, **checker.facts}
    lines = [*checker.problems]
    if checker.problem_count > len(checker.problems):
        lines.append(f"... and {checker.problem_count - len(checker.problems)} more")
    checked = ", ".join(f"{count:,} {name}" for name, count in checker.facts.items())
    verdict = f"{checker.problem_count} problems" if checker.problem_count else "ok"
    return Outcome([*lines, f"{verdict}: {checked}"], data, 1 if checker.problem_count else 0)


def check_directory(directory: Path) -> Checker:
    """Check the data of a server that is not running. Raises ConfigError and StorageError when it cannot be read."""
    with opened(directory) as store:
        checker = Checker(store)
        checker.run()
    return checker


class Checker:
    """One pass over everything. `problems` has the first MAX_PROBLEMS of `problem_count`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.problems: list[str] = []
        self.problem_count = 0
        self.facts = {"keys": 0, "objects": 0, "expiry entries": 0, "garbage entries": 0}
        self._progress = Progress("checked")
        self._databases: dict[int, DatabaseEntry] = {}
        self._found: dict[int, list[int]] = {}
        self._objects: array[int] = array("Q")
        self._garbage_ids: array[int] = array("Q")
        """Ids of garbage rows, which must lie below the lease as well."""
        self._leftovers: dict[int, Leftovers] = {}
        self._unresolved: dict[tuple[int, bytes], int] = {}

    def run(self) -> None:
        """Check everything."""
        self._check_tags()
        if not self._check_system():
            return
        self._check_databases()
        self._read_garbage()
        for row, record in self._progress.watch(self.store.scan(HEADER_TAG, prefix_successor(HEADER_TAG))):
            if len(row) < HEADER_PREFIX_SIZE:
                self._problem(f"the row {row.hex()} is too short")
            else:
                self._check_header(U32.unpack_from(row, 1)[0], row[HEADER_PREFIX_SIZE:], record)
        self._resolve_expiry()
        self._check_counts()
        self._objects = array("Q", sorted(self._objects))
        self._check_ids()
        self._check_objects()
        self._check_garbage()
        self._check_expiry_rows()

    def _problem(self, text: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(text)

    # ---- what there is at all

    def _check_tags(self) -> None:
        starts = [b"", *(prefix_successor(tag) for tag in _TAGS)]
        for start, stop in zip(starts, [*_TAGS, _BEHIND_ALL], strict=True):
            for row in self.store.scan_keys(start, stop):
                self._problem(f"the row {row[:64].hex()} has no known tag")

    def _check_system(self) -> bool:
        """Whether the system rows can be relied upon; the rest cannot be checked without them."""
        before = self.problem_count
        for row, raw in self.store.scan(SYSTEM_TAG, prefix_successor(SYSTEM_TAG)):
            if not any(
                row.startswith(name)
                and (key_bytes is None or len(row) == len(name) + key_bytes)
                and (value_bytes is None or len(raw) == value_bytes)
                for name, (key_bytes, value_bytes) in _SYSTEM_ROWS.items()
            ):
                self._problem(f"the system row {quoted(row, 64)} has no known name or no valid value: {raw[:32].hex()}")
            elif len(raw) < U64.size and row.startswith(SYSTEM_CURSOR):
                self._problem(f"the cursor {row.hex()} has no number")
        return self.problem_count == before

    def _check_databases(self) -> None:
        lease = self._database_lease()
        for entry in databases(self.store):
            if entry.id in self._databases:
                self._problem(f"db{entry.index} and db{self._databases[entry.id].index} share the id {entry.id}")
            if entry.id >= lease:
                self._problem(f"db{entry.index} has the id {entry.id}, which is not below the lease {lease}")
            self._databases[entry.id] = entry
        for row in self.store.scan_keys(keys.SYSTEM_COUNTS, prefix_successor(keys.SYSTEM_COUNTS)):
            (ident,) = U32.unpack(row[len(keys.SYSTEM_COUNTS) :])
            if ident not in self._databases:
                self._problem(f"counts are kept for database id {ident}, which no database has")

    def _database_lease(self) -> int:
        raw = self.store.get(SYSTEM_DATABASE_LEASE)
        lease: int = U32.unpack(raw)[0] if raw else 1
        return lease

    # ---- headers

    def _name(self, db_id: int, key: bytes) -> str:
        entry = self._databases.get(db_id)
        return f"{quoted(key, 200)} in " + (f"db{entry.index}" if entry else f"the database with id {db_id}")

    def _check_header(self, db_id: int, key: bytes, record: bytes) -> None:
        live = db_id in self._databases
        found = self._found.setdefault(db_id, [0, 0])
        found[0] += 1
        self.facts["keys"] += live
        try:
            value = decode_header(record, keys.header_prefix(db_id) + key)
        except CorruptionError as error:
            self._problem(f"{self._name(db_id, key)}: {error}")
            return
        if not isinstance(value, Header):
            return
        if value.expire_ms:
            found[1] += 1
        if value.oid:
            self._objects.append(value.oid)
        if live:
            self._check_value(db_id, key, value, record)

    def _check_value(self, db_id: int, key: bytes, value: Header, record: bytes) -> None:
        problems = list(record_problems(value, record))
        if not problems:
            at_ms = due_ms(value)
            if at_ms:
                self._check_expiry(db_id, key, at_ms)
            if value.oid:
                left = self._leftovers.get(value.oid, leftovers.NONE)
                problems = object_problems(self.store, value, left, self._progress)
        for problem in problems:
            self._problem(f"{self._name(db_id, key)}: {problem}")

    def _check_expiry(self, db_id: int, key: bytes, due_ms: int) -> None:
        if self.store.get(expiry_row(due_ms, db_id, key)) is None:
            # An entry may be early, so one has to be looked for in the whole index: for many keys at once.
            self._unresolved[db_id, key] = due_ms
            if len(self._unresolved) >= MAX_UNRESOLVED:
                self._resolve_expiry()

    def _resolve_expiry(self) -> None:
        if self._unresolved:
            for row in self.store.scan_keys(EXPIRY_TAG, prefix_successor(EXPIRY_TAG)):
                if len(row) >= EXPIRY_PREFIX_SIZE:
                    at_ms, db_id, key = decode_expiry_row(row)
                    if at_ms <= self._unresolved.get((db_id, key), -1):
                        del self._unresolved[db_id, key]
        for (db_id, key), due_ms in self._unresolved.items():
            self._problem(f"{self._name(db_id, key)} expires at {due_ms} and has no entry in the index by then")
        self._unresolved.clear()

    def _check_counts(self) -> None:
        for entry in self._databases.values():
            found_keys, found_expires = self._found.get(entry.id, (0, 0))
            name = f"db{entry.index}"
            if entry.keys != found_keys:
                self._problem(f"{name} counts {entry.keys} keys and has {found_keys}")
            if entry.expires != found_expires:
                self._problem(f"{name} counts {entry.expires} keys with a time to live and has {found_expires}")
        lease = self._database_lease()
        for db_id, (found_keys, _) in self._found.items():
            waiting = self.store.get(garbage_row(GARBAGE_DATABASE, db_id)) is not None
            if db_id not in self._databases and not waiting:
                self._problem(f"{found_keys} keys belong to database id {db_id}, which no database has")
            elif db_id >= lease:
                self._problem(f"{found_keys} keys belong to database id {db_id}, which is not below the lease {lease}")

    # ---- objects

    def _in_use(self, oid: int) -> bool:
        at = bisect_left(self._objects, oid)
        return at < len(self._objects) and self._objects[at] == oid

    def _check_ids(self) -> None:
        raw = self.store.get(SYSTEM_LEASE)
        lease = U64.unpack(raw)[0] if raw else 1
        for oid, following in pairwise(self._objects):
            if oid == following:
                self._problem(f"two keys share object {oid}")
        highest = max((*self._objects[-1:], *self._leftovers, *self._garbage_ids), default=0)
        if highest >= lease:
            self._problem(f"object {highest} is not below the lease {lease}")
        last = next(iter(self.store.scan_keys(ELEMENT_TAG, prefix_successor(ELEMENT_TAG), True)), None)
        if last is not None and int.from_bytes(last[1 : 1 + U64.size]) >= lease:
            self._problem(f"the row {last[:64].hex()} belongs to an object that is not below the lease {lease}")

    def _check_objects(self) -> None:
        """Look at one row of each object: the others were read with its header."""
        position, stop = ELEMENT_TAG, prefix_successor(ELEMENT_TAG)
        while (row := next(iter(self.store.scan_keys(position, stop)), None)) is not None:
            if len(row) < _OBJECT_ROW_BYTES:
                self._problem(f"the row {row.hex()} is too short")
                position = row + b"\x00"
                continue
            (oid,) = U64.unpack_from(row, 1)
            self.facts["objects"] += 1
            if not self._in_use(oid) and self.store.get(garbage_row(GARBAGE_OBJECT, oid)) is None:
                self._problem(f"object {oid} belongs to no key and is not waiting to be reclaimed")
            position = object_range(oid)[1]

    # ---- what waits to be reclaimed

    def _read_garbage(self) -> None:
        """Check the form of the queue, and take the ranges of living objects from it."""
        for row, raw in self.store.scan(GARBAGE_TAG, prefix_successor(GARBAGE_TAG)):
            self.facts["garbage entries"] += 1
            if len(row) != _GARBAGE_ROW_BYTES:
                self._problem(f"garbage row {row.hex()} is of no known form")
                continue
            what, ident = decode_garbage_row(row)
            if what in (GARBAGE_LIST_HEAD, GARBAGE_LIST_TAIL, GARBAGE_ROWS):
                found = leftovers.decode(what, ident, raw)
                if found is None:
                    self._problem(f"garbage row {row.hex()} does not decode: {raw[:64].hex()}")
                    continue
                oid, start, stop = found
                self._leftovers.setdefault(oid, Leftovers()).add(what, start, stop)
            elif what not in (GARBAGE_OBJECT, GARBAGE_DATABASE):
                self._problem(f"garbage row {row.hex()} is of no known kind")
            elif raw:
                self._problem(f"garbage row {row.hex()} has a value: {raw[:64].hex()}")
            if what in (GARBAGE_OBJECT, GARBAGE_ROWS):
                self._garbage_ids.append(ident)

    def _check_garbage(self) -> None:
        start = garbage_row(GARBAGE_OBJECT, 0)
        for row in self.store.scan_keys(start, prefix_successor(start[:2])):
            if len(row) == _GARBAGE_ROW_BYTES and self._in_use(decode_garbage_row(row)[1]):
                self._problem(f"object {decode_garbage_row(row)[1]} waits to be reclaimed while a key uses it")
        for ident, entry in self._databases.items():
            if self.store.get(garbage_row(GARBAGE_DATABASE, ident)) is not None:
                self._problem(f"db{entry.index} (id {ident}) waits to be reclaimed while it is in use")

    def _check_expiry_rows(self) -> None:
        """Entries may outlive their keys: only their form can be wrong."""
        for row, raw in self._progress.watch(self.store.scan(EXPIRY_TAG, prefix_successor(EXPIRY_TAG))):
            self.facts["expiry entries"] += 1
            if len(row) < EXPIRY_PREFIX_SIZE or raw:
                self._problem(f"the expiry row {row[:64].hex()} is of no known form")


def due_ms(value: Value) -> int:
    """When the sweeper has to look at a value: for its own time to live, or for that of a field; 0 for never."""
    times = [expire_ms_of(value)]
    if isinstance(value, Header) and value.type == HASH:
        times.append(next_field_expiry(value))
    return min(filter(None, times), default=0)
