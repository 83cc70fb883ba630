"""Scripts and functions of an instance: one Lua engine, made when it is first needed, and the client it runs as.

Function libraries are kept on disk, each under a system row of its own that is staged with the command that changes it:

    SYSTEM_NAMED "library:" name      value: the library's code

Scripts by hash are kept in memory only, as in Redis.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from diskkv.codec.keys import SYSTEM_NAMED, prefix_successor
from diskkv.engine.store import Store
from diskkv.errors import CommandError
from diskkv.services.client import Client
from diskkv.services.info import REDIS_VERSION
from diskkv.services.renaming import own_name

if TYPE_CHECKING:
    from diskkv.services.instance import Instance
    from diskkv.services.scripting.engine import Execute, ScriptEngine
    from diskkv.services.scripting.functions import FunctionStore

log = logging.getLogger(__name__)

_LIBRARY_ROW = SYSTEM_NAMED + b"library:"
_LOG_LEVELS = (logging.DEBUG, logging.DEBUG, logging.INFO, logging.WARNING)
_NEVER_MS = 1 << 62
_SHUTTING_DOWN = b"ERR the server is shutting down"


def stored_libraries(store: Store) -> Iterator[tuple[bytes, bytes]]:
    """(name, code) of every function library that is kept in a store."""
    for row, code in store.scan(_LIBRARY_ROW, prefix_successor(_LIBRARY_ROW)):
        yield row[len(_LIBRARY_ROW) :], code


class Scripts:
    """Runs scripts for clients. `engine` and `functions` are None until `open`.

    While a script runs, `caller` is the client that it runs for, and `client` executes its commands. `unchecked` says
    that plain commands of the caller need none of dispatch's checks. `counted_error` is the last error reply of one of
    the script's commands: it is in the statistics already.

    `busy`: the script has run for longer than busy-reply-threshold, and only ALLOW_BUSY commands of other clients are
    taken. `serve_others`, set by the server, looks for those. `abandoned`: the script was stopped whatever it had
    written, because the process ends; its turn must not be committed.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.engine: ScriptEngine | None = None
        self.functions: FunctionStore | None = None
        self.client = Client(instance, 0)
        self.client.is_script = True
        self.client.authenticated = True
        self.caller: Client = self.client
        self.unchecked = False
        self.counted_error = b""
        self.busy = False
        self.abandoned = False
        self.serve_others: Callable[[], None] = lambda: None
        self.make_execute: Callable[[ScriptEngine], Execute] | None = None
        """Makes what executes the commands of scripts; set by the command layer before the first run."""
        self.acl_check: Callable[[list[bytes]], bool] = lambda argv: True
        """Whether the caller may run a command; set with `make_execute`."""
        self._announce_gauges()
        self._restore_libraries()

    # ---- the engine

    def open(self) -> ScriptEngine:
        """The engine; made when this is the first call, which takes some ms."""
        if self.engine is not None:
            return self.engine
        from diskkv.services.scripting.engine import ScriptEngine
        from diskkv.services.scripting.functions import FunctionStore

        config = self.instance.config
        engine = ScriptEngine(
            _not_connected,
            acl_check=lambda argv: self.acl_check(argv),
            log=lambda level, message: log.log(_LOG_LEVELS[level], "%s", message.decode("utf-8", "replace")),
            on_tick=self._on_tick,
            version=REDIS_VERSION,
        )

        def set_threshold() -> None:
            engine.busy_threshold_ms = config.busy_reply_threshold or _NEVER_MS

        set_threshold()
        config.on_change("busy-reply-threshold", set_threshold)
        self.functions = FunctionStore(engine)
        self.engine = engine
        return engine

    def connect(self) -> ScriptEngine:
        """The engine, ready to run commands."""
        engine = self.open()
        if self.make_execute is not None and engine.execute is _not_connected:
            engine.execute = self.make_execute(engine)
        return engine

    def _announce_gauges(self) -> None:
        gauges = self.instance.gauges
        for name in ("used_memory_lua", "used_memory_vm_eval", "used_memory_vm_total"):
            gauges[name] = lambda: self.engine.memory_bytes if self.engine is not None else 0
        for name in ("used_memory_scripts", "used_memory_scripts_eval"):
            gauges[name] = lambda: self.engine.scripts_bytes if self.engine is not None else 0
        gauges["number_of_cached_scripts"] = lambda: len(self.engine) if self.engine is not None else 0
        gauges["evicted_scripts"] = lambda: self.engine.evicted_scripts if self.engine is not None else 0
        gauges["number_of_functions"] = lambda: self.functions.function_count if self.functions is not None else 0
        gauges["number_of_libraries"] = lambda: len(self.functions.libraries) if self.functions is not None else 0
        gauges["used_memory_functions"] = self._library_bytes

    def _library_bytes(self) -> int:
        return sum(len(library.code) for library in self.functions.libraries.values()) if self.functions else 0

    # ---- runs

    def run(
        self,
        client: Client,
        run: Callable[..., bytes],
        name: bytes,
        keys: list[bytes],
        args: list[bytes],
        command: list[bytes],
        readonly: bool,
    ) -> bytes:
        """Call `run` (of the engine or of the function store) for a client; the encoded reply.

        Raises CommandError, and whatever else one of the script's commands raised: then nothing of it may stay.
        """
        if self.abandoned:
            raise CommandError(_SHUTTING_DOWN)
        instance = self.instance
        own = self.client
        own.db = client.db
        own.user = client.user
        own.tracking = client.tracking
        self.caller = client
        self.unchecked = (
            own.tracking is None
            and bool(instance.fast)
            and instance.writes.full is None
            and client.user.unrestricted
        )
        self.counted_error = b""
        executing = instance.executing
        instance.executing = client
        try:
            reply = run(name, keys, args, resp=client.resp, readonly=readonly, command=command)
        finally:
            self.caller = own
            instance.executing = executing
            messages = b""
            if executing is None and instance.deferred:
                # The script was run on the fast path, so its messages to its own caller get their place here.
                messages = b"".join(instance.deferred)
                instance.deferred.clear()
            if self.busy:
                self.busy = False
                instance.refresh_fast()
        return reply + messages if messages else reply

    def _on_tick(self) -> None:
        """A script has run for long: the server answers other clients that it is busy, and takes SCRIPT KILL."""
        instance = self.instance
        engine = self.open()
        running = engine.running
        if not self.busy and running is not None:
            self.busy = True
            instance.refresh_fast()
            log.warning(
                "a script still runs after %d ms; %s KILL ends it as long as it has written nothing. Its name: %s",
                running.duration_ms,
                "FUNCTION" if running.is_function else "SCRIPT",
                running.name.decode("latin-1"),
            )
        self.serve_others()

    def busy_error(self) -> CommandError:
        """What other clients are told while a script runs for long."""
        return self.open().busy_error

    def abandon(self) -> None:
        """Stop the running script whatever it has written, because the process is about to end."""
        self.abandoned = True
        self.open().abort(_SHUTTING_DOWN)

    def may_write(self, argv: Sequence[bytes]) -> bool:
        """Whether EVAL, EVALSHA or FCALL with these arguments runs something that has not promised not to write."""
        from diskkv.services.scripting.shebang import ScriptFlag, parse_script

        name = own_name(argv[0])
        try:
            if name == b"EVAL":
                flags = parse_script(argv[1]).flags
            elif name == b"EVALSHA":
                flags = self.open().get(argv[1]).flags
            elif self.functions is not None:
                flags = self.functions.get(argv[1]).flags
            else:
                return True
        except CommandError:
            return True
        return not flags & ScriptFlag.NO_WRITES

    # ---- function libraries, in memory and on disk

    def _restore_libraries(self) -> None:
        """Load what earlier runs of the server kept."""
        for name, code in stored_libraries(self.instance.engine.store):
            self.open()
            assert self.functions is not None
            try:
                self.functions.load(code, timeout_ms=0)
            except CommandError as exc:
                shown = name.decode("latin-1")
                log.error("the function library %s cannot be loaded, it stays on disk: %s", shown, exc)

    def change_libraries(self, change: Callable[[FunctionStore], Any]) -> Any:
        """Change the function store and stage the difference for the disk; answers what `change` does.

        The change is undone with the command's other effects. Raises CommandError; then nothing has changed.
        """
        self.open()
        functions = self.functions
        assert functions is not None
        before = functions.libraries
        mark = functions.save()
        result = change(functions)
        after = functions.libraries
        engine = self.instance.engine
        for attribute, value in mark.items():
            engine.journal.append((functions.__dict__, attribute, value))
        for name in before:
            if name not in after:
                engine.rows.delete(_LIBRARY_ROW + name)
        for name, library in after.items():
            if before.get(name) is not library:
                engine.rows.put(_LIBRARY_ROW + name, library.code)
        return result


def _not_connected(argv: list[bytes], resp: int) -> bytes:
    raise CommandError(b"ERR This Redis command is not allowed from script")
