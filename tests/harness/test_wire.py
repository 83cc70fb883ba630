"""The test client keeps the wire types apart."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.harness.wire import (
    Attribute,
    BigNumber,
    Boolean,
    Double,
    ErrorReply,
    Map,
    Null,
    NullArray,
    NullBulk,
    Push,
    Reply,
    SetReply,
    Simple,
    Verbatim,
    Wire,
    WireClosed,
    encode_command,
)

REPLIES: dict[bytes, Reply] = {
    b"+OK\r\n": Simple(b"OK"),
    b"-ERR no\r\n": ErrorReply(b"ERR no"),
    b":-5\r\n": -5,
    b"$3\r\na\r\n\r\n": b"a\r\n",
    b"$0\r\n\r\n": b"",
    b"$-1\r\n": NullBulk(),
    b"*-1\r\n": NullArray(),
    b"*0\r\n": [],
    b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n": [1, [b"x"]],
    b"_\r\n": Null(),
    b"#t\r\n": Boolean(True),
    b"#f\r\n": Boolean(False),
    b",1.50\r\n": Double(b"1.50"),
    b",inf\r\n": Double(b"inf"),
    b"(12345678901234567890\r\n": BigNumber(b"12345678901234567890"),
    b"=7\r\ntxt:abc\r\n": Verbatim(b"txt", b"abc"),
    b"!6\r\nERR no\r\n": ErrorReply(b"ERR no", blob=True),
    b"%1\r\n+a\r\n:1\r\n": Map([(Simple(b"a"), 1)]),
    b"~2\r\n:1\r\n:2\r\n": SetReply([1, 2]),
    b">2\r\n+a\r\n:1\r\n": Push([Simple(b"a"), 1]),
    b"|1\r\n+a\r\n:1\r\n:2\r\n": Attribute([(Simple(b"a"), 1)], 2),
}


class Peer:
    """The server's end of a connection."""

    def __init__(self, directory: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "s"))
        self._listener.listen()
        self.wire = Wire(str(directory / "s"), timeout_s=5)
        self.socket, _ = self._listener.accept()

    def close(self) -> None:
        """Close all sockets."""
        for end in (self._listener, self.socket, self.wire):
            end.close()


@pytest.mark.parametrize("data", REPLIES)
def test_every_type_in_one_piece_and_byte_by_byte(data: bytes, tmp_path: Path) -> None:
    peer = Peer(tmp_path)
    try:
        peer.socket.sendall(data)
        assert peer.wire.read_any() == REPLIES[data]
        assert type(peer.wire._buffer) is bytearray and not peer.wire._buffer
        for index in range(len(data)):
            peer.socket.send(data[index : index + 1])
        peer.socket.sendall(b":7\r\n")
        assert peer.wire.read_any() == REPLIES[data]
        assert peer.wire.read_any() == 7
    finally:
        peer.close()


def test_types_are_not_equal_to_one_another() -> None:
    values = [*REPLIES.values(), b"OK", Simple(b"-5"), ErrorReply(b"OK"), Double(b"5"), SetReply([]), Push([1, 2])]
    for index, left in enumerate(values):
        for right in values[index + 1 :]:
            assert left != right or type(left) is type(right)


def test_pushes_are_kept_apart_from_replies(tmp_path: Path) -> None:
    peer = Peer(tmp_path)
    try:
        peer.socket.sendall(b">1\r\n+a\r\n+OK\r\n")
        assert peer.wire.read_reply() == Simple(b"OK")
        assert peer.wire.pushes == [Push([Simple(b"a")])]
    finally:
        peer.close()


def test_closing_in_the_middle_is_an_error(tmp_path: Path) -> None:
    peer = Peer(tmp_path)
    try:
        peer.socket.sendall(b"$5\r\nab")
        peer.socket.close()
        with pytest.raises(WireClosed):
            peer.wire.read_reply()
    finally:
        peer.close()


def test_commands_are_arrays_of_bulk_strings() -> None:
    assert encode_command(["SET", b"k\x00", 5]) == b"*3\r\n$3\r\nSET\r\n$2\r\nk\x00\r\n$1\r\n5\r\n"
