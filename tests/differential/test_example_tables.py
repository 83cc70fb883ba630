"""The format of the example tables."""

from __future__ import annotations

from tests.differential.examples import parse_examples, split_words


def test_words() -> None:
    assert split_words('SET k "a b"') == (b"SET", b"k", b"a b")
    assert split_words(r'SET "" "\x00\xff\n"') == (b"SET", b"", b"\x00\xff\n")
    assert split_words("SET k {x*5}") == (b"SET", b"k", b"xxxxx")
    assert split_words(r"KEYS a\*b") == (b"KEYS", rb"a\*b")


def test_examples() -> None:
    (one, two) = parse_examples("# one\nGET k\n2~ ECHO x\n2<\n\n# two\n3!")
    assert one.name == "one"
    assert [(step.connection, step.action, step.argv) for step in one.steps] == [
        (1, ">", (b"GET", b"k")),
        (2, "~", (b"ECHO", b"x")),
        (2, "<", ()),
    ]
    assert two.steps[0].action == "!"
