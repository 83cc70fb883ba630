"""TLS: contexts from the configuration, and a socket that encrypts what a connection sends and receives.

`TlsSocket` has the few methods that a connection uses of a non-blocking socket, so connections with and without TLS
share all code: the reactor's loop does not know which is which. OpenSSL works on memory buffers; handshakes are part of
the turn, but only a few of them begin in each.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from diskkv.config import Config
from diskkv.errors import ConfigError
from diskkv.server import openssl
from diskkv.server.connection import Connection
from diskkv.server.logs import VERBOSE

if TYPE_CHECKING:
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

_RECORD_BYTES = 16 * 1024
"""The most that one TLS record carries."""
_CHUNK_BYTES = 256 * 1024
"""How much is encrypted ahead of what the kernel takes."""
_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
TLS_PARAMETERS = (
    "tls-cert-file", "tls-key-file", "tls-key-file-pass", "tls-ca-cert-file", "tls-ca-cert-dir", "tls-auth-clients",
    "tls-protocols", "tls-ciphers", "tls-ciphersuites", "tls-prefer-server-ciphers", "tls-dh-params-file",
    "tls-session-caching", "tls-session-cache-size", "tls-session-cache-timeout",
)  # fmt: skip
"""What a context is made of."""
_VERIFY = {"yes": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "no": ssl.CERT_NONE}


def make_context(config: Config) -> ssl.SSLContext:
    """The context for new connections. Raises ConfigError with the reason."""
    if not config.tls_cert_file:
        message = "no tls-cert-file configured"
        raise ConfigError(message)
    if config.tls_auth_clients != "no" and not (config.tls_ca_cert_file or config.tls_ca_cert_dir):
        message = "tls-ca-cert-file or tls-ca-cert-dir must be given unless tls-auth-clients is no"
        raise ConfigError(message)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if not config.tls_prefer_server_ciphers:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _cache_sessions(context, config)
    context.verify_mode = _VERIFY[config.tls_auth_clients]
    _load_files(context, config)
    _choose_protocols(context, config)
    _choose_ciphers(context, config)
    return context


def _load_files(context: ssl.SSLContext, config: Config) -> None:
    with _explained(f"cannot load tls-cert-file {config.tls_cert_file}, tls-key-file {config.tls_key_file}"):
        # With a password (that may be empty) OpenSSL never asks for one on the terminal.
        context.load_cert_chain(config.tls_cert_file, config.tls_key_file or None, config.raw("tls-key-file-pass"))
    if config.tls_ca_cert_file or config.tls_ca_cert_dir:
        with _explained(f"cannot load certificates from {config.tls_ca_cert_file or config.tls_ca_cert_dir}"):
            context.load_verify_locations(config.tls_ca_cert_file or None, config.tls_ca_cert_dir or None)
    if config.tls_dh_params_file:
        with _explained(f"cannot load tls-dh-params-file {config.tls_dh_params_file}"):
            context.load_dh_params(config.tls_dh_params_file)


def _choose_protocols(context: ssl.SSLContext, config: Config) -> None:
    names = {name.lower() for name in config.tls_protocols.split()}
    known = {name.lower(): version for name, version in _VERSIONS.items()}
    if not names:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return
    if not names <= known.keys():
        message = f"invalid tls-protocols: use {', '.join(_VERSIONS)}"
        raise ConfigError(message)
    chosen = [name in names for name in known]
    first, last = chosen.index(True), len(chosen) - chosen[::-1].index(True)
    if not all(chosen[first:last]):
        message = "invalid tls-protocols: a version between two others cannot be left out"
        raise ConfigError(message)
    versions = list(known.values())
    # Versions before 1.2 are deprecated, which is for the operator to know.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = versions[first]
        context.maximum_version = versions[last - 1]


def _choose_ciphers(context: ssl.SSLContext, config: Config) -> None:
    if config.tls_ciphers:
        with _explained(f"cannot use tls-ciphers {config.tls_ciphers}"):
            context.set_ciphers(config.tls_ciphers)
    if config.tls_ciphersuites:
        _choose_ciphersuites(context, config.tls_ciphersuites)


def _choose_ciphersuites(context: ssl.SSLContext, names: str) -> None:
    what = f"cannot use tls-ciphersuites {names}"
    # Part of the ssl module from Python 3.15 on.
    choose = getattr(context, "set_ciphersuites", None)
    if choose is not None:
        with _explained(what):
            choose(names)
        return
    found = openssl.find(context)
    if found is None:
        message = f"{what}: this Python cannot choose them"
        raise ConfigError(message)
    if not found.choose_ciphersuites(names):
        message = f"{what}: OpenSSL does not know all of them"
        raise ConfigError(message)


def _cache_sessions(context: ssl.SSLContext, config: Config) -> None:
    found = openssl.find(context)
    if not config.tls_session_caching:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        if found is not None:
            found.cache_no_sessions()
    elif found is not None:
        found.cache_sessions(config.tls_session_cache_size, config.tls_session_cache_timeout)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what OpenSSL and the system say into one line for the operator."""
    try:
        yield
    except ssl.SSLError as exc:
        # OpenSSL's own name for the error, which not all errors of the module have.
        message = f"{what}: {getattr(exc, 'reason', None) or exc}"
        raise ConfigError(message) from exc
    except OSError as exc:
        message = f"{what}: {exc.strerror or exc}"
        raise ConfigError(message) from exc


class Handshakes:
    """Bounds how many handshakes begin in one turn: each costs the server a signature, up to a millisecond."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._turn = -1
        self._left = 0

    def may_begin(self) -> bool:
        """Whether there is room for one more in this turn, which is taken."""
        turn = self._instance.stats.turns
        if turn != self._turn:
            self._turn = turn
            self._left = self._instance.config.max_new_tls_connections_per_cycle
        self._left -= 1
        return self._left >= 0


class TlsSocket:
    """What a connection needs of a non-blocking socket, over TLS.

    `send` answers how much was encrypted and taken by the kernel. What was encrypted but not taken counts as not sent:
    the caller offers it again, first and unchanged, as it has to with OpenSSL itself.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, handshakes: Handshakes) -> None:
        self._sock = sock
        self._handshakes = handshakes
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._unsent = memoryview(b"")
        """Encrypted output that the kernel has not taken."""
        self._ahead_bytes = 0
        """How much of the caller's data `_unsent` ends."""
        self._has_begun = False
        self.is_established = False
        """Whether the handshake is complete."""

    def fileno(self) -> int:
        """The descriptor of the socket below."""
        return self._sock.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether the kernel has not taken all encrypted output."""
        return bool(self._unsent)

    @property
    def cipher(self) -> tuple[str, str, int] | None:
        """Name, protocol version and secret bits of the cipher in use."""
        return self._tls.cipher()

    def recv(self, size: int) -> bytes:
        """About `size` bytes at most; empty at the end. Raises OSError, BlockingIOError when nothing has arrived."""
        if not self.is_established and not self._has_begun and not self._handshakes.may_begin():
            raise BlockingIOError
        data = self._sock.recv(size)
        if not data:
            return data
        self._incoming.write(data)
        if not self.is_established:
            self._shake_hands()
        pieces = self._decrypt()
        if self._outgoing.pending:
            self._pass_on()
        if not pieces:
            raise BlockingIOError
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _shake_hands(self) -> None:
        self._has_begun = True
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        except ssl.SSLError as exc:
            log.log(VERBOSE, "TLS handshake failed: %s", exc)
            raise
        finally:
            # In case of failure too: the alert tells the client why.
            self._pass_on()
        self.is_established = True

    def _decrypt(self) -> list[bytes]:
        tls, incoming = self._tls, self._incoming
        pieces: list[bytes] = []
        try:
            while incoming.pending or tls.pending():
                piece = tls.read(_RECORD_BYTES)
                if not piece:
                    # The client said that nothing follows. From now on the socket reports its end.
                    self._sock.shutdown(socket.SHUT_RD)
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        return pieces

    def _pass_on(self) -> None:
        """Give encrypted output to the kernel, as far as it takes it now."""
        data = self._outgoing.read()
        if self._unsent:
            data = bytes(self._unsent) + data
        try:
            sent = self._sock.send(data) if data else 0
        except (BlockingIOError, InterruptedError):
            sent = 0
        self._unsent = memoryview(data)[sent:]

    def send(self, data: bytes | memoryview) -> int:
        """How many bytes were taken. Raises OSError, BlockingIOError when none were."""
        taken = 0
        if self._unsent:
            self._pass_on()
            if self._unsent:
                raise BlockingIOError
            taken = self._ahead_bytes
            self._ahead_bytes = 0
        total = len(data)
        while taken < total:
            written = self._tls.write(data[taken : taken + _CHUNK_BYTES])
            self._pass_on()
            if self._unsent:
                self._ahead_bytes = written
                break
            taken += written
        return taken

    def close(self) -> None:
        """Say goodbye, as far as that is possible at once, and close the socket."""
        with contextlib.suppress(OSError):
            if self.is_established and not self._unsent:
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()
                self._pass_on()
        self._sock.close()


class TlsConnection(Connection):
    """A client behind TLS."""

    __slots__ = ()

    sock: TlsSocket

    @property
    def is_quiet(self) -> bool:
        return self.sock.is_established and super().is_quiet

    def receive(self) -> bool:
        if not super().receive():
            return False
        if self.sock.has_unsent and not self.unsent:
            # A part of the handshake that the kernel has not taken: have it sent when it does.
            self.unsent.append(b"")
        return True
