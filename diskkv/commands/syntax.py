"""Command syntax strings, and the `arguments` trees of COMMAND DOCS that follow from them.

A command declares its arguments once, in the notation of Redis' documentation:

    key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]

Grammar (words are separated by spaces, `...` is literal):

    sequence := item*
    item     := word | "[" choice "]" | "<" choice ">" | "{" choice "}" | item "..."
    choice   := sequence ("|" sequence)*

- A word in capitals is a literal token, any other word an argument. A token takes the arguments that follow it:
  without any it is a pure-token, with one it becomes that argument's token, with several the token of a block. In a
  bracket that begins with such a block, the block takes the rest of the bracket too.
- `[...]` is optional, `<...>` a required choice, `{...}` only groups. More than one alternative makes a oneof.
- `x [x ...]` is x, one or more times; `[x [x ...]]` zero or more. A repeated sequence is a block, by default named
  data. A repetition that repeats the token (`GET pattern [GET pattern ...]`) is marked so.

What the notation cannot say is added to a word or bracket, each part optional: `name=text:type#spec@since`.

- `name=` is the argument's name (`change=CH`, `condition=[NX | XX]`); the text stays what is shown.
- `:type` overrides the type that follows from the name (`increment:double`).
- `#spec` is the key specification that the argument belongs to. Keys are numbered in their order without it.
- `@since` is the version that introduced it (`KEEPTTL@6.0.0`, `[NX | XX]@2.6.12`).

Source: https://redis.io/docs/latest/commands/command-docs/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain

_TYPE_OF_NAME: dict[str, str] = {
    name: type_
    for type_, names in {
        "key": "key source destination key1 key2 storekey storedistkey destkey sourcekey keys newkey dst src",
        "integer": "count milliseconds start end seconds stop port cluster-bus-port slot config-epoch start-slot"
        " end-slot limit increment numkeys min-match-len offset destination-db cursor db weight bit bits protover"
        " numfields numreplicas index index1 index2 rank num-matches len ttl frequency numids decrement ms version"
        " entries-read entriesread entries-added client-id maxage numlocal",
        "double": "timeout longitude latitude radius width height score",
        "unix-time": "unix-time-seconds unix-time-milliseconds",
        "pattern": "pattern",
    }.items()
    for name in names.split()
}
_TYPES = ("key", "string", "integer", "double", "pattern", "unix-time")
_NAME_OF_CHOICE: dict[frozenset[str], str] = {
    frozenset(tokens.split()): name
    for tokens, name in (
        ("NX XX", "condition"),
        ("NX XX GT LT", "condition"),
        ("FNX FXX", "condition"),
        ("KEEPREF DELREF ACKED", "condition"),
        ("GT LT", "comparison"),
        ("EX PX EXAT PXAT KEEPTTL", "expiration"),
        ("EX PX EXAT PXAT PERSIST", "expiration"),
        ("M KM FT MI", "unit"),
        ("BYTE BIT", "unit"),
        ("LEFT RIGHT", "where"),
        ("MIN MAX", "where"),
        ("BEFORE AFTER", "where"),
        ("ASC DESC", "order"),
        ("ASYNC SYNC", "flush-type"),
        ("= ~", "operator"),
        ("MAXLEN MINID", "strategy"),
        ("BYSCORE BYLEX", "sortby"),
        ("STORE STOREDIST", "store"),
        ("FROMMEMBER FROMLONLAT", "from"),
        ("BYRADIUS BYBOX", "by"),
        ("ON OFF", "enabled"),
        ("YES NO", "mode"),
        ("YES SYNC NO", "mode"),
        ("WRITE ALL", "mode"),
        ("AND OR XOR NOT", "operation"),
        ("AND OR XOR NOT DIFF DIFF1 ANDOR ONE", "operation"),
        ("RESET", "operation"),
        ("*", "id-selector"),
        ("$", "id-selector"),
        ("AUTH AUTH2", "authentication"),
        ("FLUSH APPEND REPLACE", "policy"),
        ("NOSAVE SAVE", "save-selector"),
        ("HARD SOFT", "reset-type"),
        ("TIMEOUT ERROR", "unblock-type"),
        ("ON OFF SKIP", "action"),
        ("LIB-NAME LIB-VER", "attr"),
        ("IMPORTING MIGRATING NODE STABLE", "subcommand"),
    )
}
_NAME_OF_TOKEN = {
    "=": "equal",
    "~": "approximately",
    "*": "auto-id",
    "$": "new-id",
    '""': "empty-string",
    "CH": "change",
    "INCR": "increment",
    "ALPHA": "sorting",
}
_NAME_OF_TOKEN_BLOCK = {
    "GROUP": "group-block",
    "GET": "get-block",
    "SET": "set-block",
    "INCRBY": "incrby-block",
    "CONFIG": "configs",
    "TO": "target",
}
_NAME_OF_TOKEN_CHOICE = {"TYPE": "client-type", "OVERFLOW": "overflow-block"}
_NAME_OF_BLOCK = {
    "strategy": "trim",
    "start": "range",
    "end": "end-unit-block",
    "min-idle-time": "filters",
    "protover": "arguments",
    "host": "host-port",
    "no": "no-one",
}
"""By the name of the first argument."""

_CLOSER = {"[": "]", "<": ">", "{": "}"}
_LEXEME = re.compile(r"(?:[a-z][a-z0-9-]*=)?[\[<{]|[\]>}](?:@[0-9.]+)?|\||[^\s\[\]<>{}|]+")
_WORD = re.compile(
    r"(?:(?P<name>[a-z][a-z0-9-]*)=(?=.))?(?P<text>.+?)"
    rf"(?::(?P<type>{'|'.join(_TYPES)}))?(?:\#(?P<spec>[0-9]+))?(?:@(?P<since>[0-9.]+))?"
)


class SyntaxStringError(ValueError):
    """A command's syntax string does not follow the grammar; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One node of a command's argument tree.

    `type` is one of key, string, integer, double, pattern, unix-time, pure-token, oneof and block; the last two have
    `arguments`, the alternatives or the sequence. `display_text` is empty for them. `key_spec_index` is the key
    specification (0-based) that finds the argument, `token` the literal word before it.
    """

    name: str
    type: str
    display_text: str = ""
    key_spec_index: int | None = None
    token: str | None = None
    since: str | None = None
    optional: bool = False
    multiple: bool = False
    multiple_token: bool = False
    arguments: tuple[Argument, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags as COMMAND DOCS spells them, in its order."""
        marks = (("optional", self.optional), ("multiple", self.multiple), ("multiple_token", self.multiple_token))
        return tuple(name for name, marked in marks if marked)


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    name: str | None
    type: str | None
    spec: int | None
    since: str | None

    @property
    def is_token(self) -> bool:
        return self.text in _NAME_OF_TOKEN or (self.text.upper() == self.text and any(map(str.isalpha, self.text)))


@dataclass(frozen=True, slots=True)
class _Group:
    bracket: str
    alternatives: tuple[tuple[_Item, ...], ...]
    name: str | None
    since: str | None


@dataclass(frozen=True, slots=True)
class _Repeat:
    items: tuple[_Item, ...]
    name: str | None
    optional: bool
    since: str | None = None


_Item = _Word | _Group | _Repeat
_ELLIPSIS = _Word("...", None, None, None, None)


@cache
def parse_syntax(syntax: str, key_specs: int | None = None) -> tuple[Argument, ...]:
    """Return the arguments that a syntax string declares (without the command's own name).

    `key_specs` is the number of the command's key specifications, where known: keys beyond it share the last one.
    Results are kept, so that every caller gets the same tree. Raises SyntaxStringError.
    """
    parser = _Parser(syntax)
    arguments = _build_sequence(parser.whole(), in_bracket=False)
    keys = _KeyNumbers(key_specs)
    return tuple(keys.assign(_named(argument)) for argument in arguments)


@cache
def docs_arguments(syntax: str, key_specs: int | None = None) -> list[dict[str, object]]:
    """Return the `arguments` value of COMMAND DOCS: one dict per argument, fields in Redis' order.

    Values are str, int, a tuple of str (`flags`, a set of simple strings on the wire) or a list of such dicts
    (`arguments`). The list is shared between calls: encode it, do not change it. Raises SyntaxStringError.
    """
    return [_docs(argument) for argument in parse_syntax(syntax, key_specs)]


def _docs(argument: Argument) -> dict[str, object]:
    reply: dict[str, object] = {"name": argument.name, "type": argument.type}
    if argument.display_text:
        reply["display_text"] = argument.display_text
    if argument.key_spec_index is not None:
        reply["key_spec_index"] = argument.key_spec_index
    if argument.token is not None:
        reply["token"] = argument.token
    if argument.since is not None:
        reply["since"] = argument.since
    if argument.flags:
        reply["flags"] = argument.flags
    if argument.arguments:
        reply["arguments"] = [_docs(child) for child in argument.arguments]
    return reply


class _KeyNumbers:
    """Numbers the keys of a tree in their order, from the outside in."""

    def __init__(self, key_specs: int | None) -> None:
        self._last = None if key_specs is None else key_specs - 1
        self._next = 0

    def assign(self, argument: Argument) -> Argument:
        if argument.arguments:
            return replace(argument, arguments=tuple(self.assign(child) for child in argument.arguments))
        index = argument.key_spec_index
        if index is None:
            if argument.type != "key" or self._last == -1:
                return argument
            index = self._next if self._last is None else min(self._next, self._last)
        self._next = max(self._next, index + 1)
        return replace(argument, key_spec_index=index)


class _Parser:
    """Recursive descent over the lexemes; knows brackets and words, not what they mean."""

    def __init__(self, syntax: str) -> None:
        self._syntax = syntax
        self._lexemes = _LEXEME.findall(syntax)
        self._at = 0

    def whole(self) -> tuple[_Item, ...]:
        items = self._sequence("")
        if self._at < len(self._lexemes):
            raise self._error(f"unexpected {self._lexemes[self._at]!r}")
        return items

    def _error(self, what: str) -> SyntaxStringError:
        return SyntaxStringError(f"{what} in command syntax {self._syntax!r}")

    def _sequence(self, bracket: str) -> tuple[_Item, ...]:
        items: list[_Item] = []
        while self._at < len(self._lexemes) and self._lexemes[self._at][0] not in "|]>}":
            lexeme = self._lexemes[self._at]
            self._at += 1
            if lexeme[-1] in _CLOSER and (len(lexeme) == 1 or lexeme[-2] == "="):
                items.append(self._group(lexeme))
            elif lexeme == "...":
                if not items:
                    raise self._error("nothing to repeat")
                items.append(_ELLIPSIS)
            else:
                items.append(self._word(lexeme))
        return self._fold(items, bracket)

    def _word(self, lexeme: str) -> _Word:
        match = _WORD.fullmatch(lexeme)
        if match is None:
            raise self._error(f"bad word {lexeme!r}")
        spec = match["spec"]
        return _Word(match["text"], match["name"], match["type"], None if spec is None else int(spec), match["since"])

    def _group(self, opening: str) -> _Item:
        bracket = opening[-1]
        closer = _CLOSER[bracket]
        alternatives: list[tuple[_Item, ...]] = []
        while True:
            alternatives.append(self._sequence(bracket))
            if self._at == len(self._lexemes):
                raise self._error(f"missing {closer!r}")
            lexeme = self._lexemes[self._at]
            self._at += 1
            if lexeme[0] == closer:
                break
            if lexeme != "|":
                raise self._error(f"expected {closer!r}, not {lexeme!r}")
        if not all(alternatives):
            raise self._error("empty alternative")
        return _Group(bracket, tuple(alternatives), opening[:-2] or None, lexeme[2:] or None)

    def _fold(self, items: list[_Item], bracket: str) -> tuple[_Item, ...]:
        """Turn `x [x ...]` and `x ...` into repetitions."""
        done: list[_Item] = []
        for position, item in enumerate(items):
            if item is _ELLIPSIS:
                # At the end of [] it repeats the whole bracket; the enclosing sequence finds out what that is.
                if bracket == "[" and position == len(items) - 1:
                    done.append(_ELLIPSIS)
                else:
                    done[-1] = _Repeat((done[-1],), None, optional=False)
                continue
            content = _repeated_content(item)
            if content is None:
                done.append(item)
                continue
            assert isinstance(item, _Group)
            length = len(content)
            if length <= len(done) and _plain(done[-length:]) == _plain(content):
                done[-length:] = [_Repeat(tuple(done[-length:]), item.name, optional=False, since=item.since)]
            else:
                done.append(_Repeat(content, item.name, optional=True, since=item.since))
        return tuple(done)


def _repeated_content(item: _Item) -> tuple[_Item, ...] | None:
    """The x of `[x ...]`; None for anything else."""
    if not isinstance(item, _Group) or item.bracket != "[" or len(item.alternatives) != 1:
        return None
    items = item.alternatives[0]
    return items[:-1] if items[-1] is _ELLIPSIS else None


def _plain(items: Iterable[_Item]) -> list[object]:
    """Items without annotations, so that only the first of two mentions needs them."""
    plain: list[object] = []
    for item in items:
        if isinstance(item, _Word):
            plain.append(item.text)
        elif isinstance(item, _Group):
            plain.append((item.bracket, [_plain(alternative) for alternative in item.alternatives]))
        else:
            plain.append(("...", item.optional, _plain(item.items)))
    return plain


def _build_sequence(items: Sequence[_Item], *, in_bracket: bool) -> list[Argument]:
    arguments: list[Argument] = []
    at = 0
    while at < len(items):
        item = items[at]
        at += 1
        if item is _ELLIPSIS:
            msg = "'...' ends one of several alternatives: put it and what it repeats into braces"
            raise SyntaxStringError(msg)
        if not (isinstance(item, _Word) and item.is_token):
            arguments.append(_build(item))
            continue
        end = at
        while end < len(items) and _is_operand(items[end]):
            end += 1
        if in_bracket and at == 1 and end - at > 1:
            end = len(items)
        arguments.append(_build_token(item, _build_sequence(items[at:end], in_bracket=False)))
        at = end
    return arguments


def _is_operand(item: _Item) -> bool:
    """Whether a token before `item` takes it."""
    if isinstance(item, _Word):
        return not item.is_token
    if isinstance(item, _Group):
        return item.bracket != "["
    return not item.optional and _is_operand(item.items[0])


def _build_token(word: _Word, operands: list[Argument]) -> Argument:
    token = "" if word.text == '""' else word.text
    if not operands:
        name = word.name or _NAME_OF_TOKEN.get(word.text, word.text.lower())
        return Argument(name, "pure-token", display_text=name, token=token, since=word.since)
    if len(operands) > 1:
        name = word.name or _NAME_OF_TOKEN_BLOCK.get(word.text, word.text.lower())
        children = tuple(_named(operand) for operand in operands)
        return Argument(name, "block", token=token, since=word.since, arguments=children)
    operand = operands[0]
    name = word.name or operand.name
    if not name:
        names = _NAME_OF_TOKEN_CHOICE if operand.type == "oneof" else _NAME_OF_TOKEN_BLOCK
        name = names.get(word.text, word.text.lower())
    return replace(operand, name=name, token=token, since=word.since or operand.since)


def _build(item: _Item) -> Argument:
    if isinstance(item, _Word):
        name = item.name or item.text
        type_ = item.type or _TYPE_OF_NAME.get(name) or _TYPE_OF_NAME.get(item.text, "string")
        return Argument(name, type_, display_text=item.text, key_spec_index=item.spec, since=item.since)
    if isinstance(item, _Repeat):
        return _build_repeat(item)
    choices = [_build_sequence(alternative, in_bracket=True) for alternative in item.alternatives]
    if len(choices) == 1:
        argument = _as_one(choices[0])
    else:
        alternatives = tuple(_named(_as_one(choice)) for choice in choices)
        argument = Argument("", "oneof", arguments=alternatives)
    if item.name:
        display_text = item.name if argument.type == "pure-token" else argument.display_text
        argument = replace(argument, name=item.name, display_text=display_text)
    elif item.bracket == "[":
        argument = _named(argument)
    return replace(argument, optional=argument.optional or item.bracket == "[", since=item.since or argument.since)


def _build_repeat(repeat: _Repeat) -> Argument:
    arguments = _build_sequence(repeat.items, in_bracket=True)
    argument = _as_one(arguments)
    first = repeat.items[0]
    if repeat.name:
        argument = replace(argument, name=repeat.name)
    elif not argument.name and argument.type == "block":
        argument = replace(argument, name="data")
    return replace(
        argument,
        multiple=True,
        multiple_token=isinstance(first, _Word) and first.is_token,
        optional=argument.optional or repeat.optional,
        since=repeat.since or argument.since,
    )


def _as_one(arguments: list[Argument]) -> Argument:
    if len(arguments) == 1:
        return arguments[0]
    return Argument("", "block", arguments=tuple(_named(argument) for argument in arguments))


def _named(argument: Argument) -> Argument:
    """Give a oneof or block that nothing has named its default name."""
    if argument.name:
        return argument
    if argument.type == "block":
        first = argument.arguments[0]
        # "count" is a number of items to draw (HRANDFIELD); "COUNT count" the limit of a search (GEOSEARCH).
        default = "options" if first.name == "count" and first.token is None else f"{first.name}-block"
        return replace(argument, name=_NAME_OF_BLOCK.get(first.name, default))
    tokens = frozenset(chain.from_iterable(_leading_tokens(choice) for choice in argument.arguments))
    return replace(argument, name=_NAME_OF_CHOICE.get(tokens, "options"))


def _leading_tokens(argument: Argument) -> list[str]:
    if argument.token is not None:
        return [argument.token]
    return _leading_tokens(argument.arguments[0]) if argument.arguments else []
