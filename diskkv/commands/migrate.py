"""MIGRATE: options, and whether the client can wait for it. See services/migrations.py."""

from __future__ import annotations

from collections.abc import Sequence

from diskkv.codec.header import STRING
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import OK
from diskkv.services.blocking import Block
from diskkv.services.client import Client
from diskkv.services.migrations import Migration

_NO_KEY = b"+NOKEY\r\n"
_DEFAULT_TIMEOUT_MS = 1000
_KEY_FLAGS = "RW access delete"


def _keys_of(argv: Sequence[bytes]) -> list[tuple[int, str]]:
    """The positions of the keys: argument 3, or what follows KEYS when that is empty."""
    if len(argv) > 3 and argv[3]:
        return [(3, _KEY_FLAGS)]
    at = 6
    while at < len(argv):
        option = argv[at].upper()
        if option == b"KEYS":
            return [(position, _KEY_FLAGS) for position in range(at + 1, len(argv))]
        at += {b"AUTH": 2, b"AUTH2": 3}.get(option, 1)
    return [(3, _KEY_FLAGS)] if len(argv) > 3 else []


class _Options:
    """What stands behind the time-out."""

    def __init__(self, argv: list[bytes]) -> None:
        self.copy = self.replace = False
        self.user: bytes | None = None
        self.password: bytes | None = None
        self.keys = [argv[3]]
        at = 6
        while at < len(argv):
            option = argv[at].upper()
            left = len(argv) - 1 - at
            if option == b"COPY":
                self.copy = True
            elif option == b"REPLACE":
                self.replace = True
            elif option == b"AUTH" and left >= 1:
                self.password = argv[at + 1]
                at += 1
            elif option == b"AUTH2" and left >= 2:
                self.user, self.password = argv[at + 1], argv[at + 2]
                at += 2
            elif option == b"KEYS":
                if argv[3]:
                    message = "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
                    raise CommandError(message)
                self.keys = argv[at + 1 :]
                return
            else:
                raise CommandSyntaxError
            at += 1


@command(
    "MIGRATE",
    arity=-6,
    flags=Flag.WRITE | Flag.MOVABLEKEYS | Flag.DANGEROUS,
    keys=(KeySpec(_KEY_FLAGS, 3), KeySpec(_KEY_FLAGS + " incomplete", -2, last=-1, keyword=b"KEYS")),
    get_keys=_keys_of,
    group="generic",
    since="2.6.0",
    complexity="A DUMP and a DEL here and a RESTORE on the other server for each key, and sending them.",
    syntax='host port key-selector=<key#0 | empty-string=""> destination-db timeout:integer [COPY@3.0.0]'
    " [REPLACE@3.0.0] authentication=[AUTH auth=password@4.0.7 | AUTH2@6.0.0 username password]"
    " [KEYS keys=key#1@3.0.6 [keys=key ...]]",
    tips=("nondeterministic_output",),
    may_wait=True,
)
def migrate(client: Client, argv: list[bytes]) -> bytes | Block:
    """Move keys to another server."""
    options = _Options(argv)
    timeout_ms = parse_integer(argv[5])
    database = parse_integer(argv[4])
    if timeout_ms <= 0:
        timeout_ms = _DEFAULT_TIMEOUT_MS
    migrations = client.instance.migrations
    items = migrations.read(client, options.keys)
    if not items:
        return _NO_KEY
    try:
        port = int(argv[2])
    except ValueError:
        port = 0
    migration = Migration(
        argv[1].decode("latin-1"), port, database, timeout_ms, options.replace, options.user, options.password, items
    )
    waits = client.transaction is None and not client.is_script and migrations.run_beside is not None
    if not waits:
        return migrations.run(client, migration, options.copy)
    migrations.start(client, migration, options.copy)
    return Block([], STRING, 0, OK)
