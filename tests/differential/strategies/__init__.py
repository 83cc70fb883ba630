"""The commands that the state machines draw, one module per Redis command group.

Importing this package registers them all; a new group adds its module here.
"""

from tests.differential.strategies import (
    base,
    bitmap,
    generic,
    geo,
    hashes,
    hyperloglog,
    lists,
    pubsub,
    scripting,
    sets,
    sorted_sets,
    streams,
    strings,
    transactions,
)

__all__ = [
    "base",
    "bitmap",
    "generic",
    "geo",
    "hashes",
    "hyperloglog",
    "lists",
    "pubsub",
    "scripting",
    "sets",
    "sorted_sets",
    "streams",
    "strings",
    "transactions",
]
