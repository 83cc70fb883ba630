"""Comparing a string before deleting it: DIGEST and DELEX (SET has the same comparisons)."""

from __future__ import annotations

from collections.abc import Sequence

from diskkv.codec.header import STRING, value_type
from diskkv.commands import string_options as options
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.string import delete
from diskkv.datatypes import strings
from diskkv.errors import CommandError
from diskkv.resp.reply import ONE, ZERO, bulk
from diskkv.services.client import Client


@command(
    "DIGEST",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO access"),
    group="string",
    since="8.4.0",
    complexity="O(N) where N is the length of the string",
    syntax="key",
)
def digest(client: Client, argv: list[bytes]) -> bytes:
    """Return the XXH3 digest of the string at a key, as 16 hexadecimal digits."""
    value = client.db.read(argv[1])
    if value is None:
        return client.null
    strings.require_string(value)
    return bulk(options.digest(client.engine, value))


def _delex_keys(argv: Sequence[bytes]) -> list[tuple[int, str]]:
    """DELEX reads the value only with a comparison."""
    return [(1, "RW access delete" if len(argv) > 2 else "RM delete")]


@command(
    "DELEX",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW delete variable_flags"),
    group="string",
    since="8.4.0",
    complexity="O(1) with IFEQ and IFNE, O(N) with IFDEQ and IFDNE where N is the length of the string",
    syntax="key condition=[IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest:integer | "
    "IFDNE ifdne-digest:integer]",
    get_keys=_delex_keys,
)
def delex(client: Client, argv: list[bytes]) -> bytes:
    """Delete a key, if its string or the string's digest compares as asked for."""
    if len(argv) not in (2, 4):
        raise CommandError(b"ERR wrong number of arguments for 'delex' command")
    key = argv[1]
    old = client.db.get(key)
    if old is None:
        return ZERO
    if len(argv) == 4:
        if value_type(old) != STRING:
            raise CommandError(b"ERR Key should be of string type if conditions are specified")
        option = options.SET_OPTIONS.get(argv[2].upper())
        if option is None or not option.bit & options.COMPARISONS:
            raise CommandError(b"ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")
        if not options.compares(client.engine, old, option.bit, argv[3]):
            return ZERO
    delete(client, key, old)
    return ONE
