"""OBJECT: how a value is stored."""

from __future__ import annotations

from diskkv.codec.header import Value
from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import operations
from diskkv.errors import CommandError
from diskkv.resp.reply import ONE, ZERO, array, bulk, simple
from diskkv.services.client import Client

_HELP = (
    b"OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"ENCODING <key>",
    b"    How the value is stored, by the name Redis has for it.",
    b"FREQ <key>",
    b"    The access frequency; needs an LFU maxmemory-policy.",
    b"HELP",
    b"    This text.",
    b"IDLETIME <key>",
    b"    0: times of access are not kept.",
    b"REFCOUNT <key>",
    b"    Always 1.",
)


@command("OBJECT", arity=-2, flags=Flag(0), group="generic", since="2.2.3", complexity="Depends on subcommand.")
def object_(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands that look inside values."""
    raise unknown_subcommand(argv)


@command("OBJECT HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="generic", since="6.2.0", complexity="O(1)",
         categories=("keyspace",))  # fmt: skip
def object_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return array([simple(line) for line in _HELP])


def _lookup(client: Client, key: bytes) -> Value | None:
    return client.db.get(key)


@command("OBJECT ENCODING", arity=3, flags=Flag.READONLY, keys=KeySpec("RO", begin=2), group="generic", since="2.2.3",
         complexity="O(1)", syntax="key", tips=("nondeterministic_output",))  # fmt: skip
def object_encoding(client: Client, argv: list[bytes]) -> bytes:
    """Tell how the value at a key is stored."""
    value = _lookup(client, argv[2])
    if value is None:
        return client.null
    return bulk(operations.of(value).encoding(client.engine, value))


@command("OBJECT REFCOUNT", arity=3, flags=Flag.READONLY, keys=KeySpec("RO", begin=2), group="generic", since="2.2.3",
         complexity="O(1)", syntax="key", tips=("nondeterministic_output",))  # fmt: skip
def object_refcount(client: Client, argv: list[bytes]) -> bytes:
    """Count the references to the value at a key."""
    return client.null if _lookup(client, argv[2]) is None else ONE


@command("OBJECT IDLETIME", arity=3, flags=Flag.READONLY, keys=KeySpec("RO", begin=2), group="generic", since="2.2.3",
         complexity="O(1)", syntax="key", tips=("nondeterministic_output",))  # fmt: skip
def object_idletime(client: Client, argv: list[bytes]) -> bytes:
    """Tell how many seconds ago the value at a key was used."""
    if _lookup(client, argv[2]) is None:
        return client.null
    if "lfu" in client.instance.config.maxmemory_policy:
        raise CommandError(
            b"ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between "
            b"policies at runtime LRU and LFU data will take some time to adjust."
        )
    return ZERO


@command("OBJECT FREQ", arity=3, flags=Flag.READONLY, keys=KeySpec("RO", begin=2), group="generic", since="4.0.0",
         complexity="O(1)", syntax="key", tips=("nondeterministic_output",))  # fmt: skip
def object_freq(client: Client, argv: list[bytes]) -> bytes:
    """Tell how often the value at a key is used, on a logarithmic scale."""
    if _lookup(client, argv[2]) is None:
        return client.null
    if "lfu" not in client.instance.config.maxmemory_policy:
        raise CommandError(
            b"ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when "
            b"switching between policies at runtime LRU and LFU data will take some time to adjust."
        )
    return ZERO
