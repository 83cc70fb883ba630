"""Listening sockets: making them, and accepting from them."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
from typing import TYPE_CHECKING

from diskkv.config import Config
from diskkv.errors import ConfigError

if TYPE_CHECKING:
    from diskkv.server.reactor import Reactor

log = logging.getLogger(__name__)

_ACCEPTS_PER_EVENT = 1000


def open_listeners(config: Config) -> list[socket.socket]:
    """Bind everything the configuration names. Raises ConfigError with one clear line."""
    sockets: list[socket.socket] = []
    try:
        if config.port:
            for address in config.bind:
                optional = address.startswith("-")
                try:
                    sockets.append(_bind_tcp(address.removeprefix("-"), config.port, config.tcp_backlog))
                except OSError as exc:
                    if optional:
                        continue
                    message = f"cannot listen on {address.removeprefix('-')}:{config.port}: {exc.strerror or exc}"
                    raise ConfigError(message) from exc
        if config.unixsocket:
            sockets.append(_bind_unix(config.unixsocket, config.unixsocketperm, config.tcp_backlog))
        if not sockets:
            message = "nothing to listen on: both port and unixsocket are off"
            raise ConfigError(message)
    except ConfigError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind_tcp(address: str, port: int, backlog: int) -> socket.socket:
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


def accept_all(reactor: Reactor, listener: socket.socket) -> None:
    """Accept what waits on a listener, up to a bound for one turn."""
    config = reactor.instance.config
    stats = reactor.instance.stats
    for _ in range(_ACCEPTS_PER_EVENT):
        try:
            # The address comes from here: getpeername fails for a peer that has reset the connection since.
            sock, address = listener.accept()
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
            with contextlib.suppress(OSError):
                sock.send(refusal)
            sock.close()
            continue
        if sock.family != socket.AF_UNIX:
            # A connection that is reset already may refuse options; its end is seen by the first read.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if config.tcp_keepalive:
                    _keep_alive(sock, config.tcp_keepalive)
            peer = _show(address)
            local = _show(sock.getsockname())
        else:
            peer = local = f"{sock.getsockname()}:0"
        reactor.adopt(sock, peer, local)


def _refusal(reactor: Reactor, sock: socket.socket, address: tuple[str, int]) -> bytes | None:
    """Why a new connection is not let in, as an error reply, or None."""
    config = reactor.instance.config
    if len(reactor.connections) >= config.maxclients:
        return b"-ERR max number of clients reached\r\n"
    if config.protected_mode and reactor.instance.acl.default_user.nopass and sock.family != socket.AF_UNIX:
        host = address[0]
        if not (host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")):
            return (
                b"-DENIED diskkv runs in protected mode: without a password it only accepts connections from the "
                b"loopback interface. Set requirepass, or protected-mode no, to accept others.\r\n"
            )
    return None


def _keep_alive(sock: socket.socket, interval_s: int) -> None:
    """Probe a silent peer after `interval_s`, and give up after three more probes in as much time again."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, interval_s // 3))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _show(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
