"""A few commands on whole keys that every group's machine mixes in: deletion, expiry, renaming, wrong types."""

from __future__ import annotations

from tests.harness.grammar import (
    FAR_MILLISECONDS,
    FAR_UNIX_MILLISECONDS,
    PAST_UNIX,
    command,
    key,
    maybe,
    one_of_bytes,
    register,
)

KEY = key()

register("base", command("DEL", KEY), name="DEL")
register("base", command("SET", KEY, "plain"), name="SET")
register("base", command("PEXPIRE", KEY, one_of_bytes(*FAR_MILLISECONDS)), name="PEXPIRE")
register("base", command("PEXPIREAT", KEY, one_of_bytes(*FAR_UNIX_MILLISECONDS, *PAST_UNIX)), name="PEXPIREAT")
register("base", command("RENAME", KEY, KEY), name="RENAME")
register("base", command("COPY", KEY, KEY, maybe("REPLACE")), name="COPY")
register("base", command("TYPE", KEY), name="TYPE")
