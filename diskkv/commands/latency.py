"""LATENCY: what made clients wait, and how long commands take."""

from __future__ import annotations

from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import Command, Flag, command
from diskkv.errors import CommandError
from diskkv.resp.reply import EMPTY_ARRAY, array, bulk, integer, map_of, verbatim
from diskkv.services.client import Client
from diskkv.services.latency import Event
from diskkv.services.sparkline import sparkline

_ADMIN = Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE
_NODES = ("nondeterministic_output", "request_policy:all_nodes", "response_policy:special")
_RULE = "-" * 80

_ADVICE = {
    "command": "Look at SLOWLOG GET for the commands that took long; commands that read whole large values, or many "
    "keys that are not cached, wait for the disk.",
    "fast-command": "Commands that do little work were slow: look for an overloaded processor or disk, swapping, or "
    "a virtual machine that does not get its share.",
    "commit": "Writing to LevelDB was slow: look at the disk's load, at INFO leveldb for level-0 tables that pile up, "
    "and at appendfsync, which waits for the disk in every turn when it is `always`.",
    "expire-cycle": "Many keys expired at the same time: spread their times to live.",
    "reclaim": "Space of large deleted values was reclaimed on a slow disk.",
}


@command("LATENCY", arity=-2, flags=Flag(0), group="server", since="2.8.13", complexity="Depends on subcommand.")
def latency(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands about latency."""
    raise unknown_subcommand(argv)


@command("LATENCY HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="server", since="2.8.13", complexity="O(1)")
def latency_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "LATENCY",
        "DOCTOR",
        "    What was slow, and what to do about it.",
        "GRAPH <event>",
        "    The latencies of an event as a graph.",
        "HISTORY <event>",
        "    The latencies of an event with their times.",
        "LATEST",
        "    The newest and the highest latency of every event.",
        "RESET [<event> ...]",
        "    Forget events, all of them by default.",
        "HISTOGRAM [<command> ...]",
        "    How many calls of commands took how long.",
    )


@command("LATENCY LATEST", arity=2, flags=_ADMIN, group="server", since="2.8.13", complexity="O(1)", tips=_NODES)
def latency_latest(client: Client, argv: list[bytes]) -> bytes:
    """Return the newest and the highest latency of every event."""
    rows = []
    for name, event in client.instance.latency.events.items():
        time_s, latency_ms = event.samples[-1]
        rows.append(array([bulk(name.encode()), integer(time_s), integer(latency_ms), integer(event.max_ms)]))
    return array(rows)


@command("LATENCY HISTORY", arity=3, flags=_ADMIN, group="server", since="2.8.13", complexity="O(1)", syntax="event",
         tips=_NODES)  # fmt: skip
def latency_history(client: Client, argv: list[bytes]) -> bytes:
    """Return the latencies of an event with their times."""
    event = client.instance.latency.events.get(argv[2].decode("latin-1"))
    if event is None:
        return EMPTY_ARRAY
    return array([array([integer(time_s), integer(latency_ms)]) for time_s, latency_ms in event.samples])


@command("LATENCY RESET", arity=-2, flags=_ADMIN, group="server", since="2.8.13", complexity="O(1)",
         syntax="[event [event ...]]", tips=("request_policy:all_nodes", "response_policy:agg_sum"))  # fmt: skip
def latency_reset(client: Client, argv: list[bytes]) -> bytes:
    """Forget events, all of them by default."""
    return integer(client.instance.latency.reset([name.decode("latin-1") for name in argv[2:]]))


@command("LATENCY GRAPH", arity=3, flags=_ADMIN, group="server", since="2.8.13", complexity="O(1)", syntax="event",
         tips=_NODES)  # fmt: skip
def latency_graph(client: Client, argv: list[bytes]) -> bytes:
    """Draw the latencies of an event."""
    event = client.instance.latency.events.get(argv[2].decode("latin-1"))
    if event is None:
        raise CommandError(b"ERR No samples available for event '%b'" % argv[2])
    now_s = client.engine.now_ms // 1000
    latencies = [latency_ms for _, latency_ms in event.samples]
    text = (
        f"{argv[2].decode('latin-1')} - high {max(latencies)} ms, low {min(latencies)} ms "
        f"(all time high {event.max_ms} ms)\n{_RULE}\n"
    )
    text += sparkline([(latency_ms, _ago(now_s - time_s)) for time_s, latency_ms in event.samples])
    return verbatim(f"{text}\n\n".encode("latin-1"), client.resp)


def _ago(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


@command("LATENCY DOCTOR", arity=2, flags=_ADMIN, group="server", since="2.8.13", complexity="O(1)", tips=_NODES)
def latency_doctor(client: Client, argv: list[bytes]) -> bytes:
    """Report in words what was slow, and what to do about it."""
    instance = client.instance
    events = instance.latency.events
    if not instance.config.latency_monitor_threshold:
        text = (
            "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> switches it on: it then "
            "records everything that takes at least that long.\n"
        )
    elif not events:
        text = "Nothing took longer than the threshold so far.\n"
    else:
        now_s = client.engine.now_ms // 1000
        spikes = "".join(f"{number}. {_diagnosis(*item, now_s)}\n" for number, item in enumerate(events.items(), 1))
        advice = "".join(f"- {_ADVICE[name]}\n" for name in events if name in _ADVICE)
        text = f"Latency spikes were observed:\n\n{spikes}\nAdvice:\n\n{advice}"
    return verbatim(text.encode(), client.resp)


def _diagnosis(name: str, event: Event, now_s: int) -> str:
    return (
        f"{name}: {len(event.samples)} latency spikes (average {event.average_ms}ms, mean deviation "
        f"{event.deviation_ms}ms, period {event.period_s(now_s):.2f} sec). Worst all time event {event.max_ms}ms."
    )


@command("LATENCY HISTOGRAM", arity=-2, flags=_ADMIN, group="server", since="7.0.0",
         complexity="O(N) where N is the number of commands with latency information being retrieved.",
         syntax="[command [command ...]]", tips=_NODES)  # fmt: skip
def latency_histogram(client: Client, argv: list[bytes]) -> bytes:
    """Tell how many calls of commands took how long."""
    table = client.instance.commands
    entries: list[Command] = []
    for name in argv[2:]:
        container, bar, sub = name.decode("latin-1").lower().partition("|")
        entry = table.get(container)
        if entry is not None:
            found = entry.subcommands.get(sub) if bar else entry
            entries += [found, *found.subcommands.values()] if found is not None else []
    if len(argv) == 2:
        entries = [each for entry in table.values() for each in (entry, *entry.subcommands.values())]
    pairs = [(bulk(entry.name.encode()), _histogram(entry, client.resp)) for entry in entries if entry.calls]
    return map_of(pairs, client.resp)


def _histogram(entry: Command, resp: int) -> bytes:
    counts = [(integer(limit_us), integer(calls)) for limit_us, calls in entry.durations.cumulative()]
    fields = [(bulk(b"calls"), integer(entry.calls)), (bulk(b"histogram_usec"), map_of(counts, resp))]
    return map_of(fields, resp)
