"""Random transactions on both servers over several connections, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies


class Transactions(DifferentialMachine):
    groups = ("transactions", "string", "base")


class TransactionsOfAllKinds(DifferentialMachine):
    """WATCH against everything that can touch a key: expiry, renaming, other databases, blocking commands."""

    groups = ("transactions", "generic", "list", "hash", "pubsub")


TestTransactions = Transactions.TestCase
TestTransactions.settings = machine_settings()
TestTransactionsOfAllKinds = TransactionsOfAllKinds.TestCase
TestTransactionsOfAllKinds.settings = machine_settings()
