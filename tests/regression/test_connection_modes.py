"""Answers differed from Redis' where MONITOR, CLIENT REPLY, RESET, SSUBSCRIBE and transactions met."""

from __future__ import annotations

import pytest

from tests.harness import servers
from tests.harness.raw import assert_same_exchange
from tests.harness.servers import ServerProcess
from tests.harness.wire import Simple

EXCHANGES = {
    "reset after reply skip is skipped": b"CLIENT REPLY SKIP\r\nRESET\r\nPING\r\n",
    "reply off in exec": b"MULTI\r\nPING\r\nCLIENT REPLY OFF\r\nPING\r\nEXEC\r\nPING\r\nCLIENT REPLY ON\r\n",
    "reply off and on in exec": b"MULTI\r\nCLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\nPING x\r\nEXEC\r\nPING\r\n",
    "reply on in exec": b"MULTI\r\nPING\r\nCLIENT REPLY ON\r\nPING\r\nCLIENT REPLY OFF\r\nEXEC\r\nCLIENT REPLY ON\r\n",
    "reply on in a silent exec": b"CLIENT REPLY OFF\r\nMULTI\r\nCLIENT REPLY ON\r\nPING\r\nEXEC\r\nPING\r\n",
    "reply skip in exec": b"MULTI\r\nPING\r\nCLIENT REPLY SKIP\r\nPING\r\nEXEC\r\nPING a\r\nPING b\r\n",
    "reply skip before exec": b"MULTI\r\nPING\r\nCLIENT REPLY BOGUS\r\nEXEC\r\nPING\r\n",
    "ssubscribe in exec": b"MULTI\r\nSSUBSCRIBE s\r\nSUBSCRIBE c\r\nEXEC\r\nUNSUBSCRIBE c\r\n",
    "a monitor may not publish": b"MONITOR\r\nPUBLISH a b\r\nEVAL 'return 1' 0\r\nEVAL_RO 'return 1' 0\r\nRESET\r\n",
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_exchange(name: str) -> None:
    assert_same_exchange(servers.subject(), servers.reference(), EXCHANGES[name])


def lines_of_a_monitor(server: ServerProcess, before: bytes, *commands: tuple[str, ...]) -> list[bytes]:
    """What a monitor that sends `before` sees of the commands of another client, up to ECHO end."""
    with server.connect() as monitor, server.connect() as client:
        assert monitor.call("MONITOR") == Simple(b"OK")
        monitor.send_raw(before)
        for command in commands:
            client.call(*command)
        client.call("ECHO", "end")
        lines: list[bytes] = []
        while not lines or not lines[-1].endswith(b'"ECHO" "end"'):
            reply = monitor.read_any()
            assert isinstance(reply, Simple)
            lines.append(reply.text.partition(b" [")[2].replace(server.socket_path.encode(), b""))
        return lines


@pytest.mark.parametrize(
    ("before", "commands"),
    [
        pytest.param(b"", [("EVAL", "return redis.call('SELECT', '1')", "0")], id="database after SELECT in a script"),
        pytest.param(b"", [("EXEC", "x")], id="refused EXEC"),
        pytest.param(b"CLIENT REPLY OFF\r\nCLIENT REPLY ON\r\n", [], id="nothing while replies are off"),
        pytest.param(b"CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\n", [], id="nothing while replies are skipped"),
    ],
)
def test_a_monitor_sees_what_the_reference_shows(before: bytes, commands: list[tuple[str, ...]]) -> None:
    mine, theirs = (
        lines_of_a_monitor(server, before, *commands) for server in (servers.subject(), servers.reference())
    )
    assert mine == theirs
