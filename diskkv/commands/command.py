"""COMMAND: what the command table tells about every command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from diskkv.codec.glob import compile_glob
from diskkv.commands.deprecations import DEPRECATED, SYSTEM_COMMANDS
from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import TABLE, Command, Flag, KeySpec, command, find
from diskkv.commands.syntax import docs_arguments
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import EMPTY_ARRAY, array, bulk, bulks, integer, map_of, set_of, simple
from diskkv.services.client import Client

_ANYTIME = Flag.LOADING | Flag.STALE
_UNORDERED = ("nondeterministic_output_order",)
_CONNECTION = ("connection",)
_PER_LOOKUP = "O(N) where N is the number of commands to look up"
_PER_COMMAND = "O(N) where N is the total number of commands"
_PER_ARGUMENT = "O(N) where N is the number of arguments to the command"


@command("COMMAND", arity=-1, flags=_ANYTIME, group="server", since="2.8.13", complexity=_PER_COMMAND,
         tips=_UNORDERED, categories=_CONNECTION)  # fmt: skip
def command_(client: Client, argv: list[bytes]) -> bytes:
    """Describe all commands."""
    if len(argv) > 1:
        raise unknown_subcommand(argv)
    return _all_infos(client.resp)


@command("COMMAND HELP", arity=2, flags=_ANYTIME, group="server", since="5.0.0", complexity="O(1)",
         categories=_CONNECTION)  # fmt: skip
def command_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "COMMAND",
        "(no subcommand)",
        "    Describe all commands.",
        "COUNT",
        "    The number of commands.",
        "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    The names of commands and subcommands.",
        "INFO [<command-name> ...]",
        "    Describe commands: arity, flags, where the keys are, ACL categories.",
        "DOCS [<command-name> ...]",
        "    Document commands: what they do, since when, and their arguments.",
        "GETKEYS <command> [<arg> ...]",
        "    The keys among the arguments of a command.",
        "GETKEYSANDFLAGS <command> [<arg> ...]",
        "    The same, with what the command does to each.",
    )


@command("COMMAND COUNT", arity=2, flags=_ANYTIME, group="server", since="2.8.13", complexity="O(1)",
         categories=_CONNECTION)  # fmt: skip
def command_count(client: Client, argv: list[bytes]) -> bytes:
    """Count the commands."""
    return integer(len(TABLE))


@command("COMMAND INFO", arity=-2, flags=_ANYTIME, group="server", since="2.8.13", complexity=_PER_LOOKUP,
         syntax="[command-name [command-name ...]]", tips=_UNORDERED, categories=_CONNECTION)  # fmt: skip
def command_info(client: Client, argv: list[bytes]) -> bytes:
    """Describe commands: arity, flags, keys, ACL categories."""
    if len(argv) == 2:
        return _all_infos(client.resp)
    found = (_by_full_name(name) for name in argv[2:])
    return array([client.null if entry is None else _info(entry, client.resp) for entry in found])


@command("COMMAND DOCS", arity=-2, flags=_ANYTIME, group="server", since="7.0.0", complexity=_PER_LOOKUP,
         syntax="[command-name [command-name ...]]", tips=_UNORDERED, categories=_CONNECTION)  # fmt: skip
def command_docs(client: Client, argv: list[bytes]) -> bytes:
    """Document commands: what they do, since when, and their arguments."""
    found: Iterable[Command | None] = map(_by_full_name, argv[2:]) if len(argv) > 2 else TABLE.values()
    resp = client.resp
    return map_of(((bulk(entry.name.encode()), _docs(entry, resp)) for entry in found if entry is not None), resp)


@command("COMMAND LIST", arity=-2, flags=_ANYTIME, group="server", since="7.0.0", complexity=_PER_COMMAND,
         syntax="[FILTERBY filterby=<MODULE module-name | ACLCAT category | PATTERN pattern>]", tips=_UNORDERED,
         categories=_CONNECTION)  # fmt: skip
def command_list(client: Client, argv: list[bytes]) -> bytes:
    """List the names of commands and subcommands."""
    if len(argv) == 2:
        return bulks([entry.name.encode() for entry in _everything()])
    if len(argv) != 5 or argv[2].upper() != b"FILTERBY":
        raise CommandSyntaxError
    kind, wanted = argv[3].upper(), argv[4]
    if kind == b"MODULE":
        return EMPTY_ARRAY
    if kind == b"ACLCAT":
        category = wanted.decode("latin-1").lower()
        return bulks([entry.name.encode() for entry in _everything() if category in entry.categories])
    if kind == b"PATTERN":
        matches = compile_glob(wanted, nocase=True)
        return bulks([name for entry in _everything() if matches(name := entry.name.encode())])
    raise CommandSyntaxError


@command("COMMAND GETKEYS", arity=-3, flags=_ANYTIME, group="server", since="2.8.13", complexity=_PER_ARGUMENT,
         syntax="command [arg [arg ...]]", categories=_CONNECTION)  # fmt: skip
def command_getkeys(client: Client, argv: list[bytes]) -> bytes:
    """Find the keys among the arguments of a command."""
    request = argv[2:]
    return bulks([request[at] for at, _ in _keys(request)])


@command("COMMAND GETKEYSANDFLAGS", arity=-3, flags=_ANYTIME, group="server", since="7.0.0",
         complexity=_PER_ARGUMENT, syntax="command [arg [arg ...]]", categories=_CONNECTION)  # fmt: skip
def command_getkeysandflags(client: Client, argv: list[bytes]) -> bytes:
    """Find the keys among the arguments of a command, and what it does to each."""
    request = argv[2:]
    return array([array([bulk(request[at]), _flags(flags.split(), client.resp)]) for at, flags in _keys(request)])


def _keys(request: list[bytes]) -> list[tuple[int, str]]:
    entry = find(request)
    if entry is None:
        raise CommandError(b"ERR Invalid command specified")
    if entry.get_keys is None and all("not_key" in spec.flags for spec in entry.keys):
        raise CommandError(b"ERR The command has no key arguments")
    if not entry.accepts(len(request)):
        raise CommandError(b"ERR Invalid number of arguments specified for command")
    found = entry.key_positions(request)
    if not found and not entry.flags & Flag.NO_MANDATORY_KEYS:
        raise CommandError(b"ERR Invalid arguments specified for command")
    return found


def _everything() -> Iterator[Command]:
    for entry in TABLE.values():
        yield entry
        yield from entry.subcommands.values()


def _by_full_name(name: bytes) -> Command | None:
    container, bar, sub = name.decode("latin-1").lower().partition("|")
    entry = TABLE.get(container)
    return entry.subcommands.get(sub) if entry is not None and bar else entry


def _flags(names: Iterable[str], resp: int) -> bytes:
    return set_of([simple(name.encode()) for name in names], resp)


def _all_infos(resp: int) -> bytes:
    return array([_info(entry, resp) for entry in TABLE.values()])


@cache
def _info(entry: Command, resp: int) -> bytes:
    first, last, step = entry.key_range
    return array(
        [
            bulk(entry.name.encode()),
            integer(entry.arity),
            _flags(entry.flag_names, resp),
            integer(first),
            integer(last),
            integer(step),
            _flags((f"@{category}" for category in sorted(entry.categories)), resp),
            set_of([bulk(tip.encode()) for tip in entry.tips], resp),
            set_of([_key_spec(spec, resp) for spec in entry.keys], resp),
            array([_info(sub, resp) for sub in entry.subcommands.values()]) if entry.subcommands else set_of([], resp),
        ]
    )


def _key_spec(spec: KeySpec, resp: int) -> bytes:
    begin: dict[str, str | int]
    keys: dict[str, str | int]
    if spec.unknown:
        begin, keys = {}, {}
    else:
        begin = {"keyword": spec.keyword.decode(), "startfrom": spec.begin} if spec.keyword else {"index": spec.begin}
        if spec.keynum is not None:
            keys = {"keynumidx": spec.keynum, "firstkey": spec.first, "keystep": spec.step}
        else:
            keys = {"lastkey": spec.last, "keystep": spec.step, "limit": spec.limit}
    kinds = ("keyword" if spec.keyword else "index", "range" if spec.keynum is None else "keynum")
    if spec.unknown:
        kinds = ("unknown", "unknown")
    fields: dict[str, object] = {"notes": spec.notes} if spec.notes else {}
    fields["flags"] = tuple(spec.flags.split())
    fields["begin_search"] = {"type": kinds[0], "spec": begin}
    fields["find_keys"] = {"type": kinds[1], "spec": keys}
    return _encode(fields, resp)


@cache
def _docs(entry: Command, resp: int) -> bytes:
    fields: dict[str, object] = {"summary": entry.summary, "since": entry.since, "group": entry.group}
    if entry.complexity:
        fields["complexity"] = entry.complexity
    deprecation = DEPRECATED.get(entry.name)
    marks = [*(("deprecated",) if deprecation else ()), *(("syscmd",) if entry.name in SYSTEM_COMMANDS else ())]
    if marks:
        fields["doc_flags"] = tuple(marks)
    if deprecation:
        fields["deprecated_since"], fields["replaced_by"] = deprecation
    if entry.syntax:
        fields["arguments"] = docs_arguments(entry.syntax, len(entry.keys) or None)
    pairs = [(bulk(name.encode()), _encode(value, resp)) for name, value in fields.items()]
    if entry.subcommands:
        subcommands = ((bulk(sub.name.encode()), _docs(sub, resp)) for sub in entry.subcommands.values())
        pairs.append((bulk(b"subcommands"), map_of(subcommands, resp)))
    return map_of(pairs, resp)


def _encode(value: object, resp: int) -> bytes:
    """A str as a string, an int, a list as an array, a dict as a map, a tuple as a set of simple strings."""
    if isinstance(value, str):
        return bulk(value.encode())
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, dict):
        return map_of(((bulk(name.encode()), _encode(item, resp)) for name, item in value.items()), resp)
    if isinstance(value, tuple):
        return _flags(value, resp)
    assert isinstance(value, Sequence)
    return array([_encode(item, resp) for item in value])
