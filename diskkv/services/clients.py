"""What is known about connected clients, in the words of CLIENT LIST, and which of them a filter means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diskkv.services.client_memory import client_bytes, waiting_argument_bytes

if TYPE_CHECKING:
    from diskkv.services.client import Client
    from diskkv.services.instance import Instance


def describe(client: Client, command: str | None = None) -> bytes:
    """One line of CLIENT LIST, without the line break. `command` is what the client runs right now, if that is known.

    Buffers that have no counterpart here (qbuf-free, rbs, rbp, oll) are 0.

    Source: https://redis.io/docs/latest/commands/client-list/
    """
    now_ms = client.engine.now_ms
    channels, patterns, shard_channels = client.subscription_counts
    transaction = client.transaction
    tracking = client.tracking
    fields: tuple[tuple[str, object], ...] = (
        ("id", client.id),
        ("addr", client.address),
        ("laddr", client.local_address),
        ("fd", client.fd),
        ("name", client.name.decode("latin-1")),
        ("age", (now_ms - client.created_ms) // 1000),
        ("idle", max(0, now_ms - client.active_ms) // 1000),
        ("flags", flags(client)),
        ("db", client.db.index),
        ("sub", channels),
        ("psub", patterns),
        ("ssub", shard_channels),
        ("multi", -1 if transaction is None else len(transaction)),
        ("watch", 0 if client.watching is None else len(client.watching)),
        ("qbuf", client.input_bytes),
        ("qbuf-free", 0),
        ("argv-mem", waiting_argument_bytes(client)),
        ("multi-mem", 0 if transaction is None else transaction.size_bytes),
        ("rbs", 0),
        ("rbp", 0),
        ("obl", client.output_bytes),
        ("oll", 0),
        ("omem", client.output_bytes),
        ("tot-mem", client_bytes(client)),
        ("events", "rw" if client.output_bytes else "r"),
        ("cmd", command or _last_command(client)),
        ("user", client.user.name.decode("latin-1")),
        ("redir", -1 if tracking is None else tracking.redirect),
        ("resp", client.resp),
        ("lib-name", client.lib_name.decode("latin-1")),
        ("lib-ver", client.lib_version.decode("latin-1")),
        ("io-thread", 0),
        ("tot-net-in", client.received_bytes),
        ("tot-net-out", client.sent_bytes),
        ("tot-cmds", client.commands_run),
    )
    return " ".join(f"{name}={value}" for name, value in fields).encode("latin-1")


def _last_command(client: Client) -> str:
    """The last command by its full name; a container's subcommand never runs on the fast path."""
    entry: Any = client.instance.commands.get(client.last_request.decode("latin-1").lower())
    if entry is None or entry.subcommands:
        return client.last_command
    name: str = entry.name
    return name


def flags(client: Client) -> str:
    """The letters of CLIENT LIST's flags."""
    letters = (
        ("S", client.kind == "replica"),
        ("O", client.is_monitor),
        ("P", client.subscriptions),
        ("x", client.transaction is not None),
        ("b", client.blocked is not None),
        ("t", client.tracking is not None),
        ("R", client.tracking is not None and client.tracking.is_redirect_broken),
        ("B", client.tracking is not None and client.tracking.broadcast),
        ("d", client.watching is not None and client.watching.dirty),
        ("c", client.closing),
        ("U", client.address.startswith("/")),
        ("e", client.no_evict),
        ("T", client.no_touch),
    )
    return "".join(letter for letter, holds in letters if holds) or "N"


@dataclass(slots=True)
class Filter:
    """Which clients CLIENT LIST and CLIENT KILL mean: those to which everything that is not None applies."""

    ids: frozenset[int] | None = None
    kind: str | None = None
    user: Any = None
    address: str | None = None
    local_address: str | None = None
    min_age_s: int | None = None
    skip: Client | None = None

    def matches(self, client: Client) -> bool:
        """Whether this client is meant."""
        return (
            client is not self.skip
            and (self.ids is None or client.id in self.ids)
            and (self.kind is None or client.kind == self.kind)
            and (self.user is None or client.user is self.user)
            and (self.address is None or client.address == self.address)
            and (self.local_address is None or client.local_address == self.local_address)
            and (self.min_age_s is None or client.engine.now_ms - client.created_ms >= self.min_age_s * 1000)
        )

    def select(self, instance: Instance) -> Iterator[Client]:
        """The connected clients that are meant, by id."""
        return (client for client in list(instance.clients.values()) if self.matches(client))


def kill(instance: Instance, chosen: Filter, caller: Client) -> int:
    """End the connections that a filter means; answers how many. The caller still gets its reply."""
    count = 0
    for client in chosen.select(instance):
        count += 1
        if client is caller:
            client.close()
        else:
            client.kill()
    return count
