"""Client side caching: who is told what, when, and that nobody keeps what has changed."""

from __future__ import annotations

import random

import pytest

from diskkv.commands import dispatch
from diskkv.resp import reply
from diskkv.services.client import Client
from tests.commands.session import NOW_MS, Session


class Server:
    """An instance whose clients run requests; every request is a turn of its own unless `turn` is used."""

    def __init__(self, table_max_keys: int = 1000) -> None:
        session = Session()
        self.instance = session.instance
        self.engine = session.engine
        self.now_ms = NOW_MS
        self.instance.config.tracking_table_max_keys = table_max_keys

    def client(self, resp: int = 3, *setup: str) -> Client:
        client = self.instance.new_client()
        client.use_resp(resp)
        for line in setup:
            self.run(client, line)
        client.out.clear()
        return client

    def run(self, client: Client, line: str) -> None:
        self.turn((client, line))

    def turn(self, *requests: tuple[Client, str]) -> None:
        """Several requests in one turn, on whatever path the clients are."""
        self.engine.begin(self.now_ms)
        for client, line in requests:
            dispatch.execute_batch(client, [line.encode().split()], 0, 1)
        if self.instance.tracking.clients:
            self.instance.tracking.finish_turn()
        self.engine.commit()
        self.instance.woken.clear()

    def gauge(self, name: str) -> int:
        return self.instance.gauges["tracking_total_" + name]()


@pytest.fixture
def server() -> Server:
    return Server()


def taken(client: Client) -> bytes:
    data = b"".join(client.out)
    client.out.clear()
    return data


def invalidate(*keys: bytes) -> bytes:
    return b">2\r\n$10\r\ninvalidate\r\n" + reply.bulks(keys)


FORGET_ALL = b">2\r\n$10\r\ninvalidate\r\n_\r\n"


def test_changed_keys_are_told_once(server: Server) -> None:
    reader = server.client(3, "CLIENT TRACKING ON", "MGET a b")
    writer = server.client()
    server.run(writer, "SET a 1")
    assert taken(reader) == invalidate(b"a")
    server.run(writer, "SET a 2")
    assert taken(reader) == b""
    server.run(writer, "DEL b")
    assert taken(reader) == b"", "there was nothing to delete"
    server.run(writer, "HSET b f v")
    assert taken(reader) == invalidate(b"b")
    assert (server.gauge("keys"), server.gauge("items")) == (0, 0)


def test_own_changes_follow_the_reply(server: Server) -> None:
    client = server.client(3, "CLIENT TRACKING ON", "MGET a b")
    server.turn((client, "SET a 1"), (client, "GET x"))
    assert taken(client) == b"+OK\r\n" + invalidate(b"a") + b"_\r\n"
    for line in ("MULTI", "SET b 1", "SET b 2", "GET b", "EXEC"):
        server.run(client, line)
    assert taken(client).endswith(b"*3\r\n+OK\r\n+OK\r\n$1\r\n2\r\n" + invalidate(b"b"))
    server.run(client, "SET b 3")
    assert taken(client) == b"+OK\r\n" + invalidate(b"b"), "it was read again behind the change"
    server.run(client, "SET b 4")
    assert taken(client) == b"+OK\r\n"


def test_a_change_and_a_read_in_one_turn(server: Server) -> None:
    """The message about a change stands before the reply of a read that came after it."""
    reader = server.client(3, "CLIENT TRACKING ON", "GET a")
    writer = server.client()
    assert writer.fast
    server.turn((writer, "SET a 1"), (reader, "GET a"), (writer, "SET a 2"))
    assert taken(reader) == invalidate(b"a") + b"$1\r\n1\r\n" + invalidate(b"a")


def test_noloop(server: Server) -> None:
    client = server.client(3, "CLIENT TRACKING ON NOLOOP", "MGET a b c")
    other = server.client()
    server.run(client, "SET a 1")
    assert taken(client) == b"+OK\r\n"
    server.run(other, "SET b 1")
    assert taken(client) == invalidate(b"b")
    server.turn((other, "SET c 1"), (client, "SET c 2"))
    assert taken(client) == invalidate(b"c") + b"+OK\r\n", "another one changed it too"


def test_broadcast(server: Server) -> None:
    client = server.client(3, "CLIENT TRACKING ON BCAST PREFIX u: PREFIX g:")
    quiet = server.client(3, "CLIENT TRACKING ON BCAST PREFIX u: NOLOOP")
    everything = server.client(3, "CLIENT TRACKING ON BCAST")
    assert server.gauge("prefixes") == 3
    server.run(quiet, "MSET u:2 x u:1 x g:1 x other x")
    assert taken(quiet) == b"+OK\r\n"
    assert taken(client) == invalidate(b"g:1") + invalidate(b"u:1", b"u:2")
    assert taken(everything) == invalidate(b"g:1", b"other", b"u:1", b"u:2")
    server.turn((client, "SET u:1 y"), (quiet, "SET u:1 z"), (quiet, "SET u:3 z"))
    assert taken(quiet) == b"+OK\r\n+OK\r\n" + invalidate(b"u:1")
    assert taken(client) == b"+OK\r\n" + invalidate(b"u:1", b"u:3")
    for gone in (client, quiet, everything):
        server.run(gone, "CLIENT TRACKING OFF")
    assert server.gauge("prefixes") == 0
    assert all(database.observer is None for database in server.engine.databases.values())


def test_optin_and_optout(server: Server) -> None:
    writer = server.client()
    opt_in = server.client(3, "CLIENT TRACKING ON OPTIN", "GET a", "CLIENT CACHING YES", "CLIENT ID", "GET b", "GET c")
    opt_out = server.client(3, "CLIENT TRACKING ON OPTOUT", "GET a", "CLIENT CACHING NO", "GET b", "GET c")
    server.run(writer, "MSET a 1 b 1 c 1")
    assert taken(opt_in) == invalidate(b"b")
    assert taken(opt_out) == invalidate(b"a") + invalidate(b"c")
    for line in ("CLIENT CACHING YES", "MULTI", "GET a", "GET b", "EXEC", "GET c"):
        server.run(opt_in, line)
    opt_in.out.clear()
    server.run(writer, "MSET c 2 b 2 a 2")
    assert taken(opt_in) == invalidate(b"b") + invalidate(b"a")


def test_redirect(server: Server) -> None:
    writer = server.client()
    listener = server.client(2, "SUBSCRIBE __redis__:invalidate")
    newer = server.client(3)
    for target, expected in (
        (listener, b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\na\r\n"),
        (newer, invalidate(b"a")),
    ):
        reader = server.client(2, f"CLIENT TRACKING ON REDIRECT {target.id}", "GET a")
        server.run(writer, "SET a 1")
        assert (taken(reader), taken(target)) == (b"", expected)
        server.run(reader, "CLIENT GETREDIR")
        assert taken(reader) == b":%d\r\n" % target.id
        server.run(reader, "CLIENT TRACKING OFF")
    reader = server.client(3, f"CLIENT TRACKING ON REDIRECT {listener.id}", "GET a")
    server.run(writer, "FLUSHALL")
    assert taken(listener) == b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n"
    server.run(reader, "GET a")
    server.instance.forget_client(listener)
    reader.out.clear()
    server.run(writer, "SET a 2")
    assert taken(reader) == b">2\r\n$21\r\ntracking-redir-broken\r\n:%d\r\n" % listener.id
    server.run(reader, "CLIENT TRACKINGINFO")
    assert b"broken_redirect" in taken(reader)


def test_flush_tells_everybody_once(server: Server) -> None:
    reader = server.client(3, "CLIENT TRACKING ON", "GET a")
    caster = server.client(3, "CLIENT TRACKING ON BCAST PREFIX x NOLOOP")
    writer = server.client(3, "SELECT 1", "SET k v", "SELECT 0")
    for line in ("FLUSHALL", "FLUSHDB"):
        server.run(reader, "GET a")
        reader.out.clear()
        server.run(writer, line)
        assert taken(reader) == taken(caster) == FORGET_ALL
        assert server.gauge("keys") == 0
    server.run(caster, "FLUSHDB")
    assert taken(caster) == b"+OK\r\n" + FORGET_ALL


def test_expiry_and_other_databases(server: Server) -> None:
    writer = server.client(3, "SET a 1 PX 10")
    reader = server.client(3, "CLIENT TRACKING ON", "GET a")
    server.now_ms += 10
    server.engine.begin(server.now_ms)
    server.instance.tick(False)
    server.turn()
    assert taken(reader) == invalidate(b"a")
    server.run(reader, "GET a")
    reader.out.clear()
    server.run(writer, "SELECT 9")
    assert 9 in server.engine.databases
    server.run(writer, "SET a other")
    assert taken(reader) == invalidate(b"a"), "the table knows names, whatever the database"


def test_table_is_bounded() -> None:
    server = Server(table_max_keys=10)
    reader = server.client(3, "CLIENT TRACKING ON")
    for number in range(40):
        server.run(reader, f"GET k{number}")
        assert server.gauge("keys") == server.gauge("items") <= 10
    messages = taken(reader)
    for number in range(30):
        assert invalidate(b"k%d" % number) in messages
    server.run(reader, "MGET " + " ".join(f"m{number}" for number in range(50)))
    assert server.gauge("keys") <= 10


def test_readers_that_are_gone_take_no_room(server: Server) -> None:
    """A key that never changes does not gather the ids of all clients there ever were."""
    steady = server.client(3, "CLIENT TRACKING ON", "GET hot")
    for _ in range(50):
        fleeting = server.client(3, "CLIENT TRACKING ON", "GET hot")
        server.instance.forget_client(fleeting)
    assert server.gauge("items") < 10
    server.run(server.client(), "SET hot 1")
    assert taken(steady) == invalidate(b"hot")


def test_undone_changes_are_not_told(server: Server) -> None:
    reader = server.client(3, "CLIENT TRACKING ON", "GET a")
    caster = server.client(3, "CLIENT TRACKING ON BCAST")
    mark = len(server.engine.journal)
    reader.db.put(b"a", b"v", None)
    server.engine.rollback(mark)
    server.turn()
    assert taken(reader) == taken(caster) == b""
    assert server.gauge("keys") == 1


def test_failed_turn_makes_everybody_forget(server: Server) -> None:
    """Messages of the turn are dropped with it, and with them the clients' places in the table."""
    reader = server.client(3, "CLIENT TRACKING ON", "MGET a b")
    writer = server.client()
    server.engine.begin(server.now_ms)
    dispatch.execute_batch(writer, [[b"SET", b"a", b"1"]], 0, 1)
    server.instance.tracking.finish_turn()
    reader.out.clear()
    server.engine.rollback(0)
    server.instance.tracking.turn_failed()
    assert taken(reader) == FORGET_ALL
    assert server.gauge("keys") == 0
    server.run(writer, "SET b 1")
    assert taken(reader) == b""


def test_tracking_clients_leave_the_fast_path_and_come_back(server: Server) -> None:
    client = server.client()
    assert client.fast
    for end in ("CLIENT TRACKING OFF", "RESET"):
        server.run(client, "CLIENT TRACKING ON")
        assert not client.fast
        server.run(client, end)
        assert client.fast and client.tracking is None
    assert not server.instance.tracking.clients


def test_pubsub_arguments_and_scripts_are_no_reads(server: Server) -> None:
    client = server.client(3, "CLIENT TRACKING ON", "SPUBLISH ch m", "EXISTS seen", "SET written 1")
    assert server.gauge("keys") == 1
    server.run(client, "CLIENT TRACKINGINFO")
    assert taken(client) == (b"%3\r\n$5\r\nflags\r\n~1\r\n$2\r\non\r\n$8\r\nredirect\r\n:0\r\n$8\r\nprefixes\r\n*0\r\n")


@pytest.mark.parametrize("seed", range(4))
def test_no_cache_is_ever_stale(seed: int) -> None:
    """Clients that cache all they read, and drop what they are told to, never hold another value than the server."""
    chooser = random.Random(seed)
    server = Server(table_max_keys=3)
    modes = ("", "NOLOOP", "OPTOUT", "BCAST")
    caching = [server.client(3, f"CLIENT TRACKING ON {mode}") for mode in modes]
    caches: dict[int, dict[bytes, bytes]] = {client.id: {} for client in caching}
    plain = server.client()
    keys = [b"k%d" % number for number in range(6)]
    for step in range(400):
        server.engine.begin(server.now_ms)
        for _ in range(chooser.randrange(1, 5)):
            client = chooser.choice([*caching, plain])
            key = chooser.choice(keys)
            action = chooser.choice(
                (b"GET", b"GET", b"SET", b"DEL", b"INCR", b"FLUSHALL" if step % 50 == 0 else b"GET")
            )
            argv = {b"SET": [action, key, b"%d" % step], b"FLUSHALL": [action]}.get(action, [action, key])
            dispatch.execute_batch(client, [argv], 0, 1)
            if client is plain:
                continue
            cache = caches[client.id]
            *messages, answer = client.out
            client.out.clear()
            value, push, pushed = answer.partition(b">")
            _apply(cache, messages)
            if action == b"GET":
                cache[key] = value
            else:
                cache.pop(key, None)
            _apply(cache, [push + pushed])
        server.turn()
        for client in caching:
            cache = caches[client.id]
            _apply(cache, client.out)
            client.out.clear()
            for key, value in cache.items():
                stored = client.db.get(key)
                assert value == (b"_\r\n" if stored is None else reply.bulk(stored)), (step, key)  # type: ignore[arg-type]
        plain.out.clear()


def _apply(cache: dict[bytes, bytes], messages: list[bytes]) -> None:
    for message in b"".join(messages).split(b">2\r\n$10\r\ninvalidate\r\n")[1:]:
        if message == b"_\r\n" or message.startswith(b"_"):
            cache.clear()
        else:
            for key in message.split(b"\r\n")[2::2]:
                cache.pop(key, None)
