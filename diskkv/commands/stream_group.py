"""Consumer groups and their consumers: XGROUP."""

from __future__ import annotations

from diskkv.codec.header import Header
from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.stream_arguments import (
    no_such_group,
    notify,
    parse_any_id,
    parse_id,
    parse_integer,
    put_unwatched,
    shown,
    write_stream,
)
from diskkv.datatypes import streams, streams_groups
from diskkv.datatypes.streams import ZERO_ID, Stream
from diskkv.datatypes.streams_groups import NOT_KNOWN, Group
from diskkv.errors import CommandError
from diskkv.resp.reply import OK, ONE, ZERO, integer
from diskkv.services.client import Client

_NO_KEY = (
    b"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM "
    b"option to create an empty stream automatically."
)
_MOST_CREATE_ARGUMENTS = 8


def wrong_subcommand(argv: list[bytes]) -> CommandError:
    """What a container answers to arguments that fit no form of the subcommand."""
    return CommandError(
        b"ERR unknown subcommand or wrong number of arguments for '%b'. Try %b HELP."
        % (shown(argv[1]), argv[0].upper())
    )


@command("XGROUP", arity=-2, flags=Flag(0), group="stream", since="5.0.0", complexity="Depends on subcommand.")
def xgroup(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands that manage consumer groups."""
    raise unknown_subcommand(argv)


@command("XGROUP HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="stream", since="5.0.0", complexity="O(1)")
def xgroup_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "XGROUP",
        "CREATE <key> <group> <id | $> [MKSTREAM] [ENTRIESREAD <n>]",
        "    Make a group that has read up to <id>; MKSTREAM makes the stream too.",
        "CREATECONSUMER <key> <group> <consumer>",
        "    Make a consumer of a group.",
        "DELCONSUMER <key> <group> <consumer>",
        "    Delete a consumer with its pending entries.",
        "DESTROY <key> <group>",
        "    Delete a group.",
        "SETID <key> <group> <id | $> [ENTRIESREAD <n>]",
        "    Set up to where a group has read.",
    )


def _parse_options(argv: list[bytes], is_create: bool) -> tuple[bool, int]:
    """(MKSTREAM, entries read) from argv[5] on."""
    make_stream = False
    read = NOT_KNOWN
    at = 5
    while at < len(argv):
        option = argv[at].upper()
        if is_create and option == b"MKSTREAM":
            make_stream = True
        elif option == b"ENTRIESREAD" and at + 1 < len(argv):
            at += 1
            read = parse_integer(argv[at])
            if read < 0 and read != NOT_KNOWN:
                raise CommandError(b"ERR value for ENTRIESREAD must be positive or -1")
        else:
            raise wrong_subcommand(argv)
        at += 1
    return make_stream, read


def _existing(client: Client, argv: list[bytes]) -> Header:
    old = write_stream(client, argv[2])
    if old is None:
        raise CommandError(_NO_KEY)
    return old


def _group(client: Client, argv: list[bytes]) -> Group:
    stream = Stream(_existing(client, argv))
    group = streams_groups.find(client.engine, stream, argv[3])
    if group is None:
        raise no_such_group(argv[2], argv[3])
    return group


@command(
    "XGROUP CREATE",
    arity=-5,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("RW insert", begin=2),
    group="stream",
    since="5.0.0",
    complexity="O(1)",
    syntax="key group <id | $> [MKSTREAM] [ENTRIESREAD entriesread=entries-read]",
)
def xgroup_create(client: Client, argv: list[bytes]) -> bytes:
    """Make a consumer group."""
    make_stream, read = _parse_options(argv, True)
    key = argv[2]
    old = write_stream(client, key) if make_stream else _existing(client, argv)
    if len(argv) > _MOST_CREATE_ARGUMENTS:
        raise wrong_subcommand(argv)
    if argv[4] == b"$":
        last = ZERO_ID if old is None else Stream(old).last
    else:
        last = parse_id(argv[4])
    stream = streams.new(client.engine) if old is None else Stream(old)
    if streams_groups.find(client.engine, stream, argv[3]) is not None:
        raise CommandError(b"BUSYGROUP Consumer Group name already exists")
    streams_groups.create(client.engine, stream, argv[3], last, min(read, stream.added))
    if old is None:
        client.db.put(key, stream.header(), None)
    else:
        put_unwatched(client, key, stream, old)
    notify(client, b"xgroup-create", key)
    return OK


@command(
    "XGROUP SETID",
    arity=-5,
    flags=Flag.WRITE,
    keys=KeySpec("RW update", begin=2),
    group="stream",
    since="5.0.0",
    complexity="O(1)",
    syntax="key group <id | $> [ENTRIESREAD entriesread=entries-read]",
)
def xgroup_setid(client: Client, argv: list[bytes]) -> bytes:
    """Set up to where a group has read."""
    _, read = _parse_options(argv, False)
    group = _group(client, argv)
    if len(argv) not in (5, 7):
        raise wrong_subcommand(argv)
    group.last = group.stream.last if argv[4] == b"$" else parse_any_id(argv[4])
    group.read = min(read, group.stream.added)
    group.save()
    client.engine.changes += 1
    notify(client, b"xgroup-setid", argv[2])
    return OK


@command(
    "XGROUP DESTROY",
    arity=4,
    flags=Flag.WRITE,
    keys=KeySpec("RW delete", begin=2),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of pending entries; the rows of many are deleted in the background.",
    syntax="key group",
)
def xgroup_destroy(client: Client, argv: list[bytes]) -> bytes:
    """Delete a group; those who wait for entries in its name get an error."""
    old = _existing(client, argv)
    stream = Stream(old)
    group = streams_groups.find(client.engine, stream, argv[3])
    if group is None:
        return ZERO
    streams_groups.destroy(client.engine, stream, group)
    put_unwatched(client, argv[2], stream, old)
    client.instance.blocking.changed(client.db, argv[2])
    notify(client, b"xgroup-destroy", argv[2])
    return ONE


@command(
    "XGROUP CREATECONSUMER",
    arity=5,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("RW insert", begin=2),
    group="stream",
    since="6.2.0",
    complexity="O(1)",
    syntax="key group consumer",
)
def xgroup_createconsumer(client: Client, argv: list[bytes]) -> bytes:
    """Make a consumer of a group."""
    group = _group(client, argv)
    if group.consumer(argv[4]) is not None:
        return ZERO
    group.create_consumer(argv[4], client.engine.now_ms)
    group.save()
    client.engine.changes += 1
    notify(client, b"xgroup-createconsumer", argv[2])
    return ONE


@command(
    "XGROUP DELCONSUMER",
    arity=5,
    flags=Flag.WRITE,
    keys=KeySpec("RW delete", begin=2),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of entries that are pending with the consumer.",
    syntax="key group consumer",
)
def xgroup_delconsumer(client: Client, argv: list[bytes]) -> bytes:
    """Delete a consumer; answers how many entries were pending with it."""
    group = _group(client, argv)
    consumer = group.consumer(argv[4])
    if consumer is None:
        return ZERO
    pending = group.delete_consumer(consumer)
    group.save()
    client.engine.changes += 1
    notify(client, b"xgroup-delconsumer", argv[2])
    return integer(pending)
