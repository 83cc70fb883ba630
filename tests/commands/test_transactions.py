"""MULTI, EXEC and WATCH: what touches a watched key, what aborts, and what is checked again at EXEC."""

from __future__ import annotations

import random

import pytest

from diskkv.commands import dispatch
from diskkv.errors import StorageError
from diskkv.services.client import Client
from tests.commands.session import NOW_MS, Session, show

NOT_RUN = "nil"


class Pair(Session):
    """A session with a second client, `other`."""

    def __init__(self, resp: int = 2) -> None:
        super().__init__(resp)
        self.other = self.instance.new_client()

    def elsewhere(self, line: str) -> str:
        """Run a request on the second client."""
        mine, self.client = self.client, self.other
        try:
            return self.run(line)
        finally:
            self.client = mine

    def exec_ping(self) -> str:
        """MULTI, PING, EXEC."""
        assert self.run("MULTI") == "OK"
        assert self.run("PING") == "QUEUED"
        return self.run("EXEC")


@pytest.fixture
def pair() -> Pair:
    return Pair()


def observed(session: Session) -> bool:
    return any(database.observer is not None for database in session.engine.databases.values())


def test_queued_commands_run_in_order(pair: Pair) -> None:
    pair.check(
        """
        MULTI -> OK
        SET k 5 -> QUEUED
        INCR k -> QUEUED
        HGET k f -> QUEUED
        GET k -> QUEUED
        EXEC -> [OK, 6, WRONGTYPE Operation against a key holding the wrong kind of value, "6"]
        EXEC -> ERR EXEC without MULTI
        DISCARD -> ERR DISCARD without MULTI
        MULTI -> OK
        SET k 7 -> QUEUED
        DISCARD -> OK
        GET k -> "6"
        MULTI -> OK
        EXEC -> []
        """
    )


def test_refused_commands_abort(pair: Pair) -> None:
    aborted = "EXECABORT Transaction discarded because of previous errors."
    pair.check(
        f"""
        MULTI -> OK
        SET k v -> QUEUED
        GET -> ERR wrong number of arguments for 'get' command
        SET k w -> QUEUED
        EXEC -> {aborted}
        EXISTS k -> 0
        MULTI -> OK
        EXEC x -> EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
        EXEC -> ERR EXEC without MULTI
        MULTI -> OK
        MULTI -> ERR MULTI calls can not be nested
        WATCH k -> ERR WATCH inside MULTI is not allowed
        EXEC -> []
        """
    )


@pytest.mark.parametrize(
    "change",
    [
        "SET k w",
        "SET k v",
        "APPEND k x",
        "DEL k",
        "EXPIRE k 100",
        "RENAME k other",
        "COPY other k REPLACE",
        "RENAME other k",
        "MOVE k 1",
        "GETDEL k",
        "FLUSHDB",
        "FLUSHALL",
        "SWAPDB 0 1",
        "SWAPDB 1 0",
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_changes_that_count(pair: Pair, change: str, own: bool) -> None:
    pair.run("SET k v")
    pair.run("SET other o")
    assert pair.run("WATCH k") == "OK"
    (pair.run if own else pair.elsewhere)(change)
    assert pair.exec_ping() == NOT_RUN
    assert pair.exec_ping() == "[PONG]", "the watch is over"
    assert not observed(pair)


@pytest.mark.parametrize(
    "change",
    ["GET k", "SETNX k w", "PERSIST k", "DEL missing", "HSET k f v", "INCR k", "SET other 1", "FLUSHDB x",
     "SWAPDB 1 2", "SETRANGE missing 0 ''"],
)  # fmt: skip
def test_what_changes_nothing_does_not_count(pair: Pair, change: str) -> None:
    pair.run("SET k v")
    pair.run("WATCH k missing")
    pair.elsewhere(change)
    assert pair.exec_ping() == "[PONG]"


def test_flush_of_missing_keys_does_not_count(pair: Pair) -> None:
    pair.run("SET k v")
    pair.run("WATCH missing")
    pair.elsewhere("FLUSHALL")
    assert pair.exec_ping() == "[PONG]"


def test_swap_brings_a_key(pair: Pair) -> None:
    pair.run("WATCH k")
    pair.elsewhere("SELECT 1")
    pair.elsewhere("SET k v")
    assert pair.exec_ping() == "[PONG]", "another database"
    pair.run("WATCH k")
    pair.elsewhere("SWAPDB 0 1")
    assert pair.exec_ping() == NOT_RUN


def test_same_turn_counts(pair: Pair) -> None:
    """A change before WATCH is none, a change after it is one, with no commit between them."""
    for first, second, expected in ((b"SET", b"WATCH", b"*1\r\n+PONG\r\n"), (b"WATCH", b"SET", b"*-1\r\n")):
        pair.engine.begin(NOW_MS)
        for verb in (first, second):
            assert dispatch.execute(pair.client, [verb, b"k"] + ([b"v"] if verb == b"SET" else [])) == b"+OK\r\n"
        for line in ([b"MULTI"], [b"PING"]):
            dispatch.execute(pair.client, line)
        assert dispatch.execute(pair.client, [b"EXEC"]) == expected
        pair.engine.commit()


def test_expiry_after_watch_counts_before_the_sweep(pair: Pair) -> None:
    pair.run("SET k v PX 100")
    pair.run("WATCH k")
    pair.now_ms += 100
    assert pair.exec_ping() == NOT_RUN


def test_expiry_after_watch_counts_after_the_deletion(pair: Pair) -> None:
    pair.run("SET k v PX 100")
    pair.run("WATCH k")
    pair.now_ms += 100
    assert pair.elsewhere("EXISTS k") == "0"
    assert pair.exec_ping() == NOT_RUN


def test_expired_when_watched_is_absent(pair: Pair) -> None:
    """The deletion of a key that was past its time at WATCH is no change, its creation is."""
    pair.run("SET k v PX 100")
    pair.now_ms += 100
    pair.run("WATCH k")
    assert pair.elsewhere("EXISTS k") == "0"
    assert pair.exec_ping() == "[PONG]"
    pair.run("SET k v PX 100")
    pair.now_ms += 100
    pair.run("WATCH k")
    assert pair.exec_ping() == "[PONG]", "not deleted yet"
    pair.run("WATCH k")
    pair.elsewhere("SET k w")
    assert pair.exec_ping() == NOT_RUN


def test_undone_changes_do_not_count(pair: Pair) -> None:
    """A command that fails after it staged something leaves watchers alone, and so does a failed commit."""
    pair.run("SET k v")
    pair.run("WATCH k")
    mark = len(pair.engine.journal)
    pair.database.put(b"k", b"w", b"v")
    assert pair.client.watching.dirty
    pair.engine.rollback(mark)
    assert pair.exec_ping() == "[PONG]"

    pair.run("WATCH k")
    pair.engine.begin(NOW_MS)
    dispatch.execute(pair.other, [b"SET", b"k", b"w"])

    def fail(rows: object, sync: bool = False) -> None:
        raise StorageError("disk full")

    write, pair.engine.store.write = pair.engine.store.write, fail  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        pair.engine.commit()
    pair.engine.store.write = write  # type: ignore[method-assign]
    assert pair.exec_ping() == "[PONG]"
    assert pair.run("GET k") == '"v"'


def test_nobody_observes_after_the_last_watch(pair: Pair) -> None:
    for end in ("UNWATCH", "RESET"):
        pair.run("WATCH a b")
        assert observed(pair)
        pair.run(end)
        assert not observed(pair)
        assert pair.client.watching is None
    pair.run("WATCH a")
    pair.instance.forget_client(pair.client)
    assert not observed(pair)


def test_permissions_are_checked_again(pair: Pair) -> None:
    for line in (
        "ACL SETUSER eve on nopass ~a* &* +@all",
        "AUTH eve x",
        "MULTI",
        "SET a 1",
        "SET ab 2",
        "GET a",
        "PING",
    ):
        pair.run(line)
    pair.elsewhere("ACL SETUSER eve resetkeys ~ab -get")
    reason = (
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command "
        "is no longer allowed for the following reason: "
    )
    assert pair.run("EXEC") == (
        f"[{reason}no permission to touch the specified keys, OK, "
        f"{reason}no permission to execute the command or subcommand, PONG]"
    )
    assert pair.elsewhere("EXISTS a") == "0"
    assert "multi" in pair.elsewhere("ACL LOG 1")


def test_exec_is_refused_while_writes_are(pair: Pair) -> None:
    pair.run("MULTI")
    pair.run("SET k v")
    pair.instance.writes.store_failed("no space left")
    assert pair.run("EXEC").startswith("EXECABORT Transaction discarded because of: MISCONF ")
    assert pair.run("EXISTS k") == "0"
    assert pair.exec_ping() == "[PONG]"
    pair.run("MULTI")
    assert pair.run("SET k v").startswith("MISCONF ")
    assert pair.run("EXEC") == "EXECABORT Transaction discarded because of previous errors."


def test_queue_is_bounded(pair: Pair) -> None:
    pair.instance.config.client_query_buffer_limit = 1 << 20
    pair.run("MULTI")
    for _ in range(4):
        pair.call(b"ECHO", b"x" * (1 << 18))
    assert pair.client.closing
    assert pair.client.transaction is None
    assert pair.instance.stats.input_buffer_limit_disconnections == 1


def test_databases_and_protocols_inside() -> None:
    session = Pair(resp=3)
    session.check(
        """
        MULTI -> OK
        SELECT 1 -> QUEUED
        SET k one -> QUEUED
        GET nosuch -> QUEUED
        EXEC -> [OK, OK, nil]
        GET k -> "one"
        SELECT 0 -> OK
        EXISTS k -> 0
        WATCH k -> OK
        """
    )
    session.elsewhere("SET k v")
    session.run("MULTI")
    assert session.call(b"EXEC") == b"_\r\n"


def test_reset_ends_a_transaction(pair: Pair) -> None:
    pair.check(
        """
        WATCH k -> OK
        MULTI -> OK
        SET k v -> QUEUED
        RESET -> RESET
        EXEC -> ERR EXEC without MULTI
        EXISTS k -> 0
        """
    )


def test_statistics_count_the_inner_commands(pair: Pair) -> None:
    table = pair.instance.commands
    before = {name: table[name].calls for name in ("get", "exec")}
    pair.run("MULTI")
    pair.run("GET k")
    pair.run("GET k")
    pair.run("EXEC")
    assert table["get"].calls == before["get"] + 2
    assert table["exec"].calls == before["exec"] + 1
    assert pair.client.last_command == "exec"


def test_plain_commands_are_fast_again_after_a_transaction(pair: Pair) -> None:
    assert pair.client.fast is pair.instance.fast
    pair.run("MULTI")
    assert pair.client.fast is pair.instance.queueing
    pair.run("EXEC")
    assert pair.client.fast is pair.instance.fast


def test_queueing_on_the_fast_path_and_beside_it(pair: Pair) -> None:
    """Both ways queue the same and refuse the same; guarded states leave the fast path."""
    requests = [[b"MULTI"], [b"SET", b"k", b"v"], [b"gEt", b"k"], [b"get", b"k"], [b"ECHO", b"x"], [b"EXEC"]]
    pair.engine.begin(NOW_MS)
    calls = pair.instance.commands["set"].calls
    assert dispatch.execute_batch(pair.client, requests, 0, 6) == 6
    assert pair.client.out[-1] == b"*4\r\n+OK\r\n$1\r\nv\r\n$1\r\nv\r\n$1\r\nx\r\n"
    assert pair.instance.commands["set"].calls == calls + 1
    pair.client.out.clear()
    dispatch.execute_batch(pair.client, [[b"MULTI"], [b"SET", b"k"], [b"SET", b"k", b"w"], [b"EXEC"]], 0, 4)
    assert pair.client.out[1].startswith(b"-ERR wrong number of arguments")
    assert pair.client.out[3].startswith(b"-EXECABORT")


def test_random_interleavings_agree_with_a_model(pair: Pair) -> None:
    """EXEC runs exactly when no watched key got another value or version since WATCH."""
    chooser = random.Random(5)
    keys = ["a", "b", "c"]
    versions = dict.fromkeys(keys, 0)
    clients: list[Client] = [pair.client, pair.other, pair.instance.new_client()]
    seen: dict[int, dict[str, int]] = {client.id: {} for client in clients}
    for _ in range(600):
        pair.client = client = chooser.choice(clients)
        key = chooser.choice(keys)
        action = chooser.randrange(4)
        if action == 0:
            pair.run(f"WATCH {key}")
            seen[client.id].setdefault(key, versions[key])
        elif action == 1:
            pair.run(f"APPEND {key} x")
            versions[key] += 1
        elif action == 2:
            versions[key] += pair.run(f"DEL {key}") == "1"
        else:
            expected = all(versions[name] == version for name, version in seen[client.id].items())
            pair.run("MULTI")
            pair.run(f"APPEND {key} y")
            assert (show(pair.call(b"EXEC")) != NOT_RUN) == expected
            versions[key] += expected
            seen[client.id].clear()
