"""INCR and its relatives, INCRBYFLOAT: limits and what counts as a number."""

from __future__ import annotations

import pytest

from tests.commands.session import Session

NOT_AN_INTEGER = "ERR value is not an integer or out of range"
NOT_A_FLOAT = "ERR value is not a valid float"
OVERFLOW = "ERR increment or decrement would overflow"
NOT_FINITE = "ERR increment would produce NaN or Infinity"


@pytest.fixture
def session() -> Session:
    return Session()


def test_integers(session: Session) -> None:
    session.check(f"""
        INCR a -> 1
        INCR a -> 2
        DECR b -> -1
        INCRBY c 10 -> 10
        DECRBY d 10 -> -10
        INCRBY e 0 -> 0
        GET e -> "0"
        DECRBY e -5 -> 5
        SET k 9223372036854775806 -> OK
        INCR k -> 9223372036854775807
        INCR k -> {OVERFLOW}
        GET k -> "9223372036854775807"
        SET k -9223372036854775808 -> OK
        DECR k -> {OVERFLOW}
        DECRBY k 9223372036854775807 -> {OVERFLOW}
        DECRBY k -9223372036854775808 -> ERR decrement would overflow
        INCRBY k 9223372036854775807 -> -1
        INCRBY k -9223372036854775808 -> {OVERFLOW}
    """)


@pytest.mark.parametrize(
    "text", ["", " 5", "5 ", "05", "+5", "-0", "1.5", "abc", "9223372036854775808", "1_0", "x\\x00"]
)
def test_what_is_no_integer(session: Session, text: str) -> None:
    session.check(f"""
        SET k '{text}' -> OK
        INCR k -> {NOT_AN_INTEGER}
        DECR k -> {NOT_AN_INTEGER}
        INCRBY k 1 -> {NOT_AN_INTEGER}
        INCRBY missing '{text}' -> {NOT_AN_INTEGER}
        DECRBY missing '{text}' -> {NOT_AN_INTEGER}
        GET k -> "{text.encode().decode("unicode_escape").encode("unicode_escape").decode()}"
        GET missing -> nil
    """)


def test_floats(session: Session) -> None:
    session.check(f"""
        INCRBYFLOAT k 0.1 -> "0.1"
        INCRBYFLOAT k 0.2 -> "0.3"
        INCRBYFLOAT k -0.3 -> "0"
        SET k 10.50 -> OK
        INCRBYFLOAT k 0.1 -> "10.6"
        SET k 5.0e3 -> OK
        INCRBYFLOAT k 2.0e2 -> "5200"
        INCRBYFLOAT k 1e17 -> "100000000000005200"
        INCRBYFLOAT k inf -> {NOT_FINITE}
        INCRBYFLOAT k -inf -> {NOT_FINITE}
        INCRBYFLOAT k nan -> {NOT_A_FLOAT}
        INCRBYFLOAT k x -> {NOT_A_FLOAT}
        INCRBYFLOAT k '' -> {NOT_A_FLOAT}
        INCRBYFLOAT k ' 1' -> {NOT_A_FLOAT}
        GET k -> "100000000000005200"
        SET k abc -> OK
        INCRBYFLOAT k 1 -> {NOT_A_FLOAT}
        SET k '' -> OK
        INCRBYFLOAT k 1 -> {NOT_A_FLOAT}
        SET k inf -> OK
        INCRBYFLOAT k 1 -> {NOT_FINITE}
        SET k 1e4932 -> OK
        INCRBYFLOAT k 9e4932 -> {NOT_A_FLOAT}
        INCRBYFLOAT k -> ERR wrong number of arguments for 'incrbyfloat' command
    """)
