"""Scripts: compiled once, kept by SHA-1, run as one atomic piece of work.

The engine runs commands through `execute(argv, resp) -> encoded reply`, which the dispatcher provides; errors are
replies that start with ``-`` (or a raised CommandError). Everything about a script that dispatch may want to know while
one of its commands executes is in `ScriptEngine.running`.

Source: https://redis.io/docs/latest/develop/programmability/lua-api/
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from diskkv.errors import CommandError
from diskkv.services.scripting.convert import format_argument
from diskkv.services.scripting.sandbox import LuaError, OutOfScriptMemoryError, Sandbox
from diskkv.services.scripting.shebang import FLAG_NAMES, ScriptFlag, parse_script

Execute = Callable[[list[bytes], int], bytes]
Registrar = Callable[[bytes, bytes | None, bytes], bytes | None]
"""Takes a function's name, description and flags ("a,b") while its library loads; returns an error's text or None."""

DEFAULT_MEMORY_LIMIT_BYTES = 256 * 1024 * 1024
DEFAULT_BUSY_THRESHOLD_MS = 5000
MAX_EVAL_SCRIPTS = 500
"""Scripts that came by EVAL and are kept for EVALSHA; the least recently used goes first. SCRIPT LOAD has no limit."""

_MAX_STACK_ARGUMENTS = 4000
_CALLS_PER_TICK = 16
_LARGE_REPLY_BYTES = 16 * 1024

_NO_ARGUMENTS = b"ERR Please specify at least one argument for this redis lib call"
_BAD_ARGUMENTS = b"ERR Lua redis lib command arguments must be strings or integers"
_NOT_BUSY = b"NOTBUSY No scripts in execution right now."
_UNKILLABLE = (
    b"UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script "
    b"termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)
BUSY_SCRIPT = b"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
BUSY_FUNCTION = b"BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
_NO_SCRIPT = b"NOSCRIPT No matching script. Please use EVAL."
READONLY_NEEDED = b"ERR Can not execute a script with write flag using *_ro command."
_OUT_OF_MEMORY = b"ERR not enough memory for the script"

_NO_WRITES = int(ScriptFlag.NO_WRITES)
_int_and = int.__and__
"""Flags are combined by a method in Python otherwise, which takes a tenth of a run."""

_SHA1 = re.compile(rb"[0-9a-fA-F]{40}")


class Script:
    """A compiled script: its hash, source, flags and Lua function."""

    __slots__ = ("flags", "from_eval", "function", "sha", "source")

    def __init__(self, sha: bytes, source: bytes, flags: ScriptFlag, function: Any) -> None:
        self.sha = sha
        self.source = source
        self.flags = flags
        self.function = function
        self.from_eval = False


class RunningScript:
    """The run in progress.

    `name` is the script's hash or the function's name; `readonly` says that writes must be refused ("ERR Write commands
    are not allowed from read-only scripts."). Dispatch sets `wrote` when one of its commands has changed the
    dataset: such a run cannot be killed any more.
    """

    __slots__ = ("command", "flags", "is_function", "name", "readonly", "started_s", "wrote")

    def __init__(
        self, name: bytes, flags: ScriptFlag, command: Sequence[bytes], *, readonly: bool, is_function: bool
    ) -> None:
        self.name = name
        self.flags = flags
        self.command = command
        self.is_function = is_function
        self.readonly = readonly or bool(_int_and(flags, _NO_WRITES))
        self.started_s = time.monotonic()
        self.wrote = False

    @property
    def duration_ms(self) -> int:
        """Time since the run began."""
        return int((time.monotonic() - self.started_s) * 1000)


class _ScriptRaisedError(Exception):
    """Carries an error from a callback through Lua; its text waits in the engine."""


class ScriptEngine:
    """One Lua runtime and the scripts loaded into it. Not re-entrant and not for use from several threads.

    `execute` runs a command and returns its encoded reply for the RESP version given (2 or 3). `acl_check(argv)` tells
    whether the caller may run a command, and raises CommandError for a bad command. `log(level, message)` takes
    redis.log output, level 0 (debug) to 3 (warning). `on_tick` is called about every millisecond once a run has
    lasted `busy_threshold_ms` (0: from the first tick), and between the commands of such a run: there the server serves
    SCRIPT KILL and PING; it must not run scripts.
    """

    def __init__(
        self,
        execute: Execute,
        *,
        acl_check: Callable[[list[bytes]], bool] | None = None,
        log: Callable[[int, bytes], None] | None = None,
        on_tick: Callable[[], None] | None = None,
        version: str = "7.4.0",
        memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
        busy_threshold_ms: int = DEFAULT_BUSY_THRESHOLD_MS,
        max_eval_scripts: int = MAX_EVAL_SCRIPTS,
    ) -> None:
        self.execute = execute
        self.acl_check = acl_check
        self.log = log
        self.on_tick = on_tick
        self.busy_threshold_ms = busy_threshold_ms
        self.running: RunningScript | None = None
        self.evicted_scripts = 0
        self._version = version
        self._memory_limit_bytes = memory_limit_bytes
        self._max_eval_scripts = max_eval_scripts
        self._resp = 2
        self._pending: bytes | None = None
        self._abort: bytes | None = None
        self._fatal: BaseException | None = None
        self._calls_until_tick = _CALLS_PER_TICK
        self._registrar: Registrar | None = None
        self._load_deadline_s: float | None = None
        self._scripts: dict[bytes, Script] = {}
        self._eval_order: OrderedDict[bytes, None] = OrderedDict()
        self._scripts_size_bytes = 0
        self.sandbox = self._new_sandbox()

    def _new_sandbox(self) -> Sandbox:
        callbacks: dict[str, Callable[..., Any]] = {
            "call": self._make_call(protected=False),
            "pcall": self._make_call(protected=True),
            "tick": self._tick,
            "take_error": self._take_error,
            "abort_reason": self._abort_reason,
            "acl_check": self._check_acl,
            "log": self._write_log,
            "setresp": self._set_resp,
            "register": self._register,
            "is_flag": FLAG_NAMES.__contains__,
        }
        return Sandbox(callbacks, version=self._version, memory_limit_bytes=self._memory_limit_bytes)

    # -- scripts by hash

    def load(self, source: bytes, *, from_eval: bool = False) -> bytes:
        """Compile `source` if it is new; returns its SHA-1 in lower-case hex.

        Scripts `from_eval` may be evicted later (LRU); loading one without it makes it stay. Raises CommandError.
        """
        sha = hashlib.sha1(source).hexdigest().encode()
        script = self._scripts.get(sha)
        if script is None:
            script = self._compile(sha, source)
            self._scripts[sha] = script
            self._scripts_size_bytes += len(source)
            if from_eval:
                script.from_eval = True
                self._eval_order[sha] = None
                self._evict()
        elif script.from_eval and not from_eval:
            script.from_eval = False
            del self._eval_order[sha]
        return sha

    def _compile(self, sha: bytes, source: bytes) -> Script:
        header = parse_script(source)
        body = source[header.body_offset :] if header.body_offset else source
        try:
            function, problem = self.sandbox.compile(body, b"@user_script")
        except OutOfScriptMemoryError:
            raise CommandError(_OUT_OF_MEMORY) from None
        if function is None:
            raise CommandError(b"ERR Error compiling script (new function): " + problem)
        return Script(sha, source, header.flags, function)

    def _evict(self) -> None:
        while len(self._eval_order) > self._max_eval_scripts:
            sha, _ = self._eval_order.popitem(last=False)
            self._scripts_size_bytes -= len(self._scripts.pop(sha).source)
            self.evicted_scripts += 1

    def get(self, sha: bytes) -> Script:
        """The script with this hash (hex in any case). Raises CommandError NOSCRIPT."""
        script = self._scripts.get(sha)
        if script is None:
            script = self._scripts.get(sha.lower())
            if script is None:
                raise CommandError(_NO_SCRIPT)
        return script

    def exists(self, sha: bytes) -> bool:
        """Whether a script with this hash (hex in any case) is loaded."""
        return sha in self._scripts or (_SHA1.fullmatch(sha) is not None and sha.lower() in self._scripts)

    def flush(self) -> None:
        """Forget all scripts. The interpreter is kept: function libraries live in it."""
        self._scripts.clear()
        self._eval_order.clear()
        self._scripts_size_bytes = 0
        self.sandbox.restore_limit()

    def __len__(self) -> int:
        return len(self._scripts)

    @property
    def scripts_bytes(self) -> int:
        """The sources of all scripts (INFO's used_memory_scripts_eval)."""
        return self._scripts_size_bytes

    @property
    def memory_bytes(self) -> int:
        """What the interpreter holds (INFO's used_memory_vm_eval)."""
        return self.sandbox.memory_used()

    # -- runs

    def run(
        self,
        sha: bytes,
        keys: Sequence[bytes],
        args: Sequence[bytes],
        *,
        resp: int = 2,
        readonly: bool = False,
        command: Sequence[bytes] = (),
    ) -> bytes:
        """Run a loaded script; returns its encoded reply for a client of RESP version `resp`.

        A failing script is a reply too (``-ERR ...``). `readonly` is for the _RO commands; `command` is the client's
        command, for FUNCTION STATS. Raises CommandError NOSCRIPT or for a script that is not read-only, and whatever
        else `execute` raised that is not a CommandError.
        """
        script = self._scripts.get(sha)
        if script is None:
            script = self.get(sha)
        if script.from_eval:
            self._eval_order.move_to_end(script.sha)
        if readonly and not script.flags & (ScriptFlag.NO_WRITES | ScriptFlag.COMPAT):
            raise CommandError(READONLY_NEEDED)
        running = RunningScript(script.sha, script.flags, command, readonly=readonly, is_function=False)
        return self._run(running, script.function, keys, args, resp)

    def run_function(
        self,
        function: Any,
        running: RunningScript,
        keys: Sequence[bytes],
        args: Sequence[bytes],
        resp: int,
    ) -> bytes:
        """Run a registered Lua function with (keys, args); the rest as for `run`."""
        return self._run(running, function, keys, args, resp)

    def _run(
        self, running: RunningScript, function: Any, keys: Sequence[bytes], args: Sequence[bytes], resp: int
    ) -> bytes:
        if self.running is not None:
            raise RuntimeError("a script is already running")
        sandbox = self.sandbox
        self._resp = 2
        self.running = running
        try:
            if len(keys) + len(args) > _MAX_STACK_ARGUMENTS:
                return self._run_pending(running, function, keys, args, resp)
            words = [*keys, *args]
            size = 4 * sum(map(len, words))
            if sandbox.memory_used() + size > sandbox.pressure_bytes and sandbox.under_pressure(size):
                sandbox.restore_limit()
                return b"-%b\r\n" % _OUT_OF_MEMORY
            enter = sandbox.run_function if running.is_function else sandbox.run_script
            reply: bytes = enter(function, running.name, resp, len(keys), *words)
        except LuaError as error:
            reply = b"-%b script: %b\r\n" % (self._stopped_outside(error), running.name)
        finally:
            self.running = None
            if self._abort is not None or self._fatal is not None:
                self._after_abort()
        return reply

    def _run_pending(
        self, running: RunningScript, function: Any, keys: Sequence[bytes], args: Sequence[bytes], resp: int
    ) -> bytes:
        """Like a run, for more arguments than a Lua call can take: they are appended in slices first."""
        sandbox = self.sandbox
        for to_keys, values in ((True, keys), (False, args)):
            for start in range(0, len(values), _MAX_STACK_ARGUMENTS):
                part = values[start : start + _MAX_STACK_ARGUMENTS]
                if sandbox.under_pressure(2 * sum(map(len, part)) + 64 * len(part)):
                    sandbox.drop_pending()
                    sandbox.restore_limit()
                    return b"-%b\r\n" % _OUT_OF_MEMORY
                sandbox.append(to_keys, *part)
        enter = sandbox.run_function_pending if running.is_function else sandbox.run_script_pending
        reply: bytes = enter(function, running.name, resp)
        return reply

    def _stopped_outside(self, error: Exception) -> bytes:
        """The reason when a run ends after the script's own code, while its reply is made; re-raises a real failure."""
        if self._abort is None and self._fatal is None:
            if not isinstance(error, MemoryError):
                raise error
            self._abort = _OUT_OF_MEMORY
        return self._abort_reason()

    def _after_abort(self) -> None:
        fatal = self._fatal
        self._abort = self._fatal = self._pending = None
        self.sandbox.rearm()
        self.sandbox.restore_limit()
        if fatal is not None:
            raise fatal

    def load_library(self, source: bytes, registrar: Registrar, timeout_ms: int) -> dict[bytes, Any]:
        """Compile and run a function library (its code without the shebang).

        `registrar` hears of each function as it is registered. Returns the Lua callbacks by name. Raises CommandError
        with Redis' texts, also when the library runs for longer than `timeout_ms` (0: no limit).
        """
        if self.running is not None or self._registrar is not None:
            raise RuntimeError("a script is already running")
        try:
            function, problem = self.sandbox.compile(source, b"@user_function", library=True)
        except OutOfScriptMemoryError:
            raise CommandError(_OUT_OF_MEMORY) from None
        if function is None:
            raise CommandError(b"ERR Error compiling function: " + problem)
        self._registrar = registrar
        self._load_deadline_s = time.monotonic() + timeout_ms / 1000 if timeout_ms else None
        try:
            loaded = self.sandbox.load_library(function)
        except LuaError as error:
            raise CommandError(b"ERR Error registering functions: " + self._stopped_outside(error)) from None
        finally:
            self._registrar = self._load_deadline_s = None
            if self._abort is not None or self._fatal is not None:
                self._after_abort()
        if isinstance(loaded, tuple):
            raise CommandError(b"ERR Error registering functions: " + loaded[1])
        return {name: loaded[name] for name in loaded}

    def _register(self, name: bytes, description: bytes | None, flags: bytes) -> bytes | None:
        if self._registrar is None:
            return b"ERR redis.register_function can only be called on FUNCTION LOAD command"
        return self._registrar(name, description, flags)

    # -- stopping a run

    def kill(self, *, function: bool = False) -> None:
        """SCRIPT KILL (or FUNCTION KILL): stop the run in progress at its next tick. Raises CommandError."""
        running = self.running
        if running is None:
            raise CommandError(_NOT_BUSY)
        if running.wrote:
            raise CommandError(_UNKILLABLE)
        if running.is_function != function:
            raise CommandError(BUSY_FUNCTION if running.is_function else BUSY_SCRIPT)
        self.abort(b"ERR Script killed by user with SCRIPT KILL...")

    def abort(self, reason: bytes) -> None:
        """Stop the run in progress whatever it has done (shutdown, a deadline); `reason` becomes its error."""
        self._abort = reason

    @property
    def is_busy(self) -> bool:
        """Whether a run has lasted longer than the busy threshold: other clients then get `busy_error`."""
        return self.running is not None and self.running.duration_ms >= self.busy_threshold_ms

    @property
    def busy_error(self) -> CommandError:
        """The error for commands that other clients send meanwhile."""
        return CommandError(BUSY_FUNCTION if self.running is not None and self.running.is_function else BUSY_SCRIPT)

    def _tick(self) -> bool:
        """Called by the instruction hook: whether the run must stop."""
        if self.sandbox.under_pressure():
            self._abort = _OUT_OF_MEMORY
            return True
        if self._load_deadline_s is not None and time.monotonic() >= self._load_deadline_s:
            self._abort = b"ERR FUNCTION LOAD timeout"
            return True
        running = self.running
        if running is not None and self.on_tick is not None and running.duration_ms >= self.busy_threshold_ms:
            try:
                self.on_tick()
            except BaseException as exc:  # noqa: BLE001 (it must cross Lua unharmed; _after_abort raises it again)
                self._fatal = exc
        return self._abort is not None or self._fatal is not None

    def _abort_reason(self) -> bytes:
        return self._abort or b"ERR script stopped"

    # -- callbacks from Lua

    def _take_error(self) -> bytes | None:
        """The text of the error that a callback has just raised, or None when the run must end."""
        if self._abort is not None or self._fatal is not None:
            return None
        pending, self._pending = self._pending, None
        if pending is None:
            self._abort = b"ERR internal error in a script callback"
        return pending

    def _set_resp(self, resp: int) -> None:
        self._resp = resp

    def _write_log(self, level: int, message: bytes) -> None:
        if self.log is not None:
            self.log(level, message)

    def _check_acl(self, *argv: Any) -> bool | None:
        """Whether the caller may run the command; None for a command that cannot be."""
        if self.acl_check is None:
            return True
        try:
            return self.acl_check([arg if isinstance(arg, bytes) else format_argument(arg) for arg in argv])
        except CommandError:
            return None

    @staticmethod
    def _arguments(argv: tuple[Any, ...]) -> list[bytes]:
        """The arguments of a call with numbers formatted. Raises CommandError for other types."""
        words: list[bytes] = []
        for arg in argv:
            if isinstance(arg, bytes):
                words.append(arg)
            elif isinstance(arg, (int, float)) and not isinstance(arg, bool):
                words.append(format_argument(arg))
            else:
                raise CommandError(_BAD_ARGUMENTS)
        return words

    def _dispatch(self, argv: tuple[Any, ...]) -> bytes:
        """Run one command and return its reply; CommandErrors become replies, other exceptions end the run."""
        try:
            words = list(argv)
            for word in words:
                if word.__class__ is not bytes:
                    words = self._arguments(argv)
                    break
            if not words:
                raise CommandError(_NO_ARGUMENTS)
            reply = self.execute(words, self._resp)
        except CommandError as error:
            return error.reply
        except BaseException as exc:  # noqa: BLE001 (it must cross Lua unharmed; _after_abort raises it again)
            self._fatal = exc
            raise _ScriptRaisedError from None
        if len(reply) > _LARGE_REPLY_BYTES and self.sandbox.under_pressure(3 * len(reply)):
            self._abort = _OUT_OF_MEMORY
            raise _ScriptRaisedError
        return reply

    def _make_call(self, *, protected: bool) -> Callable[..., Any]:
        def call(*argv: Any) -> Any:
            sandbox = self.sandbox
            self._calls_until_tick -= 1
            if self._calls_until_tick <= 0 or sandbox.memory_used() > sandbox.pressure_bytes:
                self._calls_until_tick = _CALLS_PER_TICK
                if self._tick():
                    raise _ScriptRaisedError
            reply = self._dispatch(argv)
            kind = reply[0]
            if kind == 36:  # $
                return reply[reply.index(b"\r\n") + 2 : -2] if reply[1] != 45 else False
            if kind == 58:  # :
                return int(reply[1:])
            if kind == 43:  # +
                return sandbox.status(reply[1:-2])
            if kind == 45:  # -
                if protected:
                    return sandbox.failure(reply[1:-2])
                self._pending = reply[1:-2]
                raise _ScriptRaisedError
            if kind == 95:  # _
                return None
            return sandbox.parse(reply)

        return call
