"""NUL, vertical tab and form feed outside of arguments were taken in another way than Redis takes them."""

from __future__ import annotations

import pytest

from diskkv.resp.inline import split_inline
from diskkv.resp.parser import RequestParser


@pytest.mark.parametrize("line", [b"PING\0\r\n", b"\0\n", b"*1\0\r\n", b'"\0"\n', b"*1\r\n$4\0\r\nPING\r\n"])
def test_no_line_ends_behind_a_nul(line: bytes) -> None:
    """Redis looks for the end of a line in a C string: such a line goes on until it is too long."""
    parser = RequestParser()
    assert parser.feed(b"ECHO x\r\n" + line + b"PING\r\n") == [[b"ECHO", b"x"]]
    assert parser.error is None
    assert parser.feed(b"x" * 70_000 + b"\r\n") == []
    assert parser.error is not None and str(parser.error).startswith("too big ")


def test_nul_in_arguments_is_nothing_special() -> None:
    assert RequestParser().feed(b"*1\r\n$3\r\n\0\r\n\r\n") == [[b"\0\r\n"]]
    assert RequestParser().feed(b'ECHO "\\x00"\r\n') == [[b"ECHO", b"\0"]]


def test_vertical_tabs_and_form_feeds_do_not_end_words() -> None:
    assert split_inline(b"\f\v a\vb\f c\t\fd") == [b"a\vb\f", b"c", b"d"]
    assert split_inline(b'"a"\fb') == [b"a", b"b"]
    assert split_inline(b"a\n\rb c") == [b"a", b"b", b"c"]
