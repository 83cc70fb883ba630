"""FCALL and FUNCTION: libraries of Lua functions, kept on disk.

Source: https://redis.io/docs/latest/develop/programmability/functions-intro/
"""

from __future__ import annotations

from typing import Any

from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import ORIGINAL, Flag, command
from diskkv.commands.script_calls import scripts_of
from diskkv.commands.scripting import (
    ONE_SUCCEEDED,
    READ_KEYS,
    READONLY_RUN_FLAGS,
    RUN_COMPLEXITY,
    WRITE_FLAGS,
    WRITTEN_KEYS,
    check_writes,
    count_failure,
    first_argument_of,
)
from diskkv.errors import CommandError
from diskkv.resp.reply import OK, array, bulk, bulks, integer, map_of, optional, set_of, simple
from diskkv.services.client import Client

_WRITE = Flag.WRITE | Flag.NOSCRIPT
_ALL_SUCCEEDED = ("request_policy:all_shards", "response_policy:all_succeeded")


# ---- calls


@command("FCALL", arity=-3, flags=WRITE_FLAGS, keys=WRITTEN_KEYS, group="scripting", since="7.0.0",
         complexity=RUN_COMPLEXITY, syntax="function numkeys [key [key ...]] [arg [arg ...]]")  # fmt: skip
def fcall(client: Client, argv: list[bytes]) -> bytes:
    """Call a function of a library."""
    return _call(client, argv, ORIGINAL["fcall"], False)


@command("FCALL_RO", arity=-3, flags=READONLY_RUN_FLAGS, keys=READ_KEYS, group="scripting", since="7.0.0",
         complexity=RUN_COMPLEXITY, syntax="function numkeys [key [key ...]] [arg [arg ...]]")  # fmt: skip
def fcall_ro(client: Client, argv: list[bytes]) -> bytes:
    """Call a function that only reads."""
    return _call(client, argv, ORIGINAL["fcall_ro"], True)


def _call(client: Client, argv: list[bytes], entry: Any, readonly: bool) -> bytes:
    scripts = scripts_of(client)
    functions = scripts.functions
    assert functions is not None
    if client.instance.monitors:
        client.instance.feed_monitors(client, argv)
    function = functions.get(argv[1])
    first = first_argument_of(argv, _bad_number)
    if not client.instance.fast:
        check_writes(client, function.flags)
    reply = scripts.run(client, functions.call, argv[1], argv[3:first], argv[first:], argv, readonly)
    if reply[0] == 0x2D:  # -
        count_failure(scripts, entry, reply)
    return reply


def _bad_number() -> CommandError:
    return CommandError(b"ERR Bad number of keys provided")


# ---- FUNCTION


@command("FUNCTION", arity=-2, flags=Flag(0), group="scripting", since="7.0.0", complexity="Depends on subcommand.")
def function_(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands about functions."""
    raise unknown_subcommand(argv)


@command("FUNCTION LOAD", arity=-3, flags=_WRITE | Flag.DENYOOM, group="scripting", since="7.0.0",
         complexity="O(1) apart from the compilation.", syntax="[REPLACE] function-code",
         tips=_ALL_SUCCEEDED)  # fmt: skip
def function_load(client: Client, argv: list[bytes]) -> bytes:
    """Load a library and keep it on disk; tell its name."""
    for option in argv[2:-1]:
        if option.upper() != b"REPLACE":
            raise CommandError(b"ERR Unknown option given: " + option)
    code, replace = argv[-1], len(argv) > 3
    name: bytes = scripts_of(client).change_libraries(lambda functions: functions.load(code, replace=replace))
    return bulk(name)


@command("FUNCTION DELETE", arity=3, flags=_WRITE, group="scripting", since="7.0.0", complexity="O(1)",
         syntax="library-name", tips=_ALL_SUCCEEDED)  # fmt: skip
def function_delete(client: Client, argv: list[bytes]) -> bytes:
    """Delete a library with its functions."""
    scripts_of(client).change_libraries(lambda functions: functions.delete(argv[2]))
    return OK


@command("FUNCTION FLUSH", arity=-2, flags=_WRITE, group="scripting", since="7.0.0",
         complexity="O(N) where N is the number of libraries.", syntax="[ASYNC | SYNC]",
         tips=_ALL_SUCCEEDED)  # fmt: skip
def function_flush(client: Client, argv: list[bytes]) -> bytes:
    """Delete all libraries."""
    if len(argv) > 3:
        raise _wrong_arguments(argv)
    if len(argv) == 3 and argv[2].upper() not in (b"SYNC", b"ASYNC"):
        raise CommandError(b"ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    scripts_of(client).change_libraries(lambda functions: functions.flush())
    return OK


@command("FUNCTION RESTORE", arity=-3, flags=_WRITE | Flag.DENYOOM, group="scripting", since="7.0.0",
         complexity="O(N) where N is the number of functions in the payload.",
         syntax="serialized-value policy=[FLUSH | APPEND | REPLACE]", tips=_ALL_SUCCEEDED)  # fmt: skip
def function_restore(client: Client, argv: list[bytes]) -> bytes:
    """Load the libraries of a payload made by FUNCTION DUMP."""
    if len(argv) > 4:
        raise _wrong_arguments(argv)
    policy = argv[3] if len(argv) == 4 else b"APPEND"
    scripts_of(client).change_libraries(lambda functions: functions.restore(argv[2], policy))
    return OK


def _wrong_arguments(argv: list[bytes]) -> CommandError:
    return CommandError(
        b"ERR unknown subcommand or wrong number of arguments for '%b'. Try FUNCTION HELP." % argv[1][:128]
    )


@command("FUNCTION DUMP", arity=2, flags=Flag.NOSCRIPT, group="scripting", since="7.0.0",
         complexity="O(N) where N is the number of functions.")  # fmt: skip
def function_dump(client: Client, argv: list[bytes]) -> bytes:
    """Give all libraries as one payload for FUNCTION RESTORE."""
    functions = scripts_of(client).functions
    assert functions is not None
    return bulk(functions.dump())


@command("FUNCTION LIST", arity=-2, flags=Flag.NOSCRIPT, group="scripting", since="7.0.0",
         complexity="O(N) where N is the number of functions.", tips=("nondeterministic_output_order",),
         syntax="[LIBRARYNAME library-name-pattern] [WITHCODE]")  # fmt: skip
def function_list(client: Client, argv: list[bytes]) -> bytes:
    """Describe the libraries and their functions."""
    pattern: bytes | None = None
    with_code = False
    at = 2
    while at < len(argv):
        option = argv[at].upper()
        if option == b"WITHCODE" and not with_code:
            with_code = True
        elif option == b"LIBRARYNAME" and pattern is None:
            at += 1
            if at == len(argv):
                raise CommandError(b"ERR library name argument was not given")
            pattern = argv[at]
        else:
            raise CommandError(b"ERR Unknown argument " + argv[at])
        at += 1
    functions = scripts_of(client).functions
    assert functions is not None
    return array([_library(library, with_code, client.resp) for library in functions.list(pattern)])


def _library(library: Any, with_code: bool, resp: int) -> bytes:
    functions = [
        map_of(
            [
                (bulk(b"name"), bulk(function.name)),
                (bulk(b"description"), optional(function.description, resp)),
                (bulk(b"flags"), set_of([simple(flag) for flag in function.flag_names], resp)),
            ],
            resp,
        )
        for function in library.functions.values()
    ]
    fields = [
        (bulk(b"library_name"), bulk(library.name)),
        (bulk(b"engine"), bulk(b"LUA")),
        (bulk(b"functions"), array(functions)),
    ]
    if with_code:
        fields.append((bulk(b"library_code"), bulk(library.code)))
    return map_of(fields, resp)


@command("FUNCTION STATS", arity=2, flags=Flag.NOSCRIPT | Flag.ALLOW_BUSY, group="scripting", since="7.0.0",
         complexity="O(1)",
         tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"))  # fmt: skip
def function_stats(client: Client, argv: list[bytes]) -> bytes:
    """Describe the function that runs now, and the engines."""
    scripts = scripts_of(client)
    functions = scripts.functions
    assert functions is not None
    resp = client.resp
    running = scripts.open().running
    if running is None:
        shown = client.null
    elif not running.is_function:
        raise scripts.busy_error()
    else:
        shown = map_of(
            [
                (bulk(b"name"), bulk(running.name)),
                (bulk(b"command"), bulks(running.command)),
                (bulk(b"duration_ms"), integer(running.duration_ms)),
            ],
            resp,
        )
    counts = [
        (bulk(b"libraries_count"), integer(len(functions.libraries))),
        (bulk(b"functions_count"), integer(functions.function_count)),
    ]
    engines = map_of([(bulk(b"LUA"), map_of(counts, resp))], resp)
    return map_of([(bulk(b"running_script"), shown), (bulk(b"engines"), engines)], resp)


@command("FUNCTION KILL", arity=2, flags=Flag.NOSCRIPT | Flag.ALLOW_BUSY, group="scripting", since="7.0.0",
         complexity="O(1)", tips=ONE_SUCCEEDED)  # fmt: skip
def function_kill(client: Client, argv: list[bytes]) -> bytes:
    """End the function that runs now, if it has not written anything."""
    scripts_of(client).open().kill(function=True)
    return OK


@command("FUNCTION HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="scripting", since="7.0.0",
         complexity="O(1)")  # fmt: skip
def function_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "FUNCTION",
        "DELETE <library-name>",
        "    Delete a library with its functions.",
        "DUMP",
        "    All libraries as one payload for FUNCTION RESTORE.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all libraries.",
        "KILL",
        "    End the function that runs now, if it has not written anything.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    The libraries with their functions, all or those whose name matches.",
        "LOAD [REPLACE] <function-code>",
        "    Load a library and keep it on disk.",
        "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
        "    Load the libraries of a payload. What is there already is deleted (FLUSH), an error (APPEND, which is",
        "    the default) or replaced (REPLACE).",
        "STATS",
        "    The function that runs now, and the engines.",
    )
