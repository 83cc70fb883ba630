"""EVAL and its family, and SCRIPT: Lua scripts, each run as one atomic piece of work.

A script that fails half-way keeps what it wrote until then, as in Redis; only a failing store undoes all of it.

Source: https://redis.io/docs/latest/develop/programmability/eval-intro/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diskkv.codec.numbers import parse_int64
from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import ORIGINAL, Flag, KeySpec, command
from diskkv.commands.script_calls import scripts_of
from diskkv.errors import CommandError, NotIntegerError
from diskkv.resp.reply import OK, bulk, integers
from diskkv.services.client import Client
from diskkv.services.scripting.shebang import ScriptFlag
from diskkv.services.scripts import Scripts

RUN_FLAGS = Flag.NOSCRIPT | Flag.STALE | Flag.SKIP_MONITOR | Flag.NO_MANDATORY_KEYS | Flag.MOVABLEKEYS | Flag.PLAIN
READONLY_RUN_FLAGS = RUN_FLAGS | Flag.READONLY
WRITE_FLAGS = RUN_FLAGS | Flag.MAY_REPLICATE
RUN_COMPLEXITY = "Depends on the script."
_RW_NOTES = "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE"
_RO_NOTES = "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS"
WRITTEN_KEYS = KeySpec("RW access update", begin=2, keynum=0, first=1, notes=_RW_NOTES)
READ_KEYS = KeySpec("RO access", begin=2, keynum=0, first=1, notes=_RO_NOTES)
_WRITTEN_KEYS_OF_SHA = KeySpec("RW access update", begin=2, keynum=0, first=1)
_READ_KEYS_OF_SHA = KeySpec("RO access", begin=2, keynum=0, first=1)

ALL_NODES = ("request_policy:all_nodes", "response_policy:all_succeeded")
ONE_SUCCEEDED = ("request_policy:all_shards", "response_policy:one_succeeded")

_NO_SCRIPT = b"NOSCRIPT No matching script. Please use EVAL."
_SHA1_SIZE = 40


# ---- runs


@command("EVAL", arity=-3, flags=WRITE_FLAGS, keys=WRITTEN_KEYS, group="scripting", since="2.6.0",
         complexity=RUN_COMPLEXITY, syntax="script numkeys [key [key ...]] [arg [arg ...]]")  # fmt: skip
def eval_(client: Client, argv: list[bytes]) -> bytes:
    """Run a Lua script."""
    return _evaluate(client, argv, ORIGINAL["eval"], False)


@command("EVAL_RO", arity=-3, flags=READONLY_RUN_FLAGS, keys=READ_KEYS, group="scripting", since="7.0.0",
         complexity=RUN_COMPLEXITY, syntax="script numkeys [key [key ...]] [arg [arg ...]]")  # fmt: skip
def eval_ro(client: Client, argv: list[bytes]) -> bytes:
    """Run a Lua script that only reads."""
    return _evaluate(client, argv, ORIGINAL["eval_ro"], True)


@command("EVALSHA", arity=-3, flags=WRITE_FLAGS, keys=_WRITTEN_KEYS_OF_SHA, group="scripting", since="2.6.0",
         complexity=RUN_COMPLEXITY, syntax="sha1 numkeys [key [key ...]] [arg [arg ...]]")  # fmt: skip
def evalsha(client: Client, argv: list[bytes]) -> bytes:
    """Run a loaded script by its SHA-1 digest."""
    return _evaluate_sha(client, argv, ORIGINAL["evalsha"], False)


@command("EVALSHA_RO", arity=-3, flags=READONLY_RUN_FLAGS, keys=_READ_KEYS_OF_SHA, group="scripting", since="7.0.0",
         complexity=RUN_COMPLEXITY, syntax="sha1 numkeys [key [key ...]] [arg [arg ...]]")  # fmt: skip
def evalsha_ro(client: Client, argv: list[bytes]) -> bytes:
    """Run a loaded script that only reads by its SHA-1 digest."""
    return _evaluate_sha(client, argv, ORIGINAL["evalsha_ro"], True)


def _evaluate(client: Client, argv: list[bytes], entry: Any, readonly: bool) -> bytes:
    scripts = scripts_of(client)
    if client.instance.monitors:
        client.instance.feed_monitors(client, argv)
    first = first_argument_of(argv, _not_an_integer)
    sha = scripts.open().load(argv[1], from_eval=True)
    return _run(scripts, client, argv, entry, sha, first, readonly)


def _evaluate_sha(client: Client, argv: list[bytes], entry: Any, readonly: bool) -> bytes:
    scripts = scripts_of(client)
    if client.instance.monitors:
        client.instance.feed_monitors(client, argv)
    sha = argv[1]
    if len(sha) != _SHA1_SIZE:
        raise CommandError(_NO_SCRIPT)
    return _run(scripts, client, argv, entry, sha, first_argument_of(argv, _not_an_integer), readonly)


def _run(
    scripts: Scripts, client: Client, argv: list[bytes], entry: Any, sha: bytes, first: int, readonly: bool
) -> bytes:
    engine = scripts.open()
    if not client.instance.fast:
        check_writes(client, engine.get(sha).flags)
    reply = scripts.run(client, engine.run, sha, argv[3:first], argv[first:], argv, readonly)
    if reply[0] == 0x2D:  # -
        count_failure(scripts, entry, reply)
    return reply


def _not_an_integer() -> CommandError:
    return NotIntegerError()


_COUNTS = {b"%d" % count: count for count in range(16)}


def first_argument_of(argv: list[bytes], not_a_number: Callable[[], CommandError]) -> int:
    """Where the keys that argv[2] counts end, and a script's arguments begin. Raises CommandError."""
    count = _COUNTS.get(argv[2])
    if count is None:
        try:
            count = parse_int64(argv[2])
        except ValueError:
            raise not_a_number() from None
    if count > len(argv) - 3:
        raise CommandError(b"ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError(b"ERR Number of keys can't be negative")
    return 3 + count


def check_writes(client: Client, flags: ScriptFlag) -> None:
    """While writes are refused, refuse what declares its flags and may write; other scripts run until they do write."""
    if client.instance.write_error is not None and not flags & (ScriptFlag.NO_WRITES | ScriptFlag.COMPAT):
        raise CommandError(client.instance.writes.refusal())


def count_failure(scripts: Scripts, entry: Any, reply: bytes) -> None:
    """A script answered an error: count it, unless it is that of one of its commands, which is counted already."""
    entry.failed_calls += 1
    counted = scripts.counted_error
    if not counted or not reply.startswith(counted, 1):
        scripts.instance.stats.count_error(reply[1:-2].split(b" ", 1)[0])


# ---- SCRIPT


@command("SCRIPT", arity=-2, flags=Flag(0), group="scripting", since="2.6.0", complexity="Depends on subcommand.")
def script(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands about loaded scripts."""
    raise unknown_subcommand(argv)


@command("SCRIPT LOAD", arity=3, flags=Flag.NOSCRIPT | Flag.STALE, group="scripting", since="2.6.0",
         complexity="O(N) with N being the length of the script.", syntax="script", tips=ALL_NODES)  # fmt: skip
def script_load(client: Client, argv: list[bytes]) -> bytes:
    """Load a script without running it; tell its SHA-1 digest."""
    return bulk(scripts_of(client).open().load(argv[2]))


@command("SCRIPT EXISTS", arity=-3, flags=Flag.NOSCRIPT, group="scripting", since="2.6.0",
         complexity="O(N) with N being the number of digests.", syntax="sha1 [sha1 ...]",
         tips=("request_policy:all_shards", "response_policy:agg_logical_and"))  # fmt: skip
def script_exists(client: Client, argv: list[bytes]) -> bytes:
    """Tell which scripts are loaded."""
    exists = scripts_of(client).open().exists
    return integers([int(exists(sha)) for sha in argv[2:]])


@command("SCRIPT FLUSH", arity=-2, flags=Flag.NOSCRIPT, group="scripting", since="2.6.0",
         complexity="O(N) with N being the number of scripts.", syntax="[ASYNC | SYNC]@6.2.0",
         tips=ALL_NODES)  # fmt: skip
def script_flush(client: Client, argv: list[bytes]) -> bytes:
    """Forget all loaded scripts."""
    if len(argv) > 3 or (len(argv) == 3 and argv[2].upper() not in (b"SYNC", b"ASYNC")):
        raise CommandError(b"ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    engine = client.instance.scripts.engine
    if engine is not None:
        engine.flush()
    return OK


@command("SCRIPT KILL", arity=2, flags=Flag.NOSCRIPT | Flag.ALLOW_BUSY, group="scripting", since="2.6.0",
         complexity="O(1)", tips=ONE_SUCCEEDED)  # fmt: skip
def script_kill(client: Client, argv: list[bytes]) -> bytes:
    """End the script that runs now, if it has not written anything."""
    scripts_of(client).open().kill()
    return OK


@command("SCRIPT DEBUG", arity=3, flags=Flag.NOSCRIPT, group="scripting", since="3.2.0", complexity="O(1)",
         syntax="mode=<YES | SYNC | NO>")  # fmt: skip
def script_debug(client: Client, argv: list[bytes]) -> bytes:
    """Switch the debugger off; there is none that could be switched on."""
    mode = argv[2].upper()
    if mode not in (b"YES", b"SYNC", b"NO"):
        raise CommandError(b"ERR Use SCRIPT DEBUG YES/SYNC/NO")
    if mode != b"NO":
        raise CommandError(b"ERR This server has no Lua debugger")
    return OK


@command("SCRIPT HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="scripting", since="5.0.0",
         complexity="O(1)")  # fmt: skip
def script_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "SCRIPT",
        "DEBUG (YES|SYNC|NO)",
        "    Only NO is possible: there is no debugger.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Which of these scripts are loaded.",
        "FLUSH [ASYNC|SYNC]",
        "    Forget all loaded scripts.",
        "KILL",
        "    End the script that runs now, if it has not written anything.",
        "LOAD <script>",
        "    Load a script without running it.",
    )
