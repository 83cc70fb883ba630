"""What every data type can do, whatever it is: the operations that OBJECT, DUMP, RESTORE, COPY and MEMORY need.

Each data type's module registers its own when it is imported.
"""

from __future__ import annotations

from typing import Protocol

from diskkv.codec.header import Header, Value, value_type
from diskkv.codec.keys import element_prefix, prefix_successor
from diskkv.codec.rdb_values import RdbValue
from diskkv.engine.bulk import Bulk
from diskkv.engine.engine import Engine


class TypeOperations(Protocol):
    """The operations of one data type. A module with functions of these names is one."""

    def encoding(self, engine: Engine, value: Value) -> bytes:
        """The name that OBJECT ENCODING gives."""

    def export(self, engine: Engine, value: Value) -> RdbValue:
        """The whole value, as the RDB codec takes it."""

    def load(self, engine: Engine, value: RdbValue, expire_ms: int) -> Value:
        """A new value made of what the RDB codec read, staging its rows; `expire_ms` 0 for no time to live."""

    def copy(self, engine: Engine, value: Value) -> Value:
        """An independent value of the same content and time to live, staging its rows."""

    def memory_bytes(self, engine: Engine, value: Value, samples: int) -> int:
        """About what it takes on disk, uncompressed; `samples` elements are looked at, 0 means all."""


_operations: dict[int, TypeOperations] = {}
_by_rdb_class: dict[type, int] = {}


def register(type_number: int, rdb_class: type, operations: TypeOperations) -> None:
    """Declare the operations of a data type, and which RDB value class it loads."""
    _operations[type_number] = operations
    _by_rdb_class[rdb_class] = type_number


def of(value: Value) -> TypeOperations:
    """The operations of a value's type."""
    return _operations[value_type(value)]


def load(engine: Engine, value: RdbValue, expire_ms: int) -> Value | None:
    """A new value of what the RDB codec read, None when its type is not supported."""
    type_number = _by_rdb_class.get(type(value))
    return None if type_number is None else _operations[type_number].load(engine, value, expire_ms)


def copy_rows(engine: Engine, header: Header, kinds: tuple[int, ...]) -> int:
    """Copy all rows of these kinds to a new object and answer its id."""
    oid = engine.new_oid()
    bulk = Bulk(engine, oid)
    for kind in kinds:
        source = element_prefix(header.oid, kind)
        target = element_prefix(oid, kind)
        size = len(source)
        for row, data in engine.rows.scan(source, prefix_successor(source)):
            bulk.put(target + row[size:], data)
    bulk.finish()
    return oid
