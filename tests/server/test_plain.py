"""The short way's ends, compiled and in Python: the same answers for the same input."""

from __future__ import annotations

import shutil
import socket
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.resp.parser import RequestParser
from diskkv.server import plain
from diskkv.services.client import Message

try:
    from diskkv.server import _native
except ImportError:
    _native = None  # type: ignore[assignment]

ARGUMENTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"GET", b"get", b"", b"\r\n", b"*1", b"$1\r\n", b"x" * 16384, b"y" * 16385]),
)
REQUESTS = st.lists(st.lists(ARGUMENTS, min_size=1, max_size=5), min_size=1, max_size=6)
ALIKE = st.integers(1, 4).flatmap(
    lambda argc: st.lists(st.lists(st.binary(max_size=6), min_size=argc, max_size=argc), min_size=1, max_size=6)
)
BROKEN = [b"*1\r\n$01\r\na\r\n", b"*01\r\n$1\r\na\r\n", b"*0\r\n", b"*-1\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$1\r\nab\r\n"]
BROKEN += [b"*1\r\n$1\r\na\n\n", b"*1\n$1\r\na\r\n", b"*+1\r\n$1\r\na\r\n", b"*99999999999\r\n", b"*1\r\n:1\r\n"]
BROKEN += [b"*", b"*\r\n", b"*1\r\n$99999999999\r\n", b"*257\r\n" + b"$1\r\na\r\n" * 257, b"PING\r\n", b"", b"\0"]

compiled = pytest.mark.skipif(_native is None, reason="the compiled module needs a C compiler")


def encode(argv: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(item), item) for item in argv)


def rows(taken: plain.Received | bytes) -> list[list[bytes]] | bytes:
    if isinstance(taken, bytes):
        return taken
    _, requests, columns = taken
    if requests is not None:
        return requests
    assert columns is not None
    assert len(set(columns[0])) == 1
    return [list(argv) for argv in zip(*columns, strict=True)]


def check_equal(data: bytes) -> None:
    portable = plain.parse(data)
    native = _native.parse(data)
    if isinstance(native, bytes):
        assert native == portable == data
        return
    parser = RequestParser()
    expected = parser.feed(data)
    assert parser.is_clean
    assert native[0] == len(data)
    assert rows(native) == expected
    if isinstance(portable, bytes):
        # Only this way needs no line breaks in arguments.
        assert any(b"\r\n" in argument for argv in expected for argument in argv)
    else:
        assert portable[0] == len(data)
        assert rows(portable) == expected


@compiled
@given(requests=REQUESTS | ALIKE, garbled=st.tuples(st.integers(0, 300), st.binary(max_size=3)) | st.none())
def test_both_parse_alike(requests: list[list[bytes]], garbled: tuple[int, bytes] | None) -> None:
    data = b"".join(map(encode, requests))
    if garbled is not None:
        at, rubbish = garbled
        data = data[:at] + rubbish + data[at + len(rubbish) :]
    check_equal(data[:65536])


@compiled
@pytest.mark.parametrize("data", BROKEN)
def test_both_leave_the_same_input_to_the_general_way(data: bytes) -> None:
    check_equal(data)
    check_equal(encode([b"PING"]) + data)
    assert plain.parse(data) == data


@compiled
def test_as_many_arguments_as_fit() -> None:
    for data in (b"*256\r\n" + b"$0\r\n\r\n" * 256, b"*1\r\n$0\r\n\r\n" * 6553, encode([b"a", b""]) * 3000):
        check_equal(data)


Ends = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["compiled", "portable"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """A client's socket, and the server's."""
    if request.param == "compiled" and _native is None:
        pytest.skip("the compiled module needs a C compiler")
    monkeypatch.setattr(plain, "native", _native if request.param == "compiled" else None)
    client, server = socket.socketpair()
    server.setblocking(False)
    with client, server:
        yield client, server


def test_receiving(ends: Ends) -> None:
    client, server = ends
    receive = plain.receiver(server)
    assert receive() is None
    client.sendall(encode([b"GET", b"k"]))
    assert receive() == (20, [[b"GET", b"k"]], None)
    client.sendall(encode([b"GET", b"k"]) + encode([b"GET", b"l"]))
    assert receive() == (40, None, [[b"GET", b"GET"], [b"k", b"l"]])
    client.sendall(b"*2\r\n$3\r\nGET\r\n")
    assert receive() == b"*2\r\n$3\r\nGET\r\n"
    client.close()
    assert receive() == b""


def test_an_error_ends_the_input(ends: Ends) -> None:
    _, server = ends
    receive, transmit = plain.receiver(server), plain.transmitter(server)
    server.shutdown(socket.SHUT_RDWR)
    assert receive() == b""
    assert transmit(b"x") == 0


def test_messages_are_bytes_of_another_class(ends: Ends) -> None:
    client, server = ends
    assert plain.transmitter(server)(Message(b"pushed")) == 6
    assert client.recv(10) == b"pushed"


def test_a_full_socket_takes_a_part(ends: Ends) -> None:
    client, server = ends
    transmit = plain.transmitter(server)
    data = b"x" * (8 << 20)
    sent = transmit(data)
    assert 0 < sent < len(data)
    assert transmit(data) == 0
    assert client.recv(10) == b"x" * 10


def test_the_compiled_module_is_there_when_it_can_be() -> None:
    compiler = sysconfig.get_config_var("CC")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if compiler and shutil.which(compiler.split()[0]) and header.exists():
        assert _native is not None


@compiled
def test_the_compiled_module_is_that_of_its_source() -> None:
    built = Path(_native.__file__)
    source = Path(plain.__file__).with_name("_native.pyx")
    assert built.stat().st_mtime >= source.stat().st_mtime, "build it anew: pip install -e ."
