"""MODULE: there are none, and none can be loaded; clients ask for the list to see what the server can do."""

from __future__ import annotations

from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import Flag, command
from diskkv.errors import CommandError
from diskkv.resp.reply import EMPTY_ARRAY
from diskkv.services.client import Client

_LOADING_FLAGS = Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING
_NOT_ALLOWED = (
    b'ERR MODULE command not allowed. If the enable-module-command option is set to "local", you can run it from a '
    b"local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)


@command("MODULE", arity=-2, flags=Flag(0), group="server", since="4.0.0", complexity="Depends on subcommand.")
def module(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands about modules."""
    raise unknown_subcommand(argv)


@command("MODULE HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="server", since="5.0.0", complexity="O(1)")
def module_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "MODULE",
        "LIST",
        "    The modules that are loaded: none.",
        "LOAD <path> [<argument> ...], LOADEX <path> [CONFIG <name> <value> ...] [ARGS <argument> ...], UNLOAD <name>",
        "    Refused, as this server cannot load modules.",
    )


@command("MODULE LIST", arity=2, flags=Flag.ADMIN | Flag.NOSCRIPT, group="server", since="4.0.0",
         complexity="O(1)", tips=("nondeterministic_output_order",))  # fmt: skip
def module_list(client: Client, argv: list[bytes]) -> bytes:
    """Return the loaded modules: none."""
    return EMPTY_ARRAY


def _check_allowed(client: Client) -> None:
    allowed = client.instance.config.enable_module_command
    if allowed == "no" or (allowed == "local" and not client.is_local):
        raise CommandError(_NOT_ALLOWED)


def _not_loaded(client: Client) -> CommandError:
    _check_allowed(client)
    return CommandError(b"ERR Error loading the extension. Please check the server logs.")


@command("MODULE LOAD", arity=-3, flags=_LOADING_FLAGS, group="server", since="4.0.0", complexity="O(1)",
         syntax="path [arg [arg ...]]")  # fmt: skip
def module_load(client: Client, argv: list[bytes]) -> bytes:
    """Refuse to load a module."""
    raise _not_loaded(client)


@command("MODULE LOADEX", arity=-3, flags=_LOADING_FLAGS, group="server", since="7.0.0", complexity="O(1)",
         syntax="path [CONFIG name value [CONFIG name value ...]] [ARGS args [args ...]]")  # fmt: skip
def module_loadex(client: Client, argv: list[bytes]) -> bytes:
    """Refuse to load a module with parameters."""
    raise _not_loaded(client)


@command("MODULE UNLOAD", arity=3, flags=_LOADING_FLAGS, group="server", since="4.0.0", complexity="O(1)",
         syntax="name")  # fmt: skip
def module_unload(client: Client, argv: list[bytes]) -> bytes:
    """Refuse to unload a module, as none is loaded."""
    _check_allowed(client)
    raise CommandError(b"ERR Error unloading module: no such module with that name")
