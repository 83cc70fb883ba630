"""What a script's redis.call does: the checks of a command from a script, its execution, its statistics."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from diskkv.commands.dispatch import check_state
from diskkv.commands.registry import Command, Flag, find
from diskkv.errors import CommandError

if TYPE_CHECKING:
    from diskkv.services.client import Client
    from diskkv.services.scripting.engine import Execute, ScriptEngine
    from diskkv.services.scripts import Scripts

_UNKNOWN = b"ERR Unknown Redis command called from script"
_ARITY = b"ERR Wrong number of args calling Redis command from script"
_NOT_ALLOWED = b"ERR This Redis command is not allowed from script"
_READONLY = b"ERR Write commands are not allowed from read-only scripts."
_CHECKED_FLAGS = Flag.NOSCRIPT | Flag.MAY_REPLICATE
_NOT_MONITORED = Flag.SKIP_MONITOR | Flag.ADMIN
_DENIED = b"ERR ACL failure in script: "


def scripts_of(client: Client) -> Scripts:
    """The instance's scripts, ready to run."""
    scripts = client.instance.scripts
    if scripts.make_execute is None:
        scripts.acl_check = lambda argv: may_run(scripts, argv)
        scripts.make_execute = lambda engine: make_execute(scripts, engine)
        scripts.connect()
    return scripts


def may_run(scripts: Scripts, argv: list[bytes]) -> bool:
    """redis.acl_check_cmd. Raises CommandError for an unknown command."""
    entry = find(argv)
    if entry is None:
        raise CommandError(_UNKNOWN)
    return scripts.instance.acl.check(scripts.caller.user, entry, argv) is None


def make_execute(scripts: Scripts, script_engine: ScriptEngine) -> Execute:
    """The function that executes the commands of scripts; its CommandErrors are for refused commands.

    A command that fails because of the store, or by a bug, ends the script with that exception: nothing of it stays.
    """
    instance = scripts.instance
    engine = instance.engine
    journal = engine.journal
    client = scripts.client
    reads, writes = _plain_commands(instance.commands)

    def execute(argv: list[bytes], resp: int) -> bytes:
        if client.resp != resp:
            client.use_resp(resp)
        if not scripts.unchecked:
            entry = _checked(scripts, script_engine, argv)
        else:
            found = reads.get(argv[0])
            if found is None or not found.min_argc <= len(argv) <= found.max_argc:
                found = writes.get(argv[0])
                running: Any = script_engine.running
                if found is None or running.readonly or not found.min_argc <= len(argv) <= found.max_argc:
                    found = _checked(scripts, script_engine, argv)
                else:
                    running.wrote = True
            entry = found
        mark = len(journal)
        start_ns = perf_counter_ns()
        try:
            reply = entry.fn(client, argv)
        except CommandError as exc:
            engine.rollback(mark)
            entry.failed_calls += 1
            reply = _counted(scripts, exc)
        spent_ns = perf_counter_ns() - start_ns
        entry.usec_ns += spent_ns
        try:
            entry.fine_durations[spent_ns >> 8] += 1
        except IndexError:
            entry.durations.add(spent_ns)
        if spent_ns > instance.slow_ns:
            instance.note_slow(client, entry, argv, spent_ns)
        if instance.monitors and not entry.flags & _NOT_MONITORED:
            instance.feed_monitors(client, argv)
        if client.tracking is not None and entry.flags & Flag.READONLY:
            instance.tracking.remember(client.tracking, entry, argv)
        if reply.__class__ is not bytes:
            # It would block, which scripts cannot; or it is one that answers nothing.
            return getattr(reply, "denied_reply", b"_\r\n")
        return reply

    return execute


def _plain_commands(commands: dict[str, Command]) -> tuple[dict[bytes, Command], dict[bytes, Command]]:
    """The commands that need no check but their arity (and read-only scripts), by name: those that read, that write."""
    reads: dict[bytes, Command] = {}
    writes: dict[bytes, Command] = {}
    for name, entry in commands.items():
        if entry.flags & Flag.PLAIN and not entry.flags & _CHECKED_FLAGS and not entry.subcommands:
            table = writes if entry.flags & Flag.WRITE else reads
            table[name.encode()] = table[name.upper().encode()] = entry
    return reads, writes


def _checked(scripts: Scripts, script_engine: ScriptEngine, argv: list[bytes]) -> Command:
    """The command, if the script may run it now. Raises CommandError, which is counted."""
    entry = find(argv)
    try:
        if entry is None:
            raise CommandError(_UNKNOWN)
        if not entry.accepts(len(argv)):
            raise CommandError(_ARITY)
        if entry.flags & Flag.NOSCRIPT:
            raise CommandError(_NOT_ALLOWED)
        _check_permission(scripts, entry, argv)
        if entry.flags & (Flag.WRITE | Flag.MAY_REPLICATE):
            running: Any = script_engine.running
            if running.readonly:
                raise CommandError(_READONLY)
            if entry.flags & Flag.WRITE:
                running.wrote = True
        check_state(scripts.client, entry)
    except CommandError as exc:
        if entry is not None:
            entry.rejected_calls += 1
        _counted(scripts, exc)
        raise
    return entry


def _check_permission(scripts: Scripts, entry: Command, argv: list[bytes]) -> None:
    instance = scripts.instance
    caller = scripts.caller
    if caller.user.unrestricted:
        return
    denial = instance.acl.check(caller.user, entry, argv)
    if denial is not None:
        instance.acl.log_denial(denial, "lua", instance.describe_client(caller), instance.engine.now_ms)
        raise CommandError(_DENIED + denial.text)


def _counted(scripts: Scripts, exc: CommandError) -> bytes:
    """Count an error; the reply that the script gets. If it ends the script, that is not counted again."""
    scripts.instance.stats.count_error(exc.code)
    scripts.counted_error = exc.message
    return exc.reply
