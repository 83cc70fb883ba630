"""Listening sockets: making them, and accepting from them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diskkv.config import Config
from diskkv.errors import ConfigError
from diskkv.server.tls import TLS_PARAMETERS, TlsConnection, TlsSocket, make_context

if TYPE_CHECKING:
    from diskkv.server.reactor import Reactor
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

_ACCEPTS_PER_EVENT = 1000
_BIND_FAILED = "Failed to bind to specified addresses."
_NOT_AVAILABLE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT})
"""What is ignored for addresses that begin with a dash."""


@dataclass(eq=False, slots=True)
class Listener:
    """A listening socket. `kind` is tcp, tls or unix; `place` is the address, or the path of a unix socket."""

    sock: socket.socket
    kind: str
    place: tuple[str, int] | str

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.sock.fileno()


class Listeners:
    """All listening sockets: opened at the start, opened anew when CONFIG SET changes port, tls-port or bind.

    `tls` is the context for new TLS connections. It is made anew when CONFIG SET names one of the files, even with the
    value that it has: that is how renewed certificates are taken up.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._open: list[Listener] = []
        self._reactor: Reactor | None = None
        self._ports = (config.port, config.tls_port)
        self.tls: ssl.SSLContext | None = None

    def open(self) -> None:
        """Bind everything the configuration names. Raises ConfigError with one clear line."""
        config = self._config
        try:
            if config.tls_port:
                self.tls = make_context(config)
            opened: list[Listener] = []
            self._bind_missing(opened)
            self._open += opened
            if config.unixsocket:
                sock = _bind_unix(config.unixsocket, config.unixsocketperm, config.tcp_backlog)
                self._open.append(Listener(sock, "unix", config.unixsocket))
            if not self._open:
                message = "nothing to listen on: port, tls-port and unixsocket are off"
                raise ConfigError(message)
        except ConfigError:
            self.close()
            raise

    def attach(self, reactor: Reactor) -> None:
        """Have the reactor accept connections, and follow the configuration from now on."""
        self._reactor = reactor
        for listener in self._open:
            reactor.listen(listener)
        for name in ("tls-port", *TLS_PARAMETERS):
            self._config.on_change(name, self.reload_tls)
        for name in ("port", "tls-port", "bind"):
            self._config.on_change(name, self._rebind)

    @property
    def places(self) -> list[str]:
        """Where the server can be reached, for people."""
        shown = {"tcp": "", "tls": "tls ", "unix": ""}
        return [
            shown[each.kind] + (each.place if isinstance(each.place, str) else _show(each.place)) for each in self._open
        ]

    def close(self) -> None:
        """Close all sockets; the reactor must be closed, or must not have them."""
        for listener in self._open:
            listener.sock.close()
        self._open.clear()

    def reload_tls(self) -> None:
        """Make the context anew, from files that may have changed. Raises ConfigError; the old one is kept then."""
        if self._config.tls_port:
            try:
                self.tls = make_context(self._config)
            except ConfigError as exc:
                log.warning("TLS is not configured anew: %s", exc)
                message = "Unable to update TLS configuration. Check server logs."
                raise ConfigError(message) from exc

    def _wanted(self) -> list[tuple[str, str, int]]:
        """(kind, address, port) of all TCP sockets, with the address as it is configured."""
        config = self._config
        ports = (("tcp", config.port), ("tls", config.tls_port))
        return [(kind, address, port) for kind, port in ports if port for address in config.bind]

    def _missing(self) -> Iterator[Listener]:
        """Bind what is wanted and not open yet. Raises ConfigError."""
        there = {(listener.kind, listener.place) for listener in self._open}
        for kind, address, port in self._wanted():
            place = (address.removeprefix("-"), port)
            if (kind, place) in there:
                continue
            try:
                sock = bind_tcp(*place, self._config.tcp_backlog)
            except OSError as exc:
                if address.startswith("-") and exc.errno in _NOT_AVAILABLE:
                    continue
                message = f"cannot listen on {_show(place)}: {exc.strerror or exc}"
                raise ConfigError(message) from exc
            there.add((kind, place))
            yield Listener(sock, kind, place)

    def _rebind(self) -> None:
        """Follow port, tls-port and bind. Raises ConfigError when that fails; the sockets are as before then.

        Sockets that are not wanted any more are closed last, unless they are in the way of new ones: the address
        0.0.0.0 cannot be bound beside others, nor a port for TLS that was one without.
        """
        reactor = self._reactor
        assert reactor is not None
        config = self._config
        wanted = {(kind, (address.removeprefix("-"), port)) for kind, address, port in self._wanted()}
        surplus = [each for each in self._open if each.kind != "unix" and (each.kind, each.place) not in wanted]
        in_the_way = [each for each in surplus if each.place[1] in (config.port, config.tls_port)]
        opened: list[Listener] = []
        try:
            try:
                self._bind_missing(opened)
            except ConfigError:
                if not in_the_way:
                    raise
                self._give_up(in_the_way)
                self._bind_missing(opened)
        except ConfigError as exc:
            log.warning("%s", exc)
            self._restore(in_the_way)
            is_moved = (config.port, config.tls_port) != self._ports
            message = "Unable to listen on this port. Check server logs." if is_moved else _BIND_FAILED
            raise ConfigError(message) from exc
        self._give_up(surplus)
        for listener in opened:
            self._open.append(listener)
            reactor.listen(listener)
        self._ports = (config.port, config.tls_port)
        log.info("listening on %s", ", ".join(self.places) or "nothing")

    def _bind_missing(self, opened: list[Listener]) -> None:
        """Add what is missing to `opened`, all or nothing. Raises ConfigError."""
        try:
            for listener in self._missing():
                opened.append(listener)
        except ConfigError:
            self._give_up(opened)
            opened.clear()
            raise

    def _give_up(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            if listener in self._open:
                self._open.remove(listener)
                assert self._reactor is not None
                self._reactor.stop_listening(listener)
            listener.sock.close()

    def _restore(self, listeners: list[Listener]) -> None:
        """Bind again what was closed for nothing."""
        assert self._reactor is not None
        for listener in listeners:
            if listener in self._open or isinstance(listener.place, str):
                continue
            try:
                sock = bind_tcp(*listener.place, self._config.tcp_backlog)
            except OSError as exc:
                log.warning("cannot listen on %s again: %s", _show(listener.place), exc.strerror or exc)
                continue
            again = Listener(sock, listener.kind, listener.place)
            self._open.append(again)
            self._reactor.listen(again)


def bind_tcp(address: str, port: int, backlog: int) -> socket.socket:
    """A non-blocking socket that listens on an address, or on all of IPv4 (*) or IPv6 (::*). Raises OSError."""
    host = {"*": "0.0.0.0", "::*": "::"}.get(address, address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: str, permissions: int, backlog: int) -> socket.socket:
    # A socket file that nobody listens on is left over from a crash; anything else in its place is not ours to remove.
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                probe.connect(path)
                message = f"cannot listen on {path}: address already in use"
                raise ConfigError(message)
            except ConnectionRefusedError:
                os.unlink(path)
            finally:
                probe.close()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        if permissions:
            os.chmod(path, permissions)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as exc:
        sock.close()
        message = f"cannot listen on {path}: {exc.strerror or exc}"
        raise ConfigError(message) from exc
    return sock


def accept_all(reactor: Reactor, listener: Listener) -> None:
    """Accept what waits on a listener, up to a bound for one turn."""
    config = reactor.instance.config
    stats = reactor.instance.stats
    is_tls = listener.kind == "tls"
    for _ in range(config.max_new_tls_connections_per_cycle if is_tls else _ACCEPTS_PER_EVENT):
        try:
            # The address comes from here: getpeername fails for a peer that has reset the connection since.
            sock, address = listener.sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as exc:
            # Out of file descriptors: the connection stays in the backlog and is tried again after a while.
            if reactor.rest_listener(listener):
                log.warning("cannot accept a connection: %s", exc)
            return
        reactor.accepts_fail = False
        sock.setblocking(False)
        stats.connections_received += 1
        refusal = _refusal(reactor, sock, address)
        if refusal is not None:
            stats.connections_rejected += 1
            # A client that expects TLS could not read it.
            if not is_tls:
                with contextlib.suppress(OSError):
                    sock.send(refusal)
            sock.close()
            continue
        if sock.family != socket.AF_UNIX:
            _set_options(sock, config)
            peer = _show(address)
            local = _show(sock.getsockname())
        else:
            peer = local = f"{sock.getsockname()}:0"
        if is_tls:
            assert reactor.open_sockets.tls is not None
            tls_socket = TlsSocket(sock, reactor.open_sockets.tls, reactor.handshakes)
            reactor.adopt(tls_socket, peer, local, TlsConnection)
        else:
            reactor.adopt(sock, peer, local)


def _set_options(sock: socket.socket, config: Config) -> None:
    # A connection that is reset already may refuse options; its end is seen by the first read.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if config.tcp_keepalive:
            _keep_alive(sock, config.tcp_keepalive)


def _refusal(reactor: Reactor, sock: socket.socket, address: tuple[str, int]) -> bytes | None:
    """Why a new connection is not let in, as an error reply, or None."""
    config = reactor.instance.config
    if len(reactor.connections) >= config.maxclients:
        return b"-ERR max number of clients reached\r\n"
    if sock.family != socket.AF_UNIX and needs_protection(reactor.instance, address[0]):
        return (
            b"-DENIED diskkv runs in protected mode: without a password it only accepts connections from the "
            b"loopback interface. Set requirepass, or protected-mode no, to accept others.\r\n"
        )
    return None


def needs_protection(instance: Instance, host: str) -> bool:
    """Whether protected mode refuses a client at this address: it is on another machine, and needs no password."""
    if not instance.config.protected_mode or not instance.acl.default_user.nopass:
        return False
    return not (host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1"))


def _keep_alive(sock: socket.socket, interval_s: int) -> None:
    """Probe a silent peer after `interval_s`, and give up after three more probes in as much time again."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, interval_s // 3))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _show(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
