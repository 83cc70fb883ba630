"""ACL: users, their rules, and the log of what they were denied."""

from __future__ import annotations

from typing import Any, cast

from diskkv.commands.arguments import parse_integer
from diskkv.commands.dispatch import unknown_subcommand, wrong_arity
from diskkv.commands.registry import Flag, command, find
from diskkv.errors import CommandError
from diskkv.resp.reply import OK, array, bulk, bulks, double, integer, map_of, set_of, simple
from diskkv.services.acl import CATEGORIES, Acl, AclLogEntry, generate_password
from diskkv.services.acl.selector import Selector
from diskkv.services.client import Client

_OPEN = Flag.NOSCRIPT | Flag.LOADING | Flag.STALE
_ADMIN = _OPEN | Flag.ADMIN
_ALL_NODES = ("request_policy:all_nodes", "response_policy:all_succeeded")
_SHOWN_ENTRIES = 10

_HELP = (
    b"ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"CAT [<category>]",
    b"    The command categories, or the commands of one.",
    b"DELUSER <username> [<username> ...]",
    b"    Delete users and close their connections.",
    b"DRYRUN <username> <command> [<arg> ...]",
    b"    Tell whether a user may run a command, without running it.",
    b"GETUSER <username>",
    b"    The flags, password hashes and rules of a user.",
    b"GENPASS [<bits>]",
    b"    A random password of 256 bits, or of as many as asked for.",
    b"LIST",
    b"    All users, in the form of the configuration file.",
    b"LOAD",
    b"    Replace all users by those of the ACL file.",
    b"LOG [<count> | RESET]",
    b"    The newest denials, 10 or as many as asked for; or forget them all.",
    b"SAVE",
    b"    Write all users to the ACL file.",
    b"SETUSER <username> <attribute> [<attribute> ...]",
    b"    Create or change a user.",
    b"USERS",
    b"    The names of all users.",
    b"WHOAMI",
    b"    The user of this connection.",
    b"HELP",
    b"    This text.",
)


def _acl(client: Client) -> Acl:
    return cast(Any, client.instance).acl  # type: ignore[no-any-return]


def _check_argument_count(argv: list[bytes], most: int) -> None:
    if len(argv) > most:
        raise CommandError(
            b"ERR unknown subcommand or wrong number of arguments for '%b'. Try ACL HELP." % argv[1][:128]
        )


def _take_secret(argv: list[bytes]) -> list[bytes]:
    """The arguments behind the subcommand, which are blanked in `argv` so that the slow log cannot show them."""
    secret = argv[2:]
    argv[2:] = [b"(redacted)"] * len(secret)
    return secret


@command("ACL", arity=-2, flags=Flag(0), group="server", since="6.0.0", complexity="Depends on subcommand.")
def acl(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands about users and their permissions."""
    raise unknown_subcommand(argv)


@command("ACL HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="server", since="6.0.0",
         complexity="O(1)")  # fmt: skip
def acl_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return array([simple(line) for line in _HELP])


@command("ACL CAT", arity=-2, flags=_OPEN, group="server", since="6.0.0", syntax="[category]",
         complexity="O(1), as the categories and commands are fixed.")  # fmt: skip
def acl_cat(client: Client, argv: list[bytes]) -> bytes:
    """List the command categories, or the commands of a category."""
    _check_argument_count(argv, 3)
    if len(argv) == 2:
        return bulks([category.encode() for category in CATEGORIES])
    names = _acl(client).command_names(argv[2].decode("latin-1"))
    if names is None:
        raise CommandError(b"ERR Unknown category '%b'" % argv[2][:128])
    return bulks([name.encode() for name in names])


@command("ACL WHOAMI", arity=2, flags=_OPEN, group="server", since="6.0.0", complexity="O(1)")
def acl_whoami(client: Client, argv: list[bytes]) -> bytes:
    """Return the name of the connection's user."""
    return bulk(client.user.name)


@command("ACL GENPASS", arity=-2, flags=_OPEN, group="server", since="6.0.0", complexity="O(1)", syntax="[bits]")
def acl_genpass(client: Client, argv: list[bytes]) -> bytes:
    """Make a random password in hex digits; nothing is stored."""
    _check_argument_count(argv, 3)
    return bulk(generate_password(*(parse_integer(bits) for bits in argv[2:])))


@command("ACL LIST", arity=2, flags=_ADMIN, group="server", since="6.0.0",
         complexity="O(N) where N is the number of users.")  # fmt: skip
def acl_list(client: Client, argv: list[bytes]) -> bytes:
    """List all users with their rules, as in the configuration file."""
    return bulks(_acl(client).describe_users())


@command("ACL USERS", arity=2, flags=_ADMIN, group="server", since="6.0.0",
         complexity="O(N) where N is the number of users.")  # fmt: skip
def acl_users(client: Client, argv: list[bytes]) -> bytes:
    """List the names of all users."""
    return bulks([user.name for user in _acl(client).users()])


@command("ACL GETUSER", arity=3, flags=_ADMIN, group="server", since="6.0.0", syntax="username",
         complexity="O(N) where N is the number of the user's rules.")  # fmt: skip
def acl_getuser(client: Client, argv: list[bytes]) -> bytes:
    """Return the flags, password hashes and rules of a user."""
    user = _acl(client).find(*_take_secret(argv))
    if user is None:
        return client.null
    root, *others = user.selectors
    resp = client.resp
    fields = [
        (bulk(b"flags"), set_of([bulk(flag.encode()) for flag in user.flags], resp)),
        (bulk(b"passwords"), bulks(user.passwords)),
        *_selector_fields(root),
        (bulk(b"selectors"), array([map_of(_selector_fields(selector), resp) for selector in others])),
    ]
    return map_of(fields, resp)


def _selector_fields(selector: Selector) -> list[tuple[bytes, bytes]]:
    return [
        (bulk(b"commands"), bulk(selector.describe_commands())),
        (bulk(b"keys"), bulk(selector.describe_keys())),
        (bulk(b"channels"), bulk(selector.describe_channels())),
    ]


@command("ACL SETUSER", arity=-3, flags=_ADMIN, group="server", since="6.0.0", syntax="username [rule [rule ...]]",
         complexity="O(N) where N is the number of rules.", tips=_ALL_NODES)  # fmt: skip
def acl_setuser(client: Client, argv: list[bytes]) -> bytes:
    """Create a user, or change one by further rules."""
    username, *rules = _take_secret(argv)
    _acl(client).set_user(username, rules)
    return OK


@command("ACL DELUSER", arity=-3, flags=_ADMIN, group="server", since="6.0.0", syntax="username [username ...]",
         complexity="O(N) where N is the number of connections.", tips=_ALL_NODES)  # fmt: skip
def acl_deluser(client: Client, argv: list[bytes]) -> bytes:
    """Delete users and close their connections."""
    return integer(_acl(client).delete_users(_take_secret(argv)))


@command("ACL DRYRUN", arity=-4, flags=_ADMIN, group="server", since="7.0.0", syntax="username command [arg [arg ...]]",
         complexity="O(1)")  # fmt: skip
def acl_dryrun(client: Client, argv: list[bytes]) -> bytes:
    """Tell whether a user may run a command, without running it."""
    service = _acl(client)
    user = service.find(argv[2])
    if user is None:
        raise CommandError(b"ERR User '%b' not found" % argv[2])
    request = argv[3:]
    entry = find(request)
    if entry is None:
        raise CommandError(b"ERR Command '%b' not found" % argv[3])
    if not entry.accepts(len(request)):
        raise wrong_arity(entry)
    denial = service.check(user, entry, request)
    return OK if denial is None else bulk(denial.explanation)


@command("ACL LOG", arity=-2, flags=_ADMIN, group="server", since="6.0.0", syntax="operation=[count | RESET]",
         complexity="O(N) where N is the number of entries shown.")  # fmt: skip
def acl_log(client: Client, argv: list[bytes]) -> bytes:
    """List the newest denials and failed logins, or forget them."""
    _check_argument_count(argv, 3)
    log = _acl(client).log
    if len(argv) == 3 and argv[2].lower() == b"reset":
        log.reset()
        return OK
    count = parse_integer(argv[2]) if len(argv) == 3 else _SHOWN_ENTRIES
    now_ms = client.engine.now_ms
    return array([_encode_entry(entry, now_ms, client.resp) for entry in log.newest(count)])


def _encode_entry(entry: AclLogEntry, now_ms: int, resp: int) -> bytes:
    fields = {
        b"count": integer(entry.count),
        b"reason": bulk(entry.reason.encode()),
        b"context": bulk(entry.context.encode()),
        b"object": bulk(entry.object),
        b"username": bulk(entry.username),
        b"age-seconds": double(entry.age_s(now_ms), resp),
        b"client-info": bulk(entry.client_info),
        b"entry-id": integer(entry.id),
        b"timestamp-created": integer(entry.created_ms),
        b"timestamp-last-updated": integer(entry.updated_ms),
    }
    return map_of(((bulk(name), value) for name, value in fields.items()), resp)


@command("ACL LOAD", arity=2, flags=_ADMIN, group="server", since="6.0.0",
         complexity="O(N) where N is the number of users.")  # fmt: skip
def acl_load(client: Client, argv: list[bytes]) -> bytes:
    """Replace all users by those of the ACL file, or none of them when it has an error."""
    _acl(client).load()
    return OK


@command("ACL SAVE", arity=2, flags=_ADMIN, group="server", since="6.0.0",
         complexity="O(N) where N is the number of users.", tips=_ALL_NODES)  # fmt: skip
def acl_save(client: Client, argv: list[bytes]) -> bytes:
    """Write all users to the ACL file."""
    _acl(client).save()
    return OK
