"""What the subject tells about its commands agrees with the reference."""

from __future__ import annotations

import pytest

from tests.harness import servers
from tests.harness.compare import deep_unordered
from tests.harness.wire import Map, Reply, Wire, is_nil

FIELDS = (
    "name",
    "arity",
    "flags",
    "first key",
    "last key",
    "step",
    "categories",
    "tips",
    "key specifications",
    "subcommands",
)


def _common_commands(subject: Wire, reference: Wire) -> list[bytes]:
    return sorted(set(subject.call("COMMAND", "LIST")) & set(reference.call("COMMAND", "LIST")))


def _infos(wire: Wire, names: list[bytes]) -> dict[bytes, Reply]:
    wire.hello(3)
    return dict(zip(names, wire.call("COMMAND", "INFO", *names), strict=True))


def test_command_info_is_the_references() -> None:
    """Arity, flags, keys, categories, tips and key specifications of every command that both have."""
    with servers.subject().connect() as subject, servers.reference().connect() as reference:
        names = _common_commands(subject, reference)
        assert len(names) > 50
        mine, theirs = _infos(subject, names), _infos(reference, names)
    found = []
    for name in names:
        assert not is_nil(mine[name]), name
        found += _differences(mine[name], theirs[name])
    assert not found, "\n".join(found)


def _differences(mine: list[Reply], theirs: list[Reply]) -> list[str]:
    found = []
    for field, left, right in zip(FIELDS, mine, theirs, strict=True):
        if field == "subcommands":
            own = {entry[0]: entry for entry in _entries(left)}
            for entry in _entries(right):
                # A subcommand of the reference that the subject lacks is a missing feature, not a wrong description.
                if entry[0] in own:
                    found += _differences(own[entry[0]], entry)
        elif deep_unordered(left) != deep_unordered(right):
            found.append(f"{theirs[0]!r} {field}: subject {left!r}, reference {right!r}")
    return found


def _entries(subcommands: Reply) -> list[Reply]:
    """The subcommands; the reference's module commands have an empty set instead of an empty array."""
    entries: list[Reply] = subcommands if isinstance(subcommands, list) else subcommands.members
    return entries


# What the documentation of a command says in the server's own words is not compared.
_DOC_FIELDS = (b"since", b"group", b"doc_flags", b"deprecated_since", b"replaced_by")


# What diskkv documents otherwise, on purpose.
_OTHER_ARGUMENTS = {
    b"set": "conditions on the value are newer than the reference",
    b"bitop": "says since when there are the newer operations",
    b"client|kill": "does not mark the old form as deprecated",
}


@pytest.mark.parametrize("field", _DOC_FIELDS)
def test_command_docs_agree_with_the_references(field: bytes) -> None:
    with servers.subject().connect() as subject, servers.reference().connect() as reference:
        names = _common_commands(subject, reference)
        docs = []
        for wire in (subject, reference):
            wire.hello(3)
            reply = wire.call("COMMAND", "DOCS", *names)
            assert isinstance(reply, Map)
            docs.append({name: dict(fields.pairs) for name, fields in reply.pairs})
    mine, theirs = docs
    found = [
        f"{name!r}: subject {mine[name].get(field)!r}, reference {theirs[name].get(field)!r}"
        for name in names
        if deep_unordered(mine[name].get(field)) != deep_unordered(theirs[name].get(field))
    ]
    assert not found, "\n".join(found)


def _all_arguments(wire: Wire, names: list[bytes]) -> dict[bytes, Reply]:
    """The arguments of every command and subcommand."""
    wire.hello(3)
    found: dict[bytes, Reply] = {}
    pending = wire.call("COMMAND", "DOCS", *names).pairs
    while pending:
        name, docs = pending.pop()
        fields = dict(docs.pairs)
        found[name] = deep_unordered(fields.get(b"arguments"))
        if b"subcommands" in fields:
            pending += fields[b"subcommands"].pairs
    return found


def test_arguments_agree_with_the_references() -> None:
    with servers.subject().connect() as subject, servers.reference().connect() as reference:
        names = _common_commands(subject, reference)
        mine, theirs = _all_arguments(subject, names), _all_arguments(reference, names)
    found = [
        f"{name!r}: subject {mine[name]!r}, reference {theirs[name]!r}"
        for name in mine
        if name in theirs and name not in _OTHER_ARGUMENTS and mine[name] != theirs[name]
    ]
    assert not found, "\n".join(found)
