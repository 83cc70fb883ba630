"""All groups together while every read that misses the cache is left to threads, with the cache off, tiny and large."""

from __future__ import annotations

from tests.differential import strategies
from tests.differential.groups import declared
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies

_SMALL_COLLECTIONS = (
    *("--hash-max-listpack-entries", "3", "--set-max-listpack-entries", "3", "--zset-max-listpack-entries", "3"),
    *("--list-max-listpack-size", "3", "--set-max-intset-entries", "3"),
)


class CacheOff(DifferentialMachine):
    groups = ("base", *sorted(declared()))
    subject_options = ("--cold-reads", "always", "--cache-size", "0", *_SMALL_COLLECTIONS)
    reference_options = _SMALL_COLLECTIONS
    most_restarts = 2


class CacheTiny(CacheOff):
    subject_options = ("--cold-reads", "always", "--cache-size", "2kb", *_SMALL_COLLECTIONS)


class CacheLarge(CacheOff):
    subject_options = ("--cold-reads", "always", "--cold-read-threads", "2", *_SMALL_COLLECTIONS)


TestCacheOff = CacheOff.TestCase
TestCacheOff.settings = machine_settings(examples=8, steps=50)
TestCacheTiny = CacheTiny.TestCase
TestCacheTiny.settings = machine_settings(examples=5, steps=50)
TestCacheLarge = CacheLarge.TestCase
TestCacheLarge.settings = machine_settings(examples=4, steps=50)
