"""Work beside the turns: the sync of every second, idle clients, compactions, recovery."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import trio

from diskkv.errors import StorageError
from diskkv.server.migrate import Migrator
from diskkv.server.reactor import Reactor

log = logging.getLogger(__name__)

_SYNC_INTERVAL_S = 1.0
_CRON_INTERVAL_S = 0.1
_RETRY_INTERVAL_S = 1.0
_MIGRATIONS = 16
"""So many MIGRATEs talk to other servers at the same time; more wait."""


async def run_background(reactor: Reactor) -> None:
    """Run every background task until cancelled."""
    async with trio.open_nursery() as nursery:

        def run_beside(work: Callable[[], None], finish: Callable[[], None]) -> None:
            nursery.start_soon(_run_beside, reactor, work, finish)

        reactor.instance.saves.run_beside = run_beside
        migrations = reactor.instance.migrations
        migrations.perform = Migrator().perform
        limiter = trio.CapacityLimiter(_MIGRATIONS)
        migrations.run_beside = lambda work, finish: nursery.start_soon(_migrate, reactor, limiter, work, finish)
        nursery.start_soon(_sync_every_second, reactor)
        nursery.start_soon(_cron, reactor)
        nursery.start_soon(_retry_writes, reactor)


async def _run_beside(reactor: Reactor, work: Callable[[], None], finish: Callable[[], None]) -> None:
    """Do blocking work in a thread, then finish it between two turns."""
    # At the end of the process it is waited for: the store must not be closed under it.
    await trio.to_thread.run_sync(work)
    finish()
    reactor.wake_up()


async def _migrate(
    reactor: Reactor, limiter: trio.CapacityLimiter, work: Callable[[], None], finish: Callable[[], None]
) -> None:
    """Talk to another server in a thread, then finish it between two turns. Not waited for when the process ends."""
    await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
    finish()
    reactor.wake_up()


async def _sync_every_second(reactor: Reactor) -> None:
    """appendfsync everysec: what was acknowledged more than about a second ago is on stable storage."""
    engine = reactor.engine
    synced = 0
    while True:
        await trio.sleep(_SYNC_INTERVAL_S)
        if reactor.instance.config.appendfsync != "everysec" or engine.commits == synced:
            continue
        commits = engine.commits
        try:
            await trio.to_thread.run_sync(engine.store.sync)
        except StorageError as exc:
            log.error("cannot sync: %s", exc)
            reactor.instance.writes.store_failed(str(exc))
            continue
        synced = commits


async def _cron(reactor: Reactor) -> None:
    """Idle connections, those that do not read their replies, samples of the command rate: ten times a second."""
    instance = reactor.instance
    while True:
        await trio.sleep(_CRON_INTERVAL_S)
        instance.sample_stats(time.monotonic())
        instance.writes.check_space()
        instance.saves.check_interval()
        reactor.heartbeat()
        instance.compactions.poll()
        instance.memory_budget.poll()
        instance.disk_limit.poll()
        instance.parking.tick()
        reactor.wake_listeners()
        now_ms = time.time_ns() // 1_000_000
        instance.replication.tick(now_ms)
        over_limit = [
            connection
            for connection in reactor.connections.values()
            if connection.over_soft_limit_since_ms and not connection.is_within_limits(now_ms)
        ]
        for connection in over_limit:
            reactor.drop(connection)
        limit_s = instance.config.timeout
        if limit_s:
            idle = [
                connection
                for connection in reactor.connections.values()
                if now_ms - connection.active_ms > limit_s * 1000
                and not connection.subscriptions
                and not connection.is_monitor
                and connection.kind != "replica"
                and connection.blocked is None
            ]
            for connection in idle:
                reactor.drop(connection)


async def _retry_writes(reactor: Reactor) -> None:
    """While writes are refused, look whether the store takes them again."""
    instance = reactor.instance
    while True:
        await trio.sleep(_RETRY_INTERVAL_S)
        if instance.writes.failed is not None and not instance.compactions.in_store:
            instance.writes.try_again()
            if instance.writes.failed is None:
                log.info("writes work again")
