"""TLS against the real server: redis-cli, redis-py and plain TLS sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from tests.harness.certificates import Authority
from tests.harness.servers import ServerDied, ServerProcess, subject_flavour, system_redis
from tests.harness.tls import TlsServer, free_port
from tests.harness.wire import ErrorReply, Simple


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    made = TlsServer(Authority(tmp_path_factory.mktemp("tls")))
    yield made
    made.close()


def call(connection: ssl.SSLSocket, request: bytes) -> bytes:
    """Send, and receive what comes first."""
    connection.sendall(request)
    return connection.recv(1 << 16)


def test_redis_cli(server: TlsServer) -> None:
    command = ["redis-cli", *server.cli_options()]
    done = subprocess.run([*command, "SET", "cli", "over tls"], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"OK\n"
    done = subprocess.run([*command, "GET", "cli"], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"over tls\n"


def test_redis_cli_takes_a_copy(server: TlsServer, tmp_path: Path) -> None:
    with server.client() as client:
        client.set("copied", "x" * 100_000)
    path = tmp_path / "dump.rdb"
    command = ["redis-cli", *server.cli_options(), "--rdb", str(path)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert path.read_bytes().startswith(b"REDIS")
    assert b"copied" in path.read_bytes()


def test_redis_cli_pipes_much(server: TlsServer) -> None:
    """Mass insertion: requests and replies of several megabytes in both directions at once."""
    requests = b"".join(b"SET pipe:%d %b\r\n" % (number, b"x" * 200) for number in range(20_000))
    command = ["redis-cli", *server.cli_options(), "--pipe"]
    done = subprocess.run(command, input=requests, capture_output=True, timeout=60, check=True)
    assert b"errors: 0, replies: 20000" in done.stdout


def test_redis_py_pipelines_big_values_and_blocking(server: TlsServer) -> None:
    with server.client() as client:
        value = os.urandom(5_000_000)
        assert client.set("big", value)
        assert client.get("big") == value
        pipe = client.pipeline(transaction=False)
        for number in range(5000):
            pipe.rpush("list", number)
        assert pipe.execute()[-1] == 5000
        assert client.lrange("list", 0, -1) == [b"%d" % number for number in range(5000)]
        waiting = threading.Timer(0.05, lambda: client.lpush("queue", "job"))
        waiting.start()
        with server.client() as worker:
            assert worker.blpop(["queue"], timeout=20) == (b"queue", b"job")
        waiting.join()


def test_subscriptions(server: TlsServer) -> None:
    with server.client(protocol=3) as client, client.pubsub() as subscriber:
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=20)["type"] == "subscribe"
        client.publish("news", "x" * 100_000)
        assert subscriber.get_message(timeout=20)["data"] == b"x" * 100_000


def test_a_slow_reader_gets_everything(server: TlsServer) -> None:
    """Far more than the socket's buffers hold is asked for before anything is read."""
    with server.client() as client, server.connect() as connection:
        value = os.urandom(300_000)
        client.set("slow", value)
        wanted = b"$300000\r\n" + value + b"\r\n"
        connection.sendall(b"GET slow\r\n" * 40)
        assert client.ping()
        received = bytearray()
        while len(received) < 40 * len(wanted):
            data = connection.recv(1 << 16)
            assert data
            received += data
        assert received == wanted * 40


def test_plain_connections_beside_it(server: TlsServer) -> None:
    with server.process.connect() as wire, server.connect() as connection:
        assert wire.call("SET", "shared", "1") == Simple(b"OK")
        assert call(connection, b"INCR shared\r\n") == b":2\r\n"
        clients = wire.call("CLIENT", "LIST").decode()
        assert f"laddr=127.0.0.1:{server.port} " in clients
        listeners = [line for line in wire.call("INFO", "server").decode().splitlines() if line.startswith("listener")]
        assert f"listener2:name=tls,bind=127.0.0.1,port={server.port}" in listeners


def test_a_client_without_certificate_is_refused(server: TlsServer) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)), server.connect(server.context(False)) as connection:
        # With TLS 1.3 the client hears of it with the first read.
        assert call(connection, b"PING\r\n") == b""
        raise ConnectionError
    with pytest.raises(ssl.SSLError), server.connect(ssl.create_default_context()):
        pass


def test_plain_text_on_the_tls_port(server: TlsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain:
        plain.sendall(b"PING\r\n")
        received = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := plain.recv(100):
                received += data
        # At most an alert of TLS, never a reply.
        assert b"PONG" not in received
        assert len(received) <= 7
    with server.client() as client:
        assert client.ping()


def test_unfinished_handshakes_hold_up_nobody(server: TlsServer) -> None:
    with contextlib.ExitStack() as stack:
        for sent in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"):
            for _ in range(20):
                silent = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
                silent.sendall(sent)
        with server.client() as client, server.process.connect() as wire:
            assert client.ping()
            assert wire.call("PING") == Simple(b"PONG")


def test_many_handshakes_at_once(server: TlsServer) -> None:
    def visit(number: int) -> bytes:
        with server.connect() as connection:
            return call(connection, b"ECHO %d\r\n" % number)

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(visit, range(60)))
    assert replies == [b"$%d\r\n%d\r\n" % (len(str(number)), number) for number in range(60)]


def test_sessions_are_resumed(server: TlsServer) -> None:
    context = server.context()
    with server.connect(context) as first:
        assert call(first, b"PING\r\n") == b"+PONG\r\n"
        session = first.session
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as second,
    ):
        assert call(second, b"PING\r\n") == b"+PONG\r\n"
        assert second.session_reused


def serial_number(server: TlsServer) -> object:
    with server.connect() as connection:
        return connection.getpeercert()["serialNumber"]


def test_certificates_are_renewed_without_restart(server: TlsServer) -> None:
    """Setting the file's name again is enough; connections that are open go on; what is wrong changes nothing."""
    path = server.authority.directory / "server.crt"
    with server.connect() as existing, server.process.connect() as wire:
        before = serial_number(server)
        server.authority.issue("server")
        assert serial_number(server) == before
        assert wire.call("CONFIG", "SET", "tls-cert-file", str(path)) == Simple(b"OK")
        renewed = serial_number(server)
        assert renewed != before
        assert call(existing, b"PING\r\n") == b"+PONG\r\n"
        refused = wire.call("CONFIG", "SET", "tls-cert-file", "/nonexistent")
        assert refused == ErrorReply(
            b"ERR CONFIG SET failed (possibly related to argument 'tls-cert-file') - Unable to update TLS "
            b"configuration. Check server logs."
        )
        assert wire.call("CONFIG", "GET", "tls-cert-file") == [b"tls-cert-file", str(path).encode()]
        assert serial_number(server) == renewed


def test_who_must_show_a_certificate_is_changed_live(server: TlsServer) -> None:
    with server.process.connect() as wire:
        for mode in ("optional", "no"):
            assert wire.call("CONFIG", "SET", "tls-auth-clients", mode) == Simple(b"OK")
            with server.connect(server.context(False)) as connection:
                assert call(connection, b"PING\r\n") == b"+PONG\r\n"
        assert wire.call("CONFIG", "SET", "tls-auth-clients", "yes") == Simple(b"OK")


def test_the_port_is_opened_and_closed_live(server: TlsServer) -> None:
    """TLS beside a plain port, on another port, and on the port that was the plain one."""
    with server.process.connect() as wire:
        port = free_port()
        assert wire.call("CONFIG", "SET", "tls-port", "0", "port", str(port)) == Simple(b"OK")
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        with redis.Redis(port=port) as plain:
            assert plain.ping()
        assert wire.call("CONFIG", "SET", "tls-port", str(port), "port", "0") == Simple(b"OK")
        original, server.port = server.port, port
        with server.client() as client:
            assert client.ping()
        assert wire.call("CONFIG", "SET", "tls-port", str(original)) == Simple(b"OK")
        server.port = original
        with server.client() as client:
            assert client.ping()


def test_the_same_replies_as_redis(server: TlsServer) -> None:
    """CONFIG SET of everything about TLS, right and wrong, beside the redis-server on PATH."""
    requests = [
        ("tls-cert-file", "/nonexistent"), ("tls-key-file", "/nonexistent"), ("tls-ca-cert-file", ""),
        ("tls-ca-cert-file", "/nonexistent"), ("tls-ca-cert-dir", "/nonexistent"), ("tls-protocols", "bad"),
        ("tls-protocols", "TLSv1.2"), ("tls-protocols", ""), ("tls-ciphers", "bad"), ("tls-ciphersuites", "bad"),
        ("tls-ciphersuites", "TLS_AES_128_GCM_SHA256"), ("tls-ciphersuites", ""), ("tls-auth-clients", "maybe"),
        ("tls-auth-clients", "optional"), ("tls-auth-clients", "yes"), ("tls-prefer-server-ciphers", "yes"),
        ("tls-prefer-server-ciphers", "no"), ("tls-session-caching", "no"), ("tls-session-caching", "yes"),
        ("tls-session-cache-size", "5000"), ("tls-session-cache-size", "-1"), ("tls-session-cache-timeout", "60"),
        ("tls-dh-params-file", "/nonexistent"), ("tls-port", "70000"),
        ("tls-cert-file", "/nonexistent", "timeout", "9"),
    ]  # fmt: skip
    reference = TlsServer(server.authority, flavour=system_redis())
    with contextlib.closing(reference), server.process.connect() as ours, reference.process.connect() as theirs:
        for request in requests:
            assert ours.call("CONFIG", "SET", *request) == theirs.call("CONFIG", "SET", *request), request
            shown = [wire.call("CONFIG", "GET", request[0]) for wire in (ours, theirs)]
            assert shown[0] == shown[1] or request[0] == "tls-port", request
        assert ours.call("CONFIG", "GET", "timeout") == [b"timeout", b"0"]
        with server.client() as client, reference.client() as other:
            assert client.ping() and other.ping()


def test_maxclients_counts_them(server: TlsServer) -> None:
    with server.process.connect() as wire, server.connect():
        assert wire.call("CONFIG", "SET", "maxclients", "2") == Simple(b"OK")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            server.connect()
        assert wire.call("CONFIG", "SET", "maxclients", "1000") == Simple(b"OK")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no tls-cert-file configured"),
        (("--tls-cert-file", "/nonexistent", "--tls-auth-clients", "no"), "cannot load tls-cert-file /nonexistent"),
    ],
)
def test_what_is_missing_is_said_at_the_start(options: tuple[str, ...], message: str) -> None:
    process = ServerProcess(subject_flavour(), ("--tls-port", str(free_port()), *options))
    with contextlib.closing(process), pytest.raises(ServerDied) as raised:
        process.start()
    assert message in str(raised.value)
    assert "Traceback" not in str(raised.value)
