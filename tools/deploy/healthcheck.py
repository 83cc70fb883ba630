"""Asks a server whether it answers: exit status 0 when it does.

    python -m tools.deploy.healthcheck [HOST:PORT | /path/of/unix/socket]

Without an argument the environment's DISKKV_HEALTHCHECK says where, else it is 127.0.0.1:6379. A server that wants a
password answers too, with an error that says so. It has no TLS: give a server with `port 0` a unix socket.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

_TIMEOUT_S = 3.0
_ALIVE = (b"+PONG", b"-NOAUTH")


def probe(place: str) -> str:
    """Why the server at this place is not well, or nothing."""
    try:
        with _connect(place) as sock:
            sock.sendall(b"PING\r\n")
            reply = sock.recv(1024)
    except (OSError, ValueError) as exc:
        return str(exc)
    if reply.startswith(_ALIVE):
        return ""
    return reply.decode("ascii", "replace").strip() or "the connection was closed"


def _connect(place: str) -> socket.socket:
    if place.startswith("/"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(_TIMEOUT_S)
        try:
            sock.connect(place)
        except OSError:
            sock.close()
            raise
        return sock
    host, _, port = place.rpartition(":")
    return socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=_TIMEOUT_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong, if anything is; answers the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    trouble = probe(given[0] if given else os.environ.get("DISKKV_HEALTHCHECK", "127.0.0.1:6379"))
    if trouble:
        print(f"diskkv is not well: {trouble}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
