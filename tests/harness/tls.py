"""A real server that listens with TLS, and ways to connect to it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

import redis

from tests.harness.certificates import Authority
from tests.harness.servers import AddressTaken, Flavour, ServerDied, ServerProcess, subject_flavour


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class TlsServer:
    """A server with `tls-port` and certificates of an authority of its own (server and client)."""

    def __init__(self, authority: Authority, *options: str, flavour: Flavour | None = None) -> None:
        self.authority = authority
        authority.issue("server")
        authority.issue("client")
        directory = authority.directory
        files = ("--tls-cert-file", f"{directory}/server.crt", "--tls-key-file", f"{directory}/server.key")
        for attempt in range(5):
            self.port = free_port()
            listening = ("--tls-port", str(self.port), "--tls-ca-cert-file", str(authority.ca_file))
            self.process = ServerProcess(flavour or subject_flavour(), (*listening, *files, *options))
            try:
                self.process.start()
            except ServerDied as exc:
                self.process.close()
                if attempt == 4 or not (isinstance(exc, AddressTaken) or "in use" in str(exc)):
                    raise
            else:
                return

    def context(self, with_certificate: bool = True) -> ssl.SSLContext:
        """A client's context that trusts the authority."""
        context = ssl.create_default_context(cafile=str(self.authority.ca_file))
        if with_certificate:
            directory = self.authority.directory
            context.load_cert_chain(directory / "client.crt", directory / "client.key")
        return context

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A new TLS connection; reads give up after 30 s."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return (context or self.context()).wrap_socket(plain, server_hostname="localhost")

    @contextlib.contextmanager
    def client(self, **options: object) -> Iterator[redis.Redis]:
        """redis-py over TLS with the client's certificate."""
        directory = self.authority.directory
        client = redis.Redis(
            host="localhost",
            port=self.port,
            ssl=True,
            ssl_ca_certs=str(self.authority.ca_file),
            ssl_certfile=f"{directory}/client.crt",
            ssl_keyfile=f"{directory}/client.key",
            **options,  # type: ignore[arg-type]
        )
        try:
            yield client
        finally:
            client.close()

    def cli_options(self) -> list[str]:
        """What redis-cli needs to connect."""
        directory = self.authority.directory
        files = ("--cacert", str(self.authority.ca_file), "--cert", f"{directory}/client.crt")
        return ["-h", "localhost", "-p", str(self.port), "--tls", *files, "--key", f"{directory}/client.key"]

    def close(self) -> None:
        """End the server."""
        self.process.close()
