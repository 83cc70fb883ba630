"""From arguments to a reply: the one place for every check that is not a command's own.

`execute_round` is the hot loop. It runs the commands in `client.fast` straight away: that table holds plain data
commands, and is empty for a client or at a time that needs any of the checks of `execute` (login, ACL, MULTI, RESP2
subscriptions, CLIENT PAUSE and REPLY, MONITOR, refused writes ...).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from diskkv.commands.registry import TABLE, Command, Flag
from diskkv.commands.runs import ANY, Columns
from diskkv.engine.row_reader import ColdRead
from diskkv.errors import CommandError, StorageError
from diskkv.resp import reply
from diskkv.services import transactions
from diskkv.services.blocking import Block
from diskkv.services.client import Client
from diskkv.services.parking import HELD
from diskkv.services.streaming import StreamedReply

if TYPE_CHECKING:
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

_OUTPUT_PAUSE_BYTES = 1 << 20
"""A client's turn ends when its replies take this much, so that one pipeline cannot fill the memory."""

_RUN_REQUESTS = 8
"""Fewer requests are not worth finding out whether they are alike."""
_RUN_SLOW_NS = 1_000_000
"""Requests are timed one by one when those that take less than this are of interest to the slow log."""

_NOAUTH = b"NOAUTH Authentication required."
_IN_TRANSACTION = frozenset({"exec", "discard", "multi", "watch", "quit", "reset"})
_IN_SUBSCRIPTION = frozenset(
    {"subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe", "ping", "quit", "reset"}
)
_SHOWN_ARGUMENTS_BYTES = 128


_HTTP = frozenset({b"post", b"host:"})
"""The first words of lines that a browser was tricked into sending: the connection is closed at once."""


Work = tuple[Client, list[list[bytes]], int, int]
"""A client, its requests, the index of the first one to execute and of the one to stop before.

What `execute_round` needs for all clients is looked up once: with one request each that would be most of the time."""


def execute_round(instance: Instance, work: Iterable[Work]) -> None:
    """Execute requests of several clients in turn; leaves the index of the first one not executed in `next_request`.

    A client's requests stop early when it blocks, is paused or closed, or its replies take much room or are streamed.
    """
    engine = instance.engine
    journal = engine.journal
    ready = instance.blocking.ready
    slow_ns = instance.slow_ns
    clock = perf_counter_ns
    start_ns = clock()
    for client, requests, at, stop in work:
        append = client.out.append
        fast = client.fast
        room_bytes = _OUTPUT_PAUSE_BYTES
        while at < stop:
            argv = requests[at]
            at += 1
            entry = fast.get(argv[0])
            if entry is not None and entry.min_argc <= len(argv) <= entry.max_argc:
                mark = len(journal)
                try:
                    result = entry.fn(client, argv)
                except Exception as exc:  # noqa: BLE001 - see `_raised`
                    engine.rollback(mark)
                    result = _raised(client, entry, argv, exc)
                now_ns = clock()
                spent_ns = now_ns - start_ns
                start_ns = now_ns
                entry.usec_ns += spent_ns
                try:
                    entry.fine_durations[spent_ns >> 8] += 1
                except IndexError:
                    entry.durations.add(spent_ns)
                if spent_ns > slow_ns:
                    instance.note_slow(client, entry, argv, spent_ns)
            else:
                result = execute(client, argv)
                fast = client.fast
                start_ns = clock()
            if result.__class__ is bytes:
                append(result)
                room_bytes -= len(result)
            elif result is HELD:
                at -= 1
                break
            elif result.__class__ is StreamedReply:
                room_bytes = client.start_stream(result)
            if ready and not instance.scripts.busy:
                instance.blocking.serve(engine.databases)
            if client.blocked is not None or client.closing or room_bytes < 0:
                break
        client.next_request = at


def execute_run(client: Client, entry: Command, columns: Columns) -> list[bytes] | None:
    """Execute requests of one plain command as a whole: their replies, or None with nothing done if that cannot be.

    They may come from several clients, of which `client` is one, with the same database and protocol.
    """
    instance = client.instance
    if instance.slow_ns < _RUN_SLOW_NS or instance.notifications.enabled or client.db.observer is not None:
        return None
    engine = client.engine
    mark = len(engine.journal)
    hits, misses = engine.keyspace_hits, engine.keyspace_misses
    start_ns = perf_counter_ns()
    try:
        replies = entry.run(client, columns) if entry.run is not None else None
    except (CommandError, StorageError):
        replies = None
    except Exception:
        # A bug, which one command must not end the server with (see `_raised`): singly they may well work.
        log.exception("bug: a run of %s failed", entry.name)
        instance.stats.unexpected_errors += 1
        replies = None
    if replies is None:
        engine.rollback(mark)
        engine.keyspace_hits, engine.keyspace_misses = hits, misses
        return None
    calls = len(columns[0])
    spent_ns = perf_counter_ns() - start_ns
    entry.usec_ns += spent_ns
    entry.durations.add(spent_ns // calls, calls)
    if spent_ns // calls > instance.slow_ns:
        instance.note_slow(client, entry, [column[0] for column in columns], spent_ns // calls)
    return replies


def _execute_alike(client: Client, requests: list[list[bytes]]) -> list[bytes] | None:
    """Execute requests as one run, if they have the same name and number of arguments and that is possible."""
    name = requests[0][0]
    argc = len(requests[0])
    entry = client.fast.get(name)
    if entry is None or entry.run_argc not in (argc, ANY):
        return None
    if list(map(len, requests)).count(argc) != len(requests):
        return None
    columns = list(map(list, zip(*requests, strict=True)))
    return execute_run(client, entry, columns) if columns[0].count(name) == len(requests) else None


def execute_batch(client: Client, requests: list[list[bytes]], at: int, stop: int) -> int:
    """Execute requests[at:stop] of one client; answers the index of the first one that was not executed."""
    if stop - at >= _RUN_REQUESTS:
        replies = _execute_alike(client, requests[at:stop])
        if replies is not None:
            # One by one: should the commit fail, each of them becomes an error.
            client.out += replies
            return stop
    execute_round(client.instance, ((client, requests, at, stop),))
    return client.next_request


def execute(client: Client, argv: list[bytes]) -> Any:
    """Execute one request with every check; answers the reply, HELD, or None when there is nothing to send (yet).

    Messages that the request caused for its own client follow the reply.
    """
    instance = client.instance
    tracking = instance.tracking
    # Not None while a script that runs for long lets other clients ask for its end.
    outer = instance.executing
    if tracking.clients and outer is None:
        tracking.send()
    instance.executing = client
    result = _checked(client, argv)
    if tracking.clients and outer is None:
        tracking.send()
        if client.tracking is not None and result is not HELD:
            tracking.command_done(client, argv[0])
    instance.executing = outer
    if not client.reply_on and result is not HELD:
        result = None
    elif client.skip_replies and result is not HELD:
        # CLIENT REPLY SKIP itself has no reply, nor has the next command.
        client.skip_replies >>= 1
        if not client.skip_replies:
            client.refresh()
        result = None
    if instance.deferred and outer is None:
        return _with_messages(client, result)
    return result


def _with_messages(client: Client, result: Any) -> Any:
    messages = b"".join(client.instance.deferred)
    client.instance.deferred.clear()
    if result.__class__ is bytes:
        return result + messages
    if result.__class__ is StreamedReply:
        result.append(messages)
        return result
    client.push(messages)
    return result


def _checked(client: Client, argv: list[bytes]) -> Any:
    entry = lookup(argv)
    if entry is None and argv[0].lower() in _HTTP:
        client.kill()
        return None
    instance = client.instance
    try:
        if entry is None:
            raise unknown_command(argv)
        if entry.subcommands and len(argv) > 1:
            raise unknown_subcommand(argv)
        if not entry.accepts(len(argv)):
            raise wrong_arity(entry)
        check_permission(client, entry, argv)
        check_state(client, entry)
    except CommandError as exc:
        if entry is not None and entry.name == "exec":
            exc = transactions.abort(client, exc)
            instance.feed_monitors(client, argv)
        elif client.transaction is not None:
            client.transaction.failed = True
        return _rejected(client, entry, exc)
    if (instance.pause_until_ms and _is_paused(client, entry, argv)) or (
        (instance.pacer.holding and _is_paced(client, entry, argv))
        or (instance.migrations.is_holding and _is_being_moved(client, entry, argv))
    ):
        instance.paused.append(client)
        client.paused = True
        return HELD
    if client.transaction is not None and entry.name not in _IN_TRANSACTION:
        return client.transaction.queue(entry, argv)
    if instance.parking.active:
        return instance.parking.run(client, entry, argv, call)
    return call(client, entry, argv)


def lookup(argv: list[bytes]) -> Command | None:
    """The command or subcommand that is called; a container with an unknown subcommand is answered by itself."""
    entry = TABLE.get(argv[0].decode("latin-1").lower())
    if entry is not None and entry.subcommands and len(argv) > 1:
        return entry.subcommands.get(argv[1].decode("latin-1").lower(), entry)
    return entry


def call(client: Client, entry: Command, argv: list[bytes]) -> Any:
    """Run a command that passed all checks, with its statistics; a Block makes the client wait (None is answered)."""
    instance = client.instance
    engine = client.engine
    mark = len(engine.journal)
    start_ns = perf_counter_ns()
    try:
        result = entry.fn(client, argv)
    except ColdRead:
        # It has done nothing yet, and is to be put off.
        raise
    except Exception as exc:  # noqa: BLE001 - see `_raised`
        engine.rollback(mark)
        result = _raised(client, entry, argv, exc)
    spent_ns = perf_counter_ns() - start_ns
    entry.usec_ns += spent_ns
    entry.durations.add(spent_ns)
    client.last_command = entry.name
    if instance.monitors and not entry.flags & (Flag.SKIP_MONITOR | Flag.ADMIN):
        instance.feed_monitors(client, argv)
    if spent_ns > instance.slow_ns:
        instance.note_slow(client, entry, argv, spent_ns)
    if client.tracking is not None and entry.flags & Flag.READONLY and entry.group != "scripting":
        # A read-only script is no reading of its keys: the commands that it runs are.
        instance.tracking.remember(client.tracking, entry, argv)
    if result.__class__ is Block:
        if client.is_script or client.transaction is not None:
            return result.denied_reply
        instance.blocking.block(client, entry, argv, result)
        return None
    return result


def check_permission(client: Client, entry: Command, argv: list[bytes]) -> None:
    """Login and ACL. Raises NOAUTH or NOPERM."""
    if not client.authenticated and not entry.flags & Flag.NO_AUTH:
        raise CommandError(_NOAUTH)
    if not client.user.unrestricted:
        client.instance.login.check(client, entry, argv)


def check_state(client: Client, entry: Command) -> None:
    """Refuse what the server or the client's mode does not allow now."""
    instance = client.instance
    gate = instance.writes
    if gate.reason is not None and any(
        command.flags & Flag.WRITE and (gate.failed is not None or command.name not in _FREES_SPACE)
        for command in _would_run(client, entry)
    ):
        raise CommandError(gate.refusal())
    if gate.full is not None and any(command.flags & Flag.DENYOOM for command in _would_run(client, entry)):
        raise CommandError(gate.full)
    if client.subscriptions and client.resp == 2 and entry.name not in _IN_SUBSCRIPTION:
        message = (
            f"ERR Can't execute '{entry.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
            "allowed in this context"
        )
        raise CommandError(message)
    if client.is_monitor and entry.flags & (Flag.READONLY | Flag.WRITE | Flag.MAY_REPLICATE):
        raise CommandError(b"ERR Replica can't interact with the keyspace")
    if client.transaction is not None and entry.flags & Flag.NO_MULTI:
        raise CommandError(b"ERR Command not allowed inside a transaction")
    if instance.scripts.busy and not client.is_script and not entry.flags & Flag.ALLOW_BUSY:
        raise instance.scripts.busy_error()


_FREES_SPACE = frozenset({"del", "unlink", "flushdb", "flushall", "expire", "pexpire", "expireat", "pexpireat"})
"""Allowed while writes are refused: a full disk can only be helped by deleting."""


def _is_paused(client: Client, entry: Command, argv: list[bytes]) -> bool:
    instance = client.instance
    if entry.name in ("client|unpause", "client|pause") or client.is_script:
        return False
    if not instance.pause_all and entry.name in RUNS_SCRIPTS:
        return instance.scripts.may_write(argv)
    return instance.pause_all or any(
        command.flags & (Flag.WRITE | Flag.MAY_REPLICATE) for command in _would_run(client, entry)
    )


def _is_paced(client: Client, entry: Command, argv: list[bytes]) -> bool:
    instance = client.instance
    if entry.name in RUNS_SCRIPTS:
        writes = instance.scripts.may_write(argv)
    else:
        writes = any(command.flags & Flag.WRITE for command in _would_run(client, entry))
    return writes and instance.pacer.must_wait(client)


def _is_being_moved(client: Client, entry: Command, argv: list[bytes]) -> bool:
    """Whether a request would change a key that MIGRATE is about to delete."""
    if client.is_script:
        return False
    requests = [(entry, argv)]
    if entry.name == "exec" and client.transaction is not None:
        requests = client.transaction.commands
    holds = client.instance.migrations.holds
    for command, arguments in requests:
        if command.name in _CHANGES_ALL_KEYS:
            return True
        writes = command.flags & Flag.WRITE or command.name in RUNS_SCRIPTS
        if writes and holds(arguments[at] for at, _ in command.key_positions(arguments)):
            return True
    return False


_CHANGES_ALL_KEYS = frozenset({"flushall", "flushdb", "swapdb"})

RUNS_SCRIPTS = frozenset({"eval", "evalsha", "fcall"})


def _would_run(client: Client, entry: Command) -> list[Command]:
    """The commands that an entry stands for: EXEC for those that are queued."""
    if entry.name == "exec" and client.transaction is not None:
        return [queued for queued, _ in client.transaction.commands]
    return [entry]


def unknown_command(argv: list[bytes]) -> CommandError:
    """ERR unknown command, with the beginning of the arguments."""
    shown = b""
    for argument in argv[1:]:
        if len(shown) >= _SHOWN_ARGUMENTS_BYTES:
            break
        shown += b"'%b' " % _shown(argument)[: _SHOWN_ARGUMENTS_BYTES - len(shown)]
    name = _shown(argv[0])[:_SHOWN_ARGUMENTS_BYTES]
    return CommandError(b"ERR unknown command '%b', with args beginning with: %b" % (name, shown))


def _shown(argument: bytes) -> bytes:
    """An argument as Redis prints it: a C string, which ends at a NUL."""
    return argument.partition(b"\0")[0]


def wrong_arity(entry: Command) -> CommandError:
    """ERR wrong number of arguments."""
    return CommandError(f"ERR wrong number of arguments for '{entry.name}' command")


def unknown_subcommand(argv: list[bytes]) -> CommandError:
    """What a container answers to a subcommand that it does not have."""
    sub = _shown(argv[1])[:_SHOWN_ARGUMENTS_BYTES].decode("latin-1")
    name = argv[0].decode("latin-1").upper()
    return CommandError(f"ERR unknown subcommand '{sub}'. Try {name} HELP.".encode("latin-1"))


def _rejected(client: Client, entry: Command | None, exc: CommandError) -> bytes:
    if entry is not None:
        entry.rejected_calls += 1
    client.instance.stats.count_error(exc.code)
    return exc.reply


def _raised(client: Client, entry: Command, argv: list[bytes], exc: Exception) -> bytes:
    """The error reply for what a command raised: the boundary where a bug in one command must not end the server."""
    if isinstance(exc, CommandError):
        return _failed(client, entry, exc)
    if isinstance(exc, StorageError):
        return _storage_failed(client, entry, exc)
    return _crashed(client, entry, argv)


def _failed(client: Client, entry: Command, exc: CommandError) -> bytes:
    entry.failed_calls += 1
    client.instance.stats.count_error(exc.code)
    return exc.reply


def _storage_failed(client: Client, entry: Command, exc: StorageError) -> bytes:
    log.error("%s failed to read: %s", entry.name, exc)
    entry.failed_calls += 1
    client.instance.stats.count_error(b"ERR")
    return reply.error(f"ERR storage error: {exc}".replace("\n", " ").encode())


def _crashed(client: Client, entry: Command, argv: list[bytes]) -> bytes:
    log.exception("bug: %s with %d arguments failed", entry.name, len(argv) - 1)
    entry.failed_calls += 1
    client.instance.stats.unexpected_errors += 1
    client.instance.stats.count_error(b"ERR")
    return b"-ERR internal error; the server's log has the details\r\n"
