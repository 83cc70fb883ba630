"""TLS: contexts from the configuration, and the encrypting socket over a socket pair, in small steps."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskkv.config import Config
from diskkv.errors import ConfigError
from diskkv.server import openssl
from diskkv.server.tls import Handshakes, TlsSocket, make_context
from tests.commands.session import Session
from tests.harness.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("certificates"))
    made.issue("server")
    made.issue("locked", "secret")
    return made


def configured(authority: Authority, name: str = "server", **values: object) -> Config:
    """A configuration with TLS, and these values over it."""
    config = Config()
    config.tls_port = 1
    config.tls_cert_file = str(authority.directory / f"{name}.crt")
    config.tls_key_file = str(authority.directory / f"{name}.key")
    config.tls_ca_cert_file = str(authority.ca_file)
    config.tls_auth_clients = "no"
    for attribute, value in values.items():
        assert hasattr(config, attribute)
        setattr(config, attribute, value)
    return config


class Pair:
    """The server's `TlsSocket` and a client's TLS over memory, joined by a socket pair."""

    def __init__(self, authority: Authority, **values: object) -> None:
        config = configured(authority, **values)
        mine, self.theirs = socket.socketpair()
        mine.setblocking(False)
        self.theirs.setblocking(False)
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.server = TlsSocket(mine, make_context(config), Handshakes(Session().instance))
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")

    def exchange(self) -> None:
        """Carry what the client has for the server, and back."""
        data = self.outgoing.read()
        if data:
            self.theirs.sendall(data)
        with contextlib.suppress(BlockingIOError):
            while received := self.theirs.recv(1 << 16):
                self.incoming.write(received)

    def shake_hands(self) -> None:
        """Complete the handshake."""
        done = False
        while not (done and self.server.is_established):
            if not done:
                with contextlib.suppress(ssl.SSLWantReadError):
                    self.client.do_handshake()
                    done = True
            self.exchange()
            with contextlib.suppress(BlockingIOError):
                assert self.server.recv(1 << 16)
            self.exchange()

    def read(self) -> bytes:
        """What the client can decrypt now."""
        self.exchange()
        received = bytearray()
        with contextlib.suppress(ssl.SSLWantReadError):
            while data := self.client.read(1 << 16):
                received += data
        return bytes(received)

    def close(self) -> None:
        self.server.close()
        self.theirs.close()


@pytest.fixture
def pair(authority: Authority) -> Iterator[Pair]:
    made = Pair(authority)
    yield made
    made.close()


def test_data_goes_both_ways(pair: Pair) -> None:
    pair.shake_hands()
    pair.client.write(b"PING\r\n")
    pair.client.write(b"PING\r\n")
    pair.exchange()
    assert pair.server.recv(1 << 16) == b"PING\r\nPING\r\n"
    assert pair.server.send(b"+PONG\r\n") == 7
    assert pair.read() == b"+PONG\r\n"
    with pytest.raises(BlockingIOError):
        pair.server.recv(1 << 16)


def test_a_record_may_come_byte_by_byte(pair: Pair) -> None:
    pair.shake_hands()
    pair.client.write(b"x" * 100)
    record = pair.outgoing.read()
    for at in range(len(record) - 1):
        pair.theirs.send(record[at : at + 1])
        with pytest.raises(BlockingIOError):
            pair.server.recv(1 << 16)
    pair.theirs.send(record[-1:])
    assert pair.server.recv(1 << 16) == b"x" * 100


def test_what_the_kernel_does_not_take_is_offered_again(pair: Pair) -> None:
    """As the reactor does it: the rest first and unchanged, until all of it is sent."""
    pair.shake_hands()
    data = bytes(range(256)) * 4096
    left = memoryview(data)
    received = bytearray()
    refused = 0
    while left:
        try:
            left = left[pair.server.send(left) :]
        except BlockingIOError:
            refused += 1
            received += pair.read()
    received += pair.read()
    assert refused
    assert received == data
    assert not pair.server.has_unsent


def test_a_goodbye_ends_the_input_behind_the_data(pair: Pair) -> None:
    """The client says that nothing follows but leaves the connection open: what came before is still there."""
    pair.shake_hands()
    pair.client.write(b"PING\r\n")
    with contextlib.suppress(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.exchange()
    assert pair.server.recv(1 << 16) == b"PING\r\n"
    assert pair.server.recv(1 << 16) == b""
    assert pair.server.send(b"+PONG\r\n") == 7


def test_closing_says_goodbye(pair: Pair) -> None:
    pair.shake_hands()
    assert pair.server.send(b"bye") == 3
    pair.server.close()
    pair.exchange()
    assert pair.client.read(10) == b"bye"
    # An end without a goodbye would raise SSLEOFError or SSLWantReadError.
    assert pair.client.read(10) == b""


def test_plain_text_is_refused(pair: Pair) -> None:
    pair.theirs.send(b"PING\r\n")
    with pytest.raises(ssl.SSLError):
        pair.server.recv(1 << 16)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), st.booleans())
@settings(max_examples=40)
def test_garbage_ends_only_the_connection(authority: Authority, garbage: list[bytes], is_established: bool) -> None:
    """Whatever is received before or after the handshake: data that was encrypted by the client, or an OSError."""
    pair = Pair(authority)
    if is_established:
        pair.shake_hands()
    for data in garbage:
        pair.theirs.send(data)
        try:
            assert pair.server.recv(1 << 16) == b""
        except BlockingIOError:
            continue
        except OSError:
            break
    pair.close()


@pytest.mark.parametrize("at", [0, 1, 5, 9, 43, 100])
def test_a_changed_handshake_is_refused(authority: Authority, at: int) -> None:
    """One bit of the client's first flight: refused at once, or nothing that completes."""
    pair = Pair(authority)
    with contextlib.suppress(ssl.SSLWantReadError):
        pair.client.do_handshake()
    hello = bytearray(pair.outgoing.read())
    hello[at] ^= 0x80
    pair.theirs.send(hello)
    with pytest.raises(OSError):
        assert pair.server.recv(1 << 16)
    with contextlib.suppress(ssl.SSLError):
        pair.exchange()
        pair.client.do_handshake()
    pair.exchange()
    with contextlib.suppress(OSError):
        pair.server.recv(1 << 16)
    assert not pair.server.is_established
    pair.close()


def test_only_some_handshakes_begin_in_a_turn(authority: Authority) -> None:
    instance = Session().instance
    instance.config.max_new_tls_connections_per_cycle = 2
    handshakes = Handshakes(instance)
    assert [handshakes.may_begin() for _ in range(4)] == [True, True, False, False]
    instance.stats.turns += 1
    assert handshakes.may_begin()


@pytest.mark.parametrize(
    ("protocols", "version"), [("TLSv1.2", "TLSv1.2"), ("tlsv1.2 TLSv1.3", "TLSv1.3"), ("", "TLSv1.3")]
)
def test_protocols(authority: Authority, protocols: str, version: str) -> None:
    pair = Pair(authority, tls_protocols=protocols)
    pair.shake_hands()
    assert pair.client.version() == version
    pair.close()


def test_ciphers(authority: Authority) -> None:
    pair = Pair(authority, tls_protocols="TLSv1.2", tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    pair.shake_hands()
    cipher = pair.client.cipher()
    assert cipher is not None and cipher[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"
    pair.close()


def test_ciphersuites(authority: Authority) -> None:
    for name in ("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"):
        pair = Pair(authority, tls_ciphersuites=name)
        pair.shake_hands()
        assert pair.server.cipher is not None
        assert pair.server.cipher[:2] == (name, "TLSv1.3")
        pair.close()


def test_contexts_that_openssl_cannot_be_asked_about(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without access to OpenSSL everything but cipher suites goes on to work."""
    monkeypatch.setattr(openssl, "find", lambda context: None)
    make_context(configured(authority, tls_session_caching=False))
    if not hasattr(ssl.SSLContext, "set_ciphersuites"):
        with pytest.raises(ConfigError, match="this Python cannot choose them"):
            make_context(configured(authority, tls_ciphersuites="TLS_AES_128_GCM_SHA256"))


def resumed(authority: Authority, protocol: str, **values: object) -> bool:
    """Whether a second connection resumes the session of a first one."""
    server = make_context(configured(authority, tls_protocols=protocol, **values))
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    session = None
    for _ in range(2):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        theirs = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1", session=session)
        mine = server.wrap_bio(to_server, to_client, server_side=True)
        done: set[ssl.SSLObject] = set()
        while len(done) < 2:
            for side in (theirs, mine):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                    done.add(side)
        mine.write(b"x")
        # TLS 1.3 gives the session to the client behind the handshake.
        assert theirs.read(1) == b"x"
        session = theirs.session
    return bool(theirs.session_reused)


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
def test_session_caching(authority: Authority, protocol: str) -> None:
    assert resumed(authority, protocol)
    assert resumed(authority, protocol, tls_session_cache_size=1)
    assert not resumed(authority, protocol, tls_session_caching=False)


def test_session_timeout(authority: Authority) -> None:
    pair = Pair(authority, tls_session_cache_timeout=1234)
    pair.shake_hands()
    pair.server.send(b"x")
    assert pair.read() == b"x"
    assert pair.client.session is not None
    assert pair.client.session.ticket_lifetime_hint == 1234
    pair.close()


def test_options(authority: Authority) -> None:
    context = make_context(configured(authority, tls_prefer_server_ciphers=True, tls_session_caching=False))
    assert context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert context.options & ssl.OP_NO_TICKET
    assert context.num_tickets == 0
    context = make_context(configured(authority, tls_auth_clients="optional"))
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert context.verify_mode is ssl.CERT_OPTIONAL


def test_an_encrypted_key(authority: Authority) -> None:
    make_context(configured(authority, "locked", tls_key_file_pass="secret"))
    for password in ("", "wrong"):
        with pytest.raises(ConfigError, match=r"locked\.key"):
            make_context(configured(authority, "locked", tls_key_file_pass=password))


WRONG = [
    ({"tls_cert_file": ""}, "no tls-cert-file"),
    ({"tls_cert_file": "/nonexistent"}, "/nonexistent.*No such file"),
    ({"tls_ca_cert_file": "", "tls_auth_clients": "yes"}, "tls-ca-cert-file or tls-ca-cert-dir must be given"),
    ({"tls_ca_cert_file": "/nonexistent"}, "/nonexistent.*No such file"),
    ({"tls_dh_params_file": "/nonexistent"}, "/nonexistent"),
    ({"tls_protocols": "SSLv3"}, "invalid tls-protocols"),
    ({"tls_protocols": "TLSv1 TLSv1.2"}, "cannot be left out"),
    ({"tls_ciphers": "nonsense"}, "cannot use tls-ciphers nonsense"),
    ({"tls_ciphersuites": "nonsense"}, "tls-ciphersuites"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_what_is_wrong_is_named(authority: Authority, values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        make_context(configured(authority, **values))
    assert "\n" not in str(raised.value)


def test_a_key_of_another_certificate(authority: Authority, tmp_path: Path) -> None:
    _, other = Authority(tmp_path).issue("other")
    with pytest.raises(ConfigError, match="KEY_VALUES_MISMATCH"):
        make_context(configured(authority, tls_key_file=str(other)))
