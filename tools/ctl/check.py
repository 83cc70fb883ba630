"""`diskkvctl check`: proves that the rows of a store agree with each other.

Every header decodes and belongs to a database that exists or waits to be reclaimed; the exact counts of every database
equal its headers; every key with a time to live is in the expiry index no later than it expires; every object belongs
to one header or to the garbage queue, has only rows of its type, and as many as its header says; every id lies below
its lease. Nothing is changed.

Memory: eight bytes per collection or big string, and a bounded table of keys whose expiry entry is not the exact one.
"""

from __future__ import annotations

import argparse
from array import array
from bisect import bisect_left
from typing import Any

from diskkv.codec import keys
from diskkv.codec.header import Header, decode_header, expire_ms_of
from diskkv.codec.keys import (
    ELEMENT_TAG,
    EXPIRY_TAG,
    GARBAGE_DATABASE,
    GARBAGE_LIST_HEAD,
    GARBAGE_LIST_TAIL,
    GARBAGE_OBJECT,
    GARBAGE_ROWS,
    GARBAGE_TAG,
    SYSTEM_COUNTS,
    SYSTEM_DATABASE_LEASE,
    SYSTEM_LEASE,
    U32,
    U64,
    decode_expiry_row,
    decode_garbage_row,
    expiry_row,
    garbage_row,
    object_range,
    prefix_successor,
)
from diskkv.engine.leveldb import LevelDBStore
from diskkv.errors import CorruptionError
from tools.ctl.objects import object_problems
from tools.ctl.output import Outcome, quoted
from tools.ctl.store import DatabaseEntry, add_directory, databases, header_rows, opened

NAME = "check"
HELP = "prove that headers, counts, elements, expiry index and garbage queue agree"

MAX_PROBLEMS = 1000
MAX_UNRESOLVED = 500_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of check."""
    add_directory(parser)


def run(options: argparse.Namespace) -> Outcome:
    """All checks; status 1 when something is wrong."""
    with opened(options.dir) as store:
        checker = Checker(store)
        checker.run()
    data: dict[str, Any] = {"problems": checker.problems, "problem_count": checker.problem_count, **checker.facts}
    lines = [*checker.problems]
    if checker.problem_count > len(checker.problems):
        lines.append(f"... and {checker.problem_count - len(checker.problems)} more")
    checked = ", ".join(f"{count:,} {name}" for name, count in checker.facts.items())
    verdict = f"{checker.problem_count} problems" if checker.problem_count else "ok"
    return Outcome([*lines, f"{verdict}: {checked}"], data, 1 if checker.problem_count else 0)


class Checker:
    """One pass over everything. `problems` has the first MAX_PROBLEMS of `problem_count`."""

    def __init__(self, store: LevelDBStore) -> None:
        self.store = store
        self.problems: list[str] = []
        self.problem_count = 0
        self.facts = {"keys": 0, "objects": 0, "expiry entries": 0, "garbage entries": 0}
        self._databases: dict[int, DatabaseEntry] = {}
        self._found: dict[int, list[int]] = {}
        self._objects: array[int] = array("Q")
        self._unresolved: dict[tuple[int, bytes], int] = {}

    def run(self) -> None:
        """Check everything."""
        self._check_databases()
        for db_id, key, record in header_rows(self.store):
            self._check_header(db_id, key, record)
        self._resolve_expiry()
        self._check_counts()
        self._objects = array("Q", sorted(self._objects))
        self._check_objects()
        self._check_garbage()
        self.facts["expiry entries"] = self._rows(EXPIRY_TAG)

    def _problem(self, text: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(text)

    def _rows(self, tag: bytes) -> int:
        return sum(1 for _ in self.store.scan_keys(tag, prefix_successor(tag)))

    def _check_databases(self) -> None:
        raw = self.store.get(SYSTEM_DATABASE_LEASE)
        lease = U32.unpack(raw)[0] if raw else 1
        for entry in databases(self.store):
            if entry.id in self._databases:
                self._problem(f"db{entry.index} and db{self._databases[entry.id].index} share the id {entry.id}")
            if entry.id >= lease:
                self._problem(f"db{entry.index} has the id {entry.id}, which is not below the lease {lease}")
            self._databases[entry.id] = entry
        for row in self.store.scan_keys(SYSTEM_COUNTS, prefix_successor(SYSTEM_COUNTS)):
            if len(row) == len(SYSTEM_COUNTS) + U32.size:
                (ident,) = U32.unpack(row[len(SYSTEM_COUNTS) :])
                if ident not in self._databases:
                    self._problem(f"counts are kept for database id {ident}, which no database has")

    # ---- headers

    def _name(self, db_id: int, key: bytes) -> str:
        entry = self._databases.get(db_id)
        return f"{quoted(key, 200)} in " + (f"db{entry.index}" if entry else f"the database with id {db_id}")

    def _check_header(self, db_id: int, key: bytes, record: bytes) -> None:
        live = db_id in self._databases
        found = self._found.setdefault(db_id, [0, 0])
        found[0] += 1
        try:
            value = decode_header(record, keys.header_prefix(db_id) + key)
        except CorruptionError as error:
            self._problem(f"{self._name(db_id, key)}: {error}")
            return
        expire_ms = expire_ms_of(value)
        if expire_ms:
            found[1] += 1
        if live:
            self.facts["keys"] += 1
            if expire_ms:
                self._check_expiry(db_id, key, expire_ms)
        if isinstance(value, Header) and value.oid:
            self._objects.append(value.oid)
            if live:
                for problem in object_problems(self.store, value):
                    self._problem(f"{self._name(db_id, key)}: {problem}")

    def _check_expiry(self, db_id: int, key: bytes, expire_ms: int) -> None:
        if self.store.get(expiry_row(expire_ms, db_id, key)) is None:
            # An entry may be early, so one has to be looked for in the whole index: for many keys at once.
            self._unresolved[db_id, key] = expire_ms
            if len(self._unresolved) >= MAX_UNRESOLVED:
                self._resolve_expiry()

    def _resolve_expiry(self) -> None:
        if self._unresolved:
            for row in self.store.scan_keys(EXPIRY_TAG, prefix_successor(EXPIRY_TAG)):
                at_ms, db_id, key = decode_expiry_row(row)
                if at_ms <= self._unresolved.get((db_id, key), -1):
                    del self._unresolved[db_id, key]
        for (db_id, key), expire_ms in self._unresolved.items():
            self._problem(f"{self._name(db_id, key)} expires at {expire_ms} and has no entry in the index by then")
        self._unresolved.clear()

    def _check_counts(self) -> None:
        for entry in self._databases.values():
            found_keys, found_expires = self._found.get(entry.id, (0, 0))
            name = f"db{entry.index}"
            if entry.keys != found_keys:
                self._problem(f"{name} counts {entry.keys} keys and has {found_keys}")
            if entry.expires != found_expires:
                self._problem(f"{name} counts {entry.expires} keys with a time to live and has {found_expires}")
        for db_id, (found_keys, _) in self._found.items():
            waiting = self.store.get(garbage_row(GARBAGE_DATABASE, db_id)) is not None
            if db_id not in self._databases and not waiting:
                self._problem(f"{found_keys} keys belong to database id {db_id}, which no database has")

    # ---- objects

    def _in_use(self, oid: int) -> bool:
        at = bisect_left(self._objects, oid)
        return at < len(self._objects) and self._objects[at] == oid

    def _check_objects(self) -> None:
        raw = self.store.get(SYSTEM_LEASE)
        lease = U64.unpack(raw)[0] if raw else 1
        previous = 0
        for oid in self._objects:
            if oid == previous:
                self._problem(f"two keys share object {oid}")
            if oid >= lease:
                self._problem(f"object {oid} is not below the lease {lease}")
            previous = oid
        position, stop = ELEMENT_TAG, prefix_successor(ELEMENT_TAG)
        while (row := next(iter(self.store.scan_keys(position, stop)), None)) is not None:
            (oid,) = U64.unpack_from(row, 1)
            self.facts["objects"] += 1
            if not self._in_use(oid) and self.store.get(garbage_row(GARBAGE_OBJECT, oid)) is None:
                self._problem(f"object {oid} belongs to no key and is not waiting to be reclaimed")
            position = object_range(oid)[1]

    def _check_garbage(self) -> None:
        for row in self.store.scan_keys(GARBAGE_TAG, prefix_successor(GARBAGE_TAG)):
            self.facts["garbage entries"] += 1
            what, ident = decode_garbage_row(row)
            if what == GARBAGE_OBJECT:
                if self._in_use(ident):
                    self._problem(f"object {ident} waits to be reclaimed while a key uses it")
            elif what in (GARBAGE_LIST_HEAD, GARBAGE_LIST_TAIL, GARBAGE_ROWS):
                continue
            elif what != GARBAGE_DATABASE:
                self._problem(f"garbage row {row.hex()} is of no known kind")
            elif ident in self._databases:
                index = self._databases[ident].index
                self._problem(f"db{index} (id {ident}) waits to be reclaimed while it is in use")
