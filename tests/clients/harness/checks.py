"""The checks that every program makes, in the order in which they are worth reading."""

from __future__ import annotations

CHECKS = (
    "connect",
    "auth",
    "wrong password error",
    "select database isolation",
    "strings",
    "counters",
    "binary-safe keys and values",
    "hashes",
    "lists",
    "sets",
    "sorted sets",
    "expiry",
    "pipeline of 10,000 commands",
    "MULTI/EXEC",
    "WATCH conflict",
    "publish/subscribe message",
    "publish/subscribe pattern",
    "blocking pop queue between two processes",
    "blocking pop timeout",
    "EVAL",
    "EVALSHA/NOSCRIPT",
    "SCAN loop",
    "streams with consumer group",
    "RESP3",
    "errors",
    "reconnect after restart",
)
