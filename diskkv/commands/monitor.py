"""MONITOR: watching the commands of all clients."""

from __future__ import annotations

from diskkv.commands.registry import Flag, command
from diskkv.errors import CommandError
from diskkv.resp.reply import OK
from diskkv.services.client import Client


@command("MONITOR", arity=1, flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE, group="server",
         since="1.0.0", complexity="")  # fmt: skip
def monitor(client: Client, argv: list[bytes]) -> bytes | None:
    """Send every command of every client to this one, from now on."""
    if client.transaction is not None or client.is_script:
        # The messages would mix with the replies of the transaction.
        raise CommandError(b"ERR MONITOR isn't allowed for DENY BLOCKING client")
    if client.is_monitor:
        return None
    client.is_monitor = True
    client.instance.monitors[client.id] = client
    client.instance.refresh_fast()
    return OK
