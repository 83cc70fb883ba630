"""Secrets in arguments."""

from __future__ import annotations

import pytest

from diskkv.services.redaction import shown_arguments

CASES = {
    "AUTH pw": "AUTH (redacted)",
    "auth user pw": "auth (redacted) (redacted)",
    "HELLO 3 AUTH u p SETNAME n": "HELLO 3 AUTH (redacted) (redacted) SETNAME n",
    "hello 3 setname auth auth u p": "hello 3 setname auth auth (redacted) (redacted)",
    "HELLO 3": "HELLO 3",
    "MIGRATE h 1 k 0 10 COPY AUTH pw": "MIGRATE h 1 k 0 10 COPY AUTH (redacted)",
    "MIGRATE h 1 k 0 10 AUTH2 u p KEYS a": "MIGRATE h 1 k 0 10 AUTH2 (redacted) (redacted) KEYS a",
    "CONFIG SET timeout 1 requirepass pw": "CONFIG SET timeout 1 requirepass (redacted)",
    "config set MASTERAUTH pw": "config set MASTERAUTH (redacted)",
    "CONFIG GET requirepass": "CONFIG GET requirepass",
    "CONFIG SET requirepass": "CONFIG SET requirepass",
    "ACL SETUSER u >pw": "ACL SETUSER (redacted) (redacted)",
    "ACL WHOAMI": "ACL WHOAMI",
    "ACL": "ACL",
    "SET AUTH pw": "SET AUTH pw",
}


@pytest.mark.parametrize("request_line", CASES)
def test_secrets_are_hidden(request_line: str) -> None:
    argv = request_line.encode().split()
    before = list(argv)
    assert b" ".join(shown_arguments(argv)).decode() == CASES[request_line]
    assert argv == before
