"""A hypothesis state machine that drives two servers with the same commands and compares all that can be seen.

The subject is stopped and killed now and then; the reference keeps running. `DifferentialMachine` is subclassed with
the groups whose commands it draws; authors of a command group only register strategies (see `grammar`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.harness import grammar, servers
from tests.harness.compare import explain, same_reply, show
from tests.harness.grammar import Argv, ArgvStrategy
from tests.harness.integrity import assert_sound
from tests.harness.snapshot import assert_payloads_cross, assert_same_content
from tests.harness.wire import ErrorReply, NullArray, NullBulk, Push, Reply, Simple, Wire, WireClosed, is_nil

CONNECTIONS = 3
DATABASES = range(4)


def scaled(examples: int) -> int:
    """A number of examples times `DISKKV_TEST_EXAMPLES` (a factor, 1 by default; at least 1 comes out)."""
    return max(1, int(examples * float(os.environ.get("DISKKV_TEST_EXAMPLES", "1"))))


def machine_settings(examples: int = 12, steps: int = 40) -> settings:
    """Settings for a state machine: `examples` runs of `steps` rules, scaled by `DISKKV_TEST_EXAMPLES`."""
    return settings(max_examples=scaled(examples), stateful_step_count=steps)


def supports(wire: Wire, name: str) -> bool:
    """Whether the server knows a command."""
    reply = wire.call("COMMAND", "INFO", name)
    assert isinstance(reply, list), f"COMMAND INFO is needed to tell which commands there are: {reply!r}"
    return not is_nil(reply[0])


class Pair:
    """The same connection to both servers, with what is needed to compare the replies of a transaction."""

    def __init__(self, subject: servers.ServerProcess, reference: servers.ServerProcess) -> None:
        self._servers = (subject, reference)
        self.protocol = 2
        self.queued: list[Argv] | None = None
        self.agrees = True
        self.subject = subject.connect()
        self.reference = reference.connect()

    def close(self) -> None:
        """Close both connections."""
        self.subject.close()
        self.reference.close()

    def reopen(self) -> None:
        """New connections to both servers in the same protocol; database, transaction and watches start anew."""
        self.close()
        self.subject, self.reference = (server.connect() for server in self._servers)
        self.queued = None
        if self.protocol != 2:
            self.switch(self.protocol)

    def switch(self, protocol: int) -> None:
        """HELLO on both."""
        self.run([b"HELLO", b"%d" % protocol])
        if self.queued is None:
            self.protocol = protocol

    def run(self, argv: Argv) -> Reply:
        """Send one command to both servers; the replies must be the same. Returns the reference's."""
        return self.run_all([argv])[0]

    def run_all(self, commands: Sequence[Argv]) -> list[Reply]:
        """Send the commands to both servers in one write each, and compare reply by reply."""
        self.agrees = False
        theirs = self.reference.pipeline(commands)
        try:
            mine = self.subject.pipeline(commands)
        except WireClosed as error:
            log = self._servers[0].log_tail()
            sent = "\n".join(map(show, commands))
            raise AssertionError(
                f"the subject closed the connection ({error}) after:\n{sent}\nits log:\n{log}"
            ) from error
        for argv, left, right in zip(commands, mine, theirs, strict=True):
            self._compare(argv, left, right)
        self.agrees = True
        return theirs

    def _compare(self, argv: Argv, subject: Reply, reference: Reply) -> None:
        name = argv[0].upper()
        if name == b"EXEC" and self.queued is not None and isinstance(subject, list) and isinstance(reference, list):
            assert len(subject) == len(reference) == len(self.queued), explain(argv, subject, reference)
            for inner, left, right in zip(self.queued, subject, reference, strict=True):
                assert same_reply(inner, left, right), "inside EXEC:\n" + explain(inner, left, right)
        else:
            assert same_reply(argv, subject, reference), explain(argv, subject, reference)
        self._track_transaction(name, argv, reference)

    def _track_transaction(self, name: bytes, argv: Argv, reply: Reply) -> None:
        if self.queued is None:
            if name == b"MULTI" and reply == Simple(b"OK"):
                self.queued = []
        elif reply == Simple(b"QUEUED"):
            self.queued.append(list(argv))
        elif name in (b"EXEC", b"DISCARD", b"RESET", b"QUIT") and len(argv) == 1:
            self.queued = None
        if name == b"RESET" and reply == Simple(b"RESET"):
            self.protocol = 2

    def assert_same_pushes(self) -> None:
        """Both connections got the same out-of-band data in the same order."""
        deadline = time.monotonic() + 10
        while len(self.subject.pushes) < len(self.reference.pushes) and time.monotonic() < deadline:
            self.subject.call("PING")
        while len(self.reference.pushes) < len(self.subject.pushes) and time.monotonic() < deadline:
            self.reference.call("PING")
        mine, theirs = self.subject.pushes, self.reference.pushes
        assert mine == theirs, f"pushes: subject {mine}, reference {theirs}"
        self.subject.pushes, self.reference.pushes = [], []


class DifferentialMachine(RuleBasedStateMachine):
    """Random commands of some groups on both servers, over several connections, with restarts of the subject."""

    groups: ClassVar[Sequence[str]] = ()
    subject_options: ClassVar[Sequence[str]] = ()
    reference_options: ClassVar[Sequence[str]] = ()
    expiring_keys: ClassVar[Sequence[bytes]] = (b"s1", b"s2", b"x")
    most_restarts: ClassVar[int] = 1
    _strategies: ClassVar[dict[str, ArgvStrategy]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.subject = servers.subject(self.subject_options)
        self.reference = servers.reference(self.reference_options)
        self.restarts = 0
        self.pairs: list[Pair] = []
        self.steps = 0

    @classmethod
    def any_command(cls) -> ArgvStrategy:
        """A strategy for one command of the groups that the subject has."""
        name = cls.__qualname__
        if name not in cls._strategies:
            with servers.subject(cls.subject_options).connect() as wire:
                known = [
                    strategy
                    for command, strategies in grammar.registered(cls.groups).items()
                    for strategy in strategies
                    if supports(wire, command)
                ]
            assert known, f"the subject has no command of {cls.groups}"
            cls._strategies[name] = grammar.sloppy(st.one_of(known))
        return cls._strategies[name]

    @initialize()
    def begin(self) -> None:
        """Both servers empty, fresh connections, one of them in RESP3."""
        for server in (self.subject, self.reference):
            with server.connect() as wire:
                for cleaning in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH")):
                    if supports(wire, cleaning[0]):
                        assert wire.call(*cleaning) == Simple(b"OK"), cleaning
        self.pairs = [Pair(self.subject, self.reference) for _ in range(CONNECTIONS)]
        self.pairs[1].switch(3)

    _command = st.runner().flatmap(lambda machine: machine.any_command())

    def run(self, connection: int, argv: Argv) -> None:
        """One command on one connection of both servers."""
        pair = self.pairs[connection]
        if argv[0].upper() == b"SPOP":
            self._run_spop(pair, argv)
        else:
            pair.run(argv)
        self.steps += 1

    @rule(connection=st.integers(0, CONNECTIONS - 1), argv=_command)
    def run_command(self, connection: int, argv: Argv) -> None:
        """One command."""
        self.run(connection, argv)

    @rule(connection=st.integers(0, CONNECTIONS - 1), first=_command, second=_command, third=_command)
    def run_three(self, connection: int, first: Argv, second: Argv, third: Argv) -> None:
        """Three commands, one after the other."""
        for argv in (first, second, third):
            self.run(connection, argv)

    @rule(connection=st.integers(0, CONNECTIONS - 1), commands=st.lists(_command, min_size=2, max_size=8))
    def run_pipeline(self, connection: int, commands: list[Argv]) -> None:
        """Several commands in one write."""
        self.pairs[connection].run_all([argv for argv in commands if argv[0].upper() != b"SPOP"])
        self.steps += 1

    def _run_spop(self, pair: Pair, argv: Argv) -> None:
        """SPOP's choice is random: the subject chooses, and the reference removes the same members."""
        if pair.queued is not None:
            return
        mine = pair.subject.call(*argv)
        removed = _members(mine)
        if not removed:
            theirs = pair.reference.call(*argv)
            assert mine == theirs, explain(argv, mine, theirs)
            return
        before = pair.reference.call("SCARD", argv[1])
        wanted = min(before, int(argv[2])) if len(argv) > 2 else 1
        assert len(set(removed)) == len(removed) == wanted, explain(argv, mine, before)
        gone = pair.reference.call("SREM", argv[1], *removed)
        assert gone == len(removed), f"{show(argv)} returned {removed}, but the reference has only {gone} of them"

    @rule(connection=st.integers(0, CONNECTIONS - 1), protocol=st.sampled_from([2, 3]))
    def switch_protocol(self, connection: int, protocol: int) -> None:
        """HELLO 2 or 3."""
        self.pairs[connection].switch(protocol)

    @rule(connection=st.integers(0, CONNECTIONS - 1))
    def reconnect(self, connection: int) -> None:
        """Drop a connection with all its state."""
        self.pairs[connection].reopen()

    @rule(connection=st.integers(0, CONNECTIONS - 1), number=st.integers(0, 10))
    def let_expire(self, connection: int, number: int) -> None:
        """Give a key a TTL that ends in a moment, and wait until both servers see it gone."""
        pair = self.pairs[connection]
        if pair.queued is not None:
            return
        key = self.expiring_keys[number % len(self.expiring_keys)]
        at_ms = int(time.time() * 1000) + 25
        # The two servers may be reached on different sides of the instant, so the reply is not compared.
        for wire in (pair.subject, pair.reference):
            wire.call("PEXPIREAT", key, at_ms)
        wait_until_past(at_ms)
        pair.run([b"EXISTS", key])
        pair.run([b"TYPE", key])

    @precondition(lambda self: self.restarts < self.most_restarts and self.steps > 4)
    @rule(kill=st.booleans())
    def restart_subject(self, kill: bool) -> None:
        """Stop (or kill -9) the subject and start it again: everything acknowledged is still there, and sound."""
        self.restarts += 1
        if kill:
            self.subject.kill()
        else:
            self.subject.stop_cleanly()
        assert_sound(self.subject)
        self.subject.start()
        for pair in self.pairs:
            pair.reopen()
        self._forget_scripts()
        self.compare_content()

    def _forget_scripts(self) -> None:
        """The script cache is volatile by contract: a restart may lose it on the subject only."""
        for server in (self.subject, self.reference):
            with server.connect() as wire:
                if supports(wire, "SCRIPT"):
                    assert wire.call("SCRIPT", "FLUSH") == Simple(b"OK")

    def compare_content(self) -> None:
        """The full content of both servers, in both protocols."""
        for protocol in (2, 3):
            with self.subject.connect() as mine, self.reference.connect() as theirs:
                for wire in (mine, theirs):
                    wire.hello(protocol)
                exact = self.subject.flavour.keeps_encoding or not self.restarts
                assert_same_content(mine, theirs, DATABASES, compare_encoding=exact)

    def cross_payloads(self) -> None:
        """DUMP of every key of database 0 restores on the other server."""
        with self.subject.connect() as mine, self.reference.connect() as theirs:
            if supports(mine, "DUMP"):
                assert_payloads_cross(mine, theirs, sorted(theirs.call("KEYS", "*")))

    def teardown(self) -> None:
        """The final comparison, and the check of what is on disk."""
        try:
            # After a failed rule the two servers differ already; a second failure would hide the first.
            if all(pair.agrees for pair in self.pairs) and self.pairs and self.subject.is_running():
                for pair in self.pairs:
                    pair.assert_same_pushes()
                self.compare_content()
                self.cross_payloads()
                assert_sound(self.subject)
        finally:
            for pair in self.pairs:
                pair.close()
            if not self.subject.is_running():
                servers.POOL.discard(self.subject)


def _members(reply: Reply) -> list[bytes]:
    if isinstance(reply, bytes):
        return [reply]
    if isinstance(reply, ErrorReply | Push | NullBulk | NullArray) or is_nil(reply):
        return []
    members = reply if isinstance(reply, list) else reply.members
    return list(members)


def wait_until_past(at_ms: int) -> None:
    """Return once the wall clock is past a time in ms since the epoch; for times at most a second away."""
    remaining_ms = at_ms - time.time() * 1000
    assert remaining_ms < 1000, "would wait for more than a second"
    while time.time() * 1000 <= at_ms + 1:
        time.sleep(0.002)
