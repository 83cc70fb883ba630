"""CLIENT: the connections of the server, and the state of this one (TRACKING and its kin are in tracking.py)."""

from __future__ import annotations

from diskkv.codec.numbers import INT64_MAX, parse_int64
from diskkv.commands.connection import valid_name
from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import Flag, command
from diskkv.errors import CommandError, CommandSyntaxError, NotIntegerError
from diskkv.resp.reply import OK, ONE, ZERO, bulk, integer, verbatim
from diskkv.services.client import Client
from diskkv.services.clients import Filter, describe, kill

_OWN = Flag.NOSCRIPT | Flag.LOADING | Flag.STALE
_ADMIN = _OWN | Flag.ADMIN
_ALL_NODES = ("request_policy:all_nodes", "response_policy:all_succeeded")
_PER_CLIENT = "O(N) where N is the number of client connections"
_KINDS = {b"normal": "normal", b"master": "master", b"replica": "replica", b"slave": "replica", b"pubsub": "pubsub"}


@command("CLIENT", arity=-2, flags=Flag(0), group="connection", since="2.4.0", complexity="Depends on subcommand.")
def client_(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands about client connections."""
    raise unknown_subcommand(argv)


@command("CLIENT HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="connection", since="5.0.0",
         complexity="O(1)")  # fmt: skip
def client_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "CLIENT",
        "CACHING (YES|NO)",
        "    Whether the keys of the next command are tracked, in the modes OPTIN and OPTOUT.",
        "GETREDIR",
        "    The id of the client that invalidation messages are sent to.",
        "GETNAME",
        "    The name of this connection.",
        "ID",
        "    The id of this connection.",
        "INFO",
        "    What is known about this connection.",
        "KILL <ip:port>",
        "    Close the connection from an address.",
        "KILL <option> <value> [<option> <value> ...]",
        "    Close all connections to which every option applies: ADDR <ip:port>, LADDR <ip:port>,",
        "    TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER <username>, ID <client-id>, MAXAGE <seconds>,",
        "    SKIPME (YES|NO) (default: yes).",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <client-id> [<client-id> ...]]",
        "    What is known about connections, one on each line.",
        "NO-EVICT (ON|OFF)",
        "    Whether this connection may be closed to save memory.",
        "NO-TOUCH (ON|OFF)",
        "    Whether the commands of this connection count as accesses to keys.",
        "PAUSE <milliseconds> [WRITE|ALL]",
        "    Hold back all commands, or those that may write.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether this connection gets replies.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Tell the name and the version of the client library.",
        "SETNAME <name>",
        "    Name this connection.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> ...] [OPTIN] [OPTOUT] [NOLOOP]",
        "    Get messages when keys that this connection has read change.",
        "TRACKINGINFO",
        "    The state of TRACKING.",
        "UNBLOCK <client-id> [TIMEOUT|ERROR]",
        "    End the wait of a blocked client.",
        "UNPAUSE",
        "    End PAUSE.",
    )


@command("CLIENT ID", arity=2, flags=_OWN, group="connection", since="5.0.0", complexity="O(1)")
def client_id(client: Client, argv: list[bytes]) -> bytes:
    """Return the id of the connection: no two connections ever have the same one, later ones have greater ones."""
    return integer(client.id)


@command("CLIENT GETNAME", arity=2, flags=_OWN, group="connection", since="2.6.9", complexity="O(1)")
def client_getname(client: Client, argv: list[bytes]) -> bytes:
    """Return the name of the connection."""
    return bulk(client.name) if client.name else client.null


@command("CLIENT SETNAME", arity=3, flags=_OWN, group="connection", since="2.6.9", complexity="O(1)",
         syntax="connection-name", tips=_ALL_NODES)  # fmt: skip
def client_setname(client: Client, argv: list[bytes]) -> bytes:
    """Name the connection; an empty name takes it away."""
    client.name = valid_name(argv[2])
    return OK


@command("CLIENT SETINFO", arity=4, flags=_OWN, group="connection", since="7.2.0", complexity="O(1)",
         syntax="<LIB-NAME libname | LIB-VER libver>", tips=_ALL_NODES)  # fmt: skip
def client_setinfo(client: Client, argv: list[bytes]) -> bytes:
    """Tell the server which client library this is."""
    attribute = argv[2].lower()
    if attribute == b"lib-name":
        client.lib_name = valid_name(argv[3], argv[2].decode("latin-1"))
    elif attribute == b"lib-ver":
        client.lib_version = valid_name(argv[3], argv[2].decode("latin-1"))
    else:
        raise CommandError(b"ERR Unrecognized option '%b'" % argv[2])
    return OK


@command("CLIENT INFO", arity=2, flags=_OWN, group="connection", since="6.2.0", complexity="O(1)",
         tips=("nondeterministic_output",))  # fmt: skip
def client_info(client: Client, argv: list[bytes]) -> bytes:
    """Describe this connection as CLIENT LIST does."""
    return verbatim(describe(client, "client|info") + b"\n", client.resp)


@command("CLIENT LIST", arity=-2, flags=_ADMIN, group="connection", since="2.4.0", complexity=_PER_CLIENT,
         syntax="[client-type=TYPE <NORMAL | MASTER | REPLICA | PUBSUB>@5.0.0] [ID@6.2.0 client-id [client-id ...]]",
         tips=("nondeterministic_output",))  # fmt: skip
def client_list(client: Client, argv: list[bytes]) -> bytes:
    """Describe the connections, one on each line."""
    chosen = Filter()
    option = argv[2].upper() if len(argv) > 2 else b""
    if option == b"TYPE" and len(argv) == 4:
        chosen.kind = _parse_kind(argv[3])
    elif option == b"ID" and len(argv) > 3:
        chosen.ids = frozenset(_parse_any_id(text) for text in argv[3:])
    elif option:
        raise CommandSyntaxError
    lines = [
        describe(each, "client|list" if each is client else None) + b"\n" for each in chosen.select(client.instance)
    ]
    return verbatim(b"".join(lines), client.resp)


def _parse_kind(text: bytes) -> str:
    kind = _KINDS.get(text.lower())
    if kind is None:
        raise CommandError(b"ERR Unknown client type '%b'" % text)
    return kind


def _parse_any_id(text: bytes) -> int:
    try:
        return parse_int64(text)
    except ValueError:
        raise CommandError(b"ERR Invalid client ID") from None


def _parse_id(text: bytes) -> int:
    error = CommandError(b"ERR client-id should be greater than 0")
    try:
        number = parse_int64(text)
    except ValueError:
        raise error from None
    if number < 1:
        raise error
    return number


def _too_many_arguments(argv: list[bytes]) -> CommandError:
    return CommandError(
        b"ERR unknown subcommand or wrong number of arguments for '%b'. Try CLIENT HELP." % argv[1][:128]
    )


_KILL_SYNTAX = (
    "filter=<old-format=ip:port | new-format=<[ID@2.8.12 client-id]"
    " | [TYPE@2.8.12 <NORMAL | MASTER@3.2.0 | SLAVE | REPLICA@5.0.0 | PUBSUB>] | [USER username] | [ADDR addr=ip:port]"
    " | [LADDR@6.2.0 laddr=ip:port] | [SKIPME <YES | NO>] | [MAXAGE@7.4.0 maxage]> ...>"
)


@command("CLIENT KILL", arity=-3, flags=_ADMIN, group="connection", since="2.4.0", complexity=_PER_CLIENT,
         syntax=_KILL_SYNTAX)  # fmt: skip
def client_kill(client: Client, argv: list[bytes]) -> bytes:
    """Close connections."""
    if len(argv) == 3:
        address = argv[2].decode("latin-1")
        if not kill(client.instance, Filter(address=address), client):
            raise CommandError(b"ERR No such client")
        return OK
    return integer(kill(client.instance, _parse_filter(client, argv), client))


def _parse_filter(client: Client, argv: list[bytes]) -> Filter:
    chosen = Filter(skip=client)
    if len(argv) % 2:
        raise CommandSyntaxError
    for option, value in zip(argv[2::2], argv[3::2], strict=True):
        name = option.lower()
        if name == b"id":
            chosen.ids = frozenset((_parse_id(value),))
        elif name == b"maxage":
            chosen.min_age_s = _parse_age(value)
        elif name == b"type":
            chosen.kind = _parse_kind(value)
        elif name == b"addr":
            chosen.address = value.decode("latin-1")
        elif name == b"laddr":
            chosen.local_address = value.decode("latin-1")
        elif name == b"user":
            chosen.user = client.instance.acl.find(value)
            if chosen.user is None:
                raise CommandError(b"ERR No such user '%b'" % value)
        elif name == b"skipme" and value.lower() in (b"yes", b"no"):
            chosen.skip = client if value.lower() == b"yes" else None
        else:
            raise CommandSyntaxError
    return chosen


def _parse_age(text: bytes) -> int:
    try:
        age_s = parse_int64(text)
    except ValueError:
        raise CommandError(b"ERR maxage is not an integer or out of range") from None
    if age_s < 1:
        raise CommandError(b"ERR maxage should be greater than 0")
    return age_s


@command("CLIENT PAUSE", arity=-3, flags=_ADMIN, group="connection", since="3.0.0", complexity="O(1)",
         syntax="timeout:integer [WRITE | ALL]@6.2.0")  # fmt: skip
def client_pause(client: Client, argv: list[bytes]) -> bytes:
    """Hold back the commands of all clients, or those that may write, for a time in milliseconds."""
    pause_all = True
    if len(argv) == 4:
        if argv[3].upper() not in (b"WRITE", b"ALL"):
            raise CommandError(b"ERR CLIENT PAUSE mode must be WRITE or ALL")
        pause_all = argv[3].upper() == b"ALL"
    elif len(argv) > 4:
        raise _too_many_arguments(argv)
    try:
        timeout_ms = parse_int64(argv[2])
    except ValueError:
        raise CommandError(b"ERR timeout is not an integer or out of range") from None
    if timeout_ms < 0:
        raise CommandError(b"ERR timeout is negative")
    if timeout_ms > INT64_MAX - client.engine.now_ms:
        raise CommandError(b"ERR timeout is out of range")
    client.instance.pause(client.engine.now_ms + timeout_ms, pause_all)
    return OK


@command("CLIENT UNPAUSE", arity=2, flags=_ADMIN, group="connection", since="6.2.0",
         complexity="O(N) Where N is the number of paused clients")  # fmt: skip
def client_unpause(client: Client, argv: list[bytes]) -> bytes:
    """End CLIENT PAUSE."""
    client.instance.unpause()
    return OK


@command("CLIENT REPLY", arity=3, flags=_OWN, group="connection", since="3.2.0", complexity="O(1)",
         syntax="<ON | OFF | SKIP>")  # fmt: skip
def client_reply(client: Client, argv: list[bytes]) -> bytes:
    """Choose whether this connection gets replies; SKIP leaves out that of the next command."""
    mode = argv[2].upper()
    if client.transaction is not None:
        client.transaction.switched_replies = True
    if mode == b"ON":
        client.reply_on = True
        client.skip_replies &= ~1
    elif mode == b"OFF":
        client.reply_on = False
    elif mode == b"SKIP":
        # In a transaction it is the command after EXEC that is skipped: EXEC sees to it.
        if client.reply_on and client.transaction is None:
            client.skip_replies |= 2
    else:
        raise CommandSyntaxError
    client.refresh()
    return OK


def _parse_switch(text: bytes) -> bool:
    if text.upper() not in (b"ON", b"OFF"):
        raise CommandSyntaxError
    return text.upper() == b"ON"


@command("CLIENT NO-EVICT", arity=3, flags=_ADMIN, group="connection", since="7.0.0", complexity="O(1)",
         syntax="<ON | OFF>")  # fmt: skip
def client_no_evict(client: Client, argv: list[bytes]) -> bytes:
    """Choose whether this connection may be closed to save memory."""
    client.no_evict = _parse_switch(argv[2])
    return OK


@command("CLIENT NO-TOUCH", arity=3, flags=_OWN, group="connection", since="7.2.0", complexity="O(1)",
         syntax="<ON | OFF>")  # fmt: skip
def client_no_touch(client: Client, argv: list[bytes]) -> bytes:
    """Choose whether the commands of this connection count as accesses to keys."""
    client.no_touch = _parse_switch(argv[2])
    return OK


@command("CLIENT UNBLOCK", arity=-3, flags=_ADMIN, group="connection", since="5.0.0",
         complexity="O(1)", syntax="client-id [TIMEOUT | ERROR]")  # fmt: skip
def client_unblock(client: Client, argv: list[bytes]) -> bytes:
    """End the wait of a blocked client, as if its time was over or with an error."""
    reason = argv[3].upper() if len(argv) == 4 else b"TIMEOUT"
    if len(argv) > 4:
        raise _too_many_arguments(argv)
    if reason not in (b"TIMEOUT", b"ERROR"):
        raise CommandError(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    try:
        ident = parse_int64(argv[2])
    except ValueError:
        raise NotIntegerError from None
    target = client.instance.clients.get(ident)
    if target is None or target.blocked is None:
        return ZERO
    answer = target.blocked.block.timeout_reply
    if reason == b"ERROR":
        answer = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
    client.instance.blocking.unblock(target, answer)
    return ONE
