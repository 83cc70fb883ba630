"""The connection itself: greeting, login, protocol version, database (CLIENT is in client.py)."""

from __future__ import annotations

from diskkv.codec.numbers import parse_int64
from diskkv.commands.generic import parse_database
from diskkv.commands.registry import Flag, command
from diskkv.commands.runs import Columns, run_of
from diskkv.errors import CommandError
from diskkv.resp import reply
from diskkv.resp.reply import OK, PONG, bulk, bulks, integer
from diskkv.services.client import Client
from diskkv.services.info import REDIS_VERSION

_ALWAYS = Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.NO_AUTH | Flag.ALLOW_BUSY


@command("PING", arity=-1, flags=Flag.FAST | Flag.PLAIN, group="connection", since="1.0.0", complexity="O(1)",
         syntax="[message]", tips=("request_policy:all_shards", "response_policy:all_succeeded"))  # fmt: skip
def ping(client: Client, argv: list[bytes]) -> bytes:
    """Answer, so that the other side knows that the server is alive."""
    if len(argv) > 2:
        raise CommandError(b"ERR wrong number of arguments for 'ping' command")
    if client.subscriptions and client.resp == 2:
        return bulks([b"pong", argv[1] if len(argv) == 2 else b""])
    return bulk(argv[1]) if len(argv) == 2 else PONG


@run_of("ping", argc=1)
def ping_run(_client: Client, columns: Columns) -> list[bytes]:
    """Several PINGs."""
    return [PONG] * len(columns[0])


@command("ECHO", arity=2, flags=Flag.LOADING | Flag.STALE | Flag.FAST | Flag.PLAIN, group="connection", since="1.0.0",
         complexity="O(1)", syntax="message")  # fmt: skip
def echo(client: Client, argv: list[bytes]) -> bytes:
    """Return the argument."""
    return bulk(argv[1])


@command("SELECT", arity=2, flags=Flag.LOADING | Flag.STALE | Flag.FAST, group="connection", since="1.0.0",
         complexity="O(1)", syntax="index")  # fmt: skip
def select(client: Client, argv: list[bytes]) -> bytes:
    """Change the database that this connection works on."""
    client.db = parse_database(client, argv[1])
    return OK


@command("QUIT", arity=-1, flags=_ALWAYS, group="connection", since="1.0.0", complexity="O(1)")
def quit_(client: Client, argv: list[bytes]) -> bytes:
    """Close the connection."""
    client.close()
    return OK


@command("RESET", arity=1, flags=_ALWAYS, group="connection", since="6.2.0", complexity="O(1)")
def reset(client: Client, argv: list[bytes]) -> bytes:
    """Put the connection back into the state of a new one."""
    client.instance.reset_client(client)
    return b"+RESET\r\n"


@command("AUTH", arity=-2, flags=_ALWAYS, group="connection", since="1.0.0",
         complexity="O(N) where N is the number of passwords of the user.",
         syntax="[username@6.0.0] password")  # fmt: skip
def auth(client: Client, argv: list[bytes]) -> bytes:
    """Log in."""
    if len(argv) > 3:
        raise CommandError(b"ERR syntax error")
    if len(argv) == 2:
        if client.instance.acl.default_user.nopass:
            raise CommandError(
                b"ERR AUTH <password> called without any password configured for the default user. "
                b"Are you sure your configuration is correct?"
            )
        client.instance.login.login(client, b"default", argv[1])
    else:
        client.instance.login.login(client, argv[1], argv[2])
    return OK


@command("HELLO", arity=-1, flags=_ALWAYS, group="connection", since="6.0.0", complexity="O(1)",
         syntax="[protover [AUTH username password] [SETNAME clientname]]")  # fmt: skip
def hello(client: Client, argv: list[bytes]) -> bytes:
    """Introduce both sides to each other, and choose the protocol version."""
    version = client.resp
    at = 1
    if len(argv) > 1:
        try:
            version = parse_int64(argv[1])
        except ValueError:
            raise CommandError(b"ERR Protocol version is not an integer or out of range") from None
        if version not in (2, 3):
            raise CommandError(b"NOPROTO unsupported protocol version")
        at = 2
    credentials: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    while at < len(argv):
        left = len(argv) - 1 - at
        option = argv[at].upper()
        if option == b"AUTH" and left >= 2:
            credentials = (argv[at + 1], argv[at + 2])
            at += 3
        elif option == b"SETNAME" and left >= 1:
            name = valid_name(argv[at + 1])
            at += 2
        else:
            raise CommandError(b"ERR Syntax error in HELLO option '%b'" % argv[at])
    if credentials is not None:
        client.instance.login.login(client, *credentials)
    if not client.authenticated:
        raise CommandError(
            b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
            b"<user> <pass> option can be used to authenticate the client and select the RESP protocol version at the "
            b"same time"
        )
    if name is not None:
        client.name = name
    client.use_resp(version)
    return _greeting(client)


def _greeting(client: Client) -> bytes:
    pairs = [
        (bulk(b"server"), bulk(b"redis")),
        (bulk(b"version"), bulk(REDIS_VERSION.encode())),
        (bulk(b"proto"), integer(client.resp)),
        (bulk(b"id"), integer(client.id)),
        (bulk(b"mode"), bulk(b"standalone")),
        (bulk(b"role"), bulk(b"master")),
        (bulk(b"modules"), reply.EMPTY_ARRAY),
    ]
    return reply.map_of(pairs, client.resp)


def valid_name(name: bytes, attribute: str = "Client names") -> bytes:
    """A client name without spaces and control characters. Raises Redis' error."""
    if any(not 0x21 <= byte <= 0x7E for byte in name):
        raise CommandError(f"ERR {attribute} cannot contain spaces, newlines or special characters.")
    return name


