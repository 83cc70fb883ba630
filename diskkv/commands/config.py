"""CONFIG: reading, changing and saving the configuration of the running server."""

from __future__ import annotations

from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import Flag, command
from diskkv.resp.reply import OK, bulk, map_of
from diskkv.services.client import Client

_ADMIN = Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE
_ALL_NODES = ("request_policy:all_nodes", "response_policy:all_succeeded")
_PER_PARAMETER = "O(N) when N is the number of configuration parameters provided"


@command("CONFIG", arity=-2, flags=Flag(0), group="server", since="2.0.0", complexity="Depends on subcommand.")
def config(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands about the configuration."""
    raise unknown_subcommand(argv)


@command("CONFIG HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="server", since="5.0.0", complexity="O(1)")
def config_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "CONFIG",
        "GET <pattern> [<pattern> ...]",
        "    The parameters that match a glob, with their values.",
        "SET <parameter> <value> [<parameter> <value> ...]",
        "    Change parameters, all of them or none.",
        "RESETSTAT",
        "    Start the counters that INFO shows from zero.",
        "REWRITE",
        "    Write the current values to the configuration file.",
    )


@command("CONFIG GET", arity=-3, flags=_ADMIN, group="server", since="2.0.0", complexity=_PER_PARAMETER,
         syntax="parameter [parameter ...]")  # fmt: skip
def config_get(client: Client, argv: list[bytes]) -> bytes:
    """Return the values of the parameters that match one of the patterns."""
    pairs = client.instance.config.get(argv[2:])
    return map_of(((bulk(name), bulk(value)) for name, value in pairs), client.resp)


@command("CONFIG SET", arity=-4, flags=_ADMIN, group="server", since="2.0.0", complexity=_PER_PARAMETER,
         syntax="parameter value [parameter value ...]", tips=_ALL_NODES)  # fmt: skip
def config_set(client: Client, argv: list[bytes]) -> bytes:
    """Change parameters of the running server, all of them or none."""
    client.instance.config.set(argv[2:], client.is_local)
    return OK


@command("CONFIG RESETSTAT", arity=2, flags=_ADMIN, group="server", since="2.0.0", complexity="O(1)", tips=_ALL_NODES)
def config_resetstat(client: Client, argv: list[bytes]) -> bytes:
    """Start the counters that INFO shows from zero."""
    instance = client.instance
    instance.stats.reset()
    instance.engine.reset_stats()
    for entry in instance.commands.values():
        entry.reset_stats()
        for sub in entry.subcommands.values():
            sub.reset_stats()
    return OK


@command("CONFIG REWRITE", arity=2, flags=_ADMIN, group="server", since="2.8.0", complexity="O(1)", tips=_ALL_NODES)
def config_rewrite(client: Client, argv: list[bytes]) -> bytes:
    """Write the current values to the configuration file, keeping its comments."""
    client.instance.config.rewrite()
    return OK
