"""The transactions group; the machine interleaves it over several connections with other groups' commands."""

from __future__ import annotations

from tests.harness.grammar import command, key, many, register

KEY = key()

register("transactions", command("MULTI"), name="MULTI", weight=2)
register("transactions", command("EXEC"), name="EXEC", weight=3)
register("transactions", command("DISCARD"), name="DISCARD")
register("transactions", command("WATCH", many(KEY, 1, 3)), name="WATCH", weight=2)
register("transactions", command("UNWATCH"), name="UNWATCH")
register("transactions", command("RESET"), name="RESET")
