"""MULTI queued unknown subcommands, so that EXEC ran the rest of a transaction that Redis discards."""

from __future__ import annotations

from tests.commands.session import Session


def test_unknown_subcommand_fails_the_transaction() -> None:
    Session().check(
        """
        MULTI -> OK
        SET k v -> QUEUED
        OBJECT NOPE k -> ERR unknown subcommand 'NOPE'. Try OBJECT HELP.
        EXEC -> EXECABORT Transaction discarded because of previous errors.
        GET k -> nil
        """
    )
