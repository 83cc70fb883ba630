"""Function libraries: loading, listing, calling, and the payloads of FUNCTION DUMP and RESTORE.

The store lives in memory beside the engine's interpreter; the caller keeps the libraries on disk by storing each
`Library.code` under its name and loading them again at start.

Source: https://redis.io/docs/latest/develop/programmability/functions-intro/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from diskkv.codec.glob import compile_glob
from diskkv.codec.rdb_payload import dump_functions, load_functions
from diskkv.codec.rdb_values import RdbDataError, RdbUnsupportedError, RdbVersionError
from diskkv.errors import CommandError
from diskkv.services.scripting.engine import READONLY_NEEDED, RunningScript, ScriptEngine
from diskkv.services.scripting.shebang import ScriptFlag, SplitError, flag_names, parse_flags, split_words

LOAD_TIMEOUT_MS = 500

_NAME = re.compile(rb"[A-Za-z0-9_]+")
_BAD_NAME = (
    b"ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
)
_BAD_PAYLOAD = b"ERR DUMP payload version or checksum are wrong"


class Function:
    """A registered function. `flags` never has COMPAT."""

    __slots__ = ("callback", "description", "flags", "library", "name")

    def __init__(self, name: bytes, description: bytes | None, flags: ScriptFlag, library: Library) -> None:
        self.name = name
        self.description = description
        self.flags = flags
        self.library = library
        self.callback: Any = None

    @property
    def flag_names(self) -> list[bytes]:
        """As FUNCTION LIST shows them (as simple strings, in a set)."""
        return flag_names(self.flags)


class Library:
    """A library: its whole source with the shebang, and its functions by name."""

    __slots__ = ("code", "functions", "name")

    def __init__(self, name: bytes, code: bytes) -> None:
        self.name = name
        self.code = code
        self.functions: dict[bytes, Function] = {}


def parse_library(code: bytes) -> tuple[bytes, int]:
    """The name in a library's shebang, and where its Lua code starts. Raises CommandError with Redis' texts."""
    if not code.startswith(b"#!"):
        raise CommandError(b"ERR Missing library metadata")
    end = code.find(b"\n")
    if end < 0:
        raise CommandError(b"ERR Invalid library metadata")
    try:
        words = split_words(code[:end])
    except SplitError:
        raise CommandError(b"ERR Invalid library metadata") from None
    name = None
    for word in words[1:]:
        if not word.lower().startswith(b"name="):
            raise CommandError(b"ERR Invalid metadata value given: " + word)
        if name is not None:
            raise CommandError(b"ERR Invalid metadata value, name argument was given multiple times")
        name = word[5:]
    if name is None:
        raise CommandError(b"ERR Library name was not given")
    if not _NAME.fullmatch(name):
        raise CommandError(_BAD_NAME)
    engine = words[0][2:]
    if engine.lower() != b"lua":
        raise CommandError(b"ERR Engine '" + engine + b"' not found")
    return name, end


class FunctionStore:
    """The libraries of one engine. Function names are unique over all libraries, whatever their case."""

    def __init__(self, engine: ScriptEngine) -> None:
        self.libraries: dict[bytes, Library] = {}
        self._engine = engine
        self._functions: dict[bytes, Function] = {}

    # -- changing

    def save(self) -> dict[str, Any]:
        """The attributes that hold what is loaded now, with their values, which no later change touches."""
        saved = {"libraries": self.libraries, "_functions": self._functions}
        self.libraries = dict(self.libraries)
        self._functions = dict(self._functions)
        return saved

    def load(self, code: bytes, *, replace: bool = False, timeout_ms: int = LOAD_TIMEOUT_MS) -> bytes:
        """FUNCTION LOAD: returns the library's name. A failed load changes nothing. Raises CommandError."""
        name, body_offset = parse_library(code)
        current = self.libraries.get(name)
        if current is not None and not replace:
            raise CommandError(b"ERR Library '" + name + b"' already exists")
        library = self._compile(name, code, body_offset, timeout_ms)
        self._check_collisions(library, ignoring=current)
        if current is not None:
            self._remove(current)
        self._add(library)
        return name

    def _compile(self, name: bytes, code: bytes, body_offset: int, timeout_ms: int) -> Library:
        library = Library(name, code)
        seen: set[bytes] = set()

        def register(function_name: bytes, description: bytes | None, flags: bytes) -> bytes | None:
            if not _NAME.fullmatch(function_name):
                return _BAD_NAME
            if function_name.lower() in seen:
                return b"ERR Function already exists in the library"
            seen.add(function_name.lower())
            library.functions[function_name] = Function(function_name, description, parse_flags(flags), library)
            return None

        callbacks = self._engine.load_library(code[body_offset:], register, timeout_ms)
        if not library.functions:
            raise CommandError(b"ERR No functions registered")
        for function in library.functions.values():
            function.callback = callbacks[function.name]
        return library

    def _check_collisions(self, library: Library, ignoring: Library | None) -> None:
        for name in library.functions:
            holder = self._functions.get(name.lower())
            if holder is not None and holder.library is not ignoring:
                raise CommandError(b"ERR Function " + name + b" already exists")

    def _add(self, library: Library) -> None:
        self.libraries[library.name] = library
        for name, function in library.functions.items():
            self._functions[name.lower()] = function

    def _remove(self, library: Library) -> None:
        del self.libraries[library.name]
        for name in library.functions:
            del self._functions[name.lower()]

    def delete(self, name: bytes) -> None:
        """FUNCTION DELETE. Raises CommandError for an unknown library."""
        library = self.libraries.get(name)
        if library is None:
            raise CommandError(b"ERR Library not found")
        self._remove(library)

    def flush(self) -> None:
        """FUNCTION FLUSH."""
        self.libraries.clear()
        self._functions.clear()
        self._engine.sandbox.restore_limit()

    # -- reading

    def list(self, pattern: bytes | None = None) -> list[Library]:
        """FUNCTION LIST: the libraries whose name matches the glob `pattern` (None: all), case-insensitively."""
        if pattern is None:
            return list(self.libraries.values())
        matches = compile_glob(pattern, nocase=True)
        return [library for name, library in self.libraries.items() if matches(name)]

    @property
    def function_count(self) -> int:
        """How many functions all libraries have together (FUNCTION STATS functions_count)."""
        return len(self._functions)

    def get(self, name: bytes) -> Function:
        """The function of this name, in any case. Raises CommandError."""
        function = self._functions.get(name) or self._functions.get(name.lower())
        if function is None:
            raise CommandError(b"ERR Function not found")
        return function

    # -- calling

    def call(
        self,
        name: bytes,
        keys: Sequence[bytes],
        args: Sequence[bytes],
        *,
        resp: int = 2,
        readonly: bool = False,
        command: Sequence[bytes] = (),
    ) -> bytes:
        """FCALL and (readonly) FCALL_RO: the encoded reply, as from `ScriptEngine.run`. Raises CommandError."""
        function = self.get(name)
        if readonly and not function.flags & ScriptFlag.NO_WRITES:
            raise CommandError(READONLY_NEEDED)
        running = RunningScript(function.name, function.flags, command, readonly=readonly, is_function=True)
        return self._engine.run_function(function.callback, running, keys, args, resp)

    # -- payloads

    def dump(self) -> bytes:
        """FUNCTION DUMP: all libraries with version and checksum."""
        return dump_functions(library.code for library in self.libraries.values())

    def restore(self, payload: bytes, policy: bytes = b"APPEND") -> None:
        """FUNCTION RESTORE with policy APPEND, REPLACE or FLUSH (any case). All or nothing. Raises CommandError."""
        policy = policy.upper()
        if policy not in (b"APPEND", b"REPLACE", b"FLUSH"):
            raise CommandError(b"ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
        try:
            codes = load_functions(payload)
        except RdbVersionError:
            raise CommandError(_BAD_PAYLOAD) from None
        except (RdbDataError, RdbUnsupportedError):
            raise CommandError(b"ERR given type is not a function") from None
        restored = FunctionStore(self._engine)
        for code in codes:
            restored.load(code)
        if policy == b"FLUSH":
            self.libraries, self._functions = restored.libraries, restored._functions
            return
        replaced = [self.libraries[name] for name in restored.libraries if name in self.libraries]
        if replaced and policy == b"APPEND":
            raise CommandError(b"ERR Library " + replaced[0].name + b" already exists")
        kept = {name for name, function in self._functions.items() if function.library not in replaced}
        for name, function in restored._functions.items():
            if name in kept:
                raise CommandError(b"ERR Function " + function.name + b" already exists")
        for library in replaced:
            self._remove(library)
        for library in restored.libraries.values():
            self._add(library)
