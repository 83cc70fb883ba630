"""INFO: the state of the server as text (the sections are in services/info.py)."""

from __future__ import annotations

from diskkv.commands.registry import Flag, command
from diskkv.resp.reply import verbatim
from diskkv.services import info
from diskkv.services.client import Client


@command("INFO", arity=-1, flags=Flag.LOADING | Flag.STALE | Flag.DANGEROUS, group="server", since="1.0.0",
         complexity="O(1)", syntax="[section [section ...]]",
         tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"))  # fmt: skip
def info_(client: Client, argv: list[bytes]) -> bytes:
    """Describe the server: process, clients, memory, statistics, databases, the store."""
    names = [argument.decode("latin-1").lower() for argument in argv[1:]] or ["default"]
    return verbatim(info.render(client.instance, names), client.resp)
