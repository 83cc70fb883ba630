"""The first line of scripts."""

from __future__ import annotations

import pytest

from diskkv.errors import CommandError
from diskkv.services.scripting.shebang import ScriptFlag, SplitError, flag_names, parse_script, split_words


def test_a_script_without_shebang_runs_by_the_legacy_rules() -> None:
    assert parse_script(b"return 1") == (ScriptFlag.COMPAT, 0)


def test_flags_and_the_start_of_the_body_are_found() -> None:
    header = parse_script(b"#!lua flags=no-writes,allow-oom\nreturn 1")
    assert header == (ScriptFlag.NO_WRITES | ScriptFlag.ALLOW_OOM, 31)
    assert flag_names(header.flags) == [b"no-writes", b"allow-oom"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"#!lua", b"ERR Invalid script shebang"),
        (b"#!python\n", b"ERR Unexpected engine in script shebang: #!python"),
        (b"#!lua name=x\n", b"ERR Unknown lua shebang option: name=x"),
        (b"#!lua flags=no-writes,\n", b"ERR Unexpected flag in script shebang: "),
    ],
)
def test_bad_shebangs_are_refused(source: bytes, message: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        parse_script(source)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b"  a  b\t", [b"a", b"b"]),
        (b'"a b" c', [b"a b", b"c"]),
        (b'"\\x41\\n\\"\\q"', [b'A\n"q']),
        (b"'it\\'s' x", [b"it's", b"x"]),
        (b'k="v w"', [b"k=v w"]),
    ],
)
def test_words_are_split_at_spaces_outside_quotes(line: bytes, words: list[bytes]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize("line", [b'"a', b"'a", b'"a"b', b"'a'b", b'"a\\'])
def test_unbalanced_quotes_are_refused(line: bytes) -> None:
    with pytest.raises(SplitError):
        split_words(line)
