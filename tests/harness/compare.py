"""Which replies of two servers count as the same.

Replies are compared exactly, type and text, except for the commands in `PERMITTED`: each entry names a rule and the
reason why the two servers may differ there. A rule never excuses an error on one side only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.harness.wire import ErrorReply, Map, Reply, SetReply

Argv = Sequence[bytes]
Same = Callable[[Argv, Reply, Reply], bool]

# Both servers read their own clock when they turn a relative TTL into a time; a loaded machine delays one of them.
CLOCK_TOLERANCE_MS = 10_000


def _sorted(items: Sequence[Reply]) -> list[Reply]:
    return sorted(items, key=repr)


def same_shape(_: Argv, left: Reply, right: Reply) -> bool:
    """Both are of the same wire type; what is inside is not looked at."""
    return type(left) is type(right)


def same_unordered(_: Argv, left: Reply, right: Reply) -> bool:
    """The same elements in any order, in the same kind of container."""
    if isinstance(left, list) and isinstance(right, list):
        return _sorted(left) == _sorted(right)
    if isinstance(left, SetReply) and isinstance(right, SetReply):
        return _sorted(left.members) == _sorted(right.members)
    return bool(left == right)


def same_unordered_pairs(_: Argv, left: Reply, right: Reply) -> bool:
    """The same pairs in any order: a flat array in RESP2, a map in RESP3."""
    if isinstance(left, Map) and isinstance(right, Map):
        return _sorted(left.pairs) == _sorted(right.pairs)
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return _sorted(_flat_pairs(left)) == _sorted(_flat_pairs(right))
    return bool(left == right)


def _flat_pairs(items: list[Reply]) -> list[tuple[Reply, Reply]]:
    return list(zip(items[::2], items[1::2], strict=False))


def same_length(_: Argv, left: Reply, right: Reply) -> bool:
    """The same kind of reply, and as many elements."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right)
    return type(left) is type(right)


def same_scan_shape(_: Argv, left: Reply, right: Reply) -> bool:
    """Both are [cursor, elements]; the elements are compared over a whole iteration elsewhere."""

    def is_page(reply: Reply) -> bool:
        return isinstance(reply, list) and len(reply) == 2 and reply[0].isdigit() and isinstance(reply[1], list)

    return is_page(left) and is_page(right)


def _near(tolerance: int) -> Same:
    """Positive numbers at most `tolerance` apart; the negative ones and zero have a meaning and must be equal."""

    def same(argv: Argv, left: Reply, right: Reply) -> bool:
        if isinstance(left, list) and isinstance(right, list):
            return len(left) == len(right) and all(same(argv, a, b) for a, b in zip(left, right, strict=True))
        if isinstance(left, int) and isinstance(right, int) and left > 0 and right > 0:
            return abs(left - right) <= tolerance
        return bool(left == right)

    return same


same_milliseconds = _near(CLOCK_TOLERANCE_MS)
same_seconds = _near(CLOCK_TOLERANCE_MS // 1000)


def _same_map_without(*excused: bytes) -> Same:
    """Maps with the same keys in the same order, and the same values but for the excused keys."""

    def pairs(reply: Reply) -> list[tuple[Reply, Reply]] | None:
        if isinstance(reply, Map):
            found = reply.pairs
        elif isinstance(reply, list):
            found = _flat_pairs(reply)
        else:
            return None
        return [(key, type(value) if key in excused else value) for key, value in found]

    def same(_: Argv, left: Reply, right: Reply) -> bool:
        if type(left) is not type(right):
            return False
        if pairs(left) is None:
            return bool(left == right)
        return pairs(left) == pairs(right)

    return same


_TIMES = frozenset({b"idle", b"inactive", b"seen-time", b"active-time"})
_RADIX_TREE = frozenset({b"radix-tree-keys", b"radix-tree-nodes"})


def without_times(reply: Reply) -> Reply:
    """The reply of XINFO with the values of bookkeeping times taken out at any depth; -1 means never and stays."""
    if isinstance(reply, Map):
        return Map([(name, _without_time(name, value)) for name, value in reply.pairs])
    if isinstance(reply, list):
        return [_without_time(reply[at - 1] if at % 2 else None, item) for at, item in enumerate(reply)]
    return reply


def _without_time(name: Reply, value: Reply) -> Reply:
    if not isinstance(name, bytes):
        return without_times(value)
    if name in _TIMES:
        return value == -1
    if name == b"pending" and isinstance(value, list):
        # [id, consumer, time, deliveries] of a group, [id, time, deliveries] of a consumer.
        return [[*row[:-2], row[-1]] for row in value]
    return None if name in _RADIX_TREE else without_times(value)


def same_but_times(_: Argv, left: Reply, right: Reply) -> bool:
    """Equal when stream bookkeeping times are left out."""
    return bool(without_times(left) == without_times(right))


def same_pending(_: Argv, left: Reply, right: Reply) -> bool:
    """XPENDING's extended rows [id, consumer, idle, deliveries], idle left out."""

    def rows(reply: Reply) -> Reply:
        if isinstance(reply, list) and reply and all(isinstance(row, list) and len(row) == 4 for row in reply):
            return [[row[0], row[1], row[3]] for row in reply]
        return reply

    return bool(rows(left) == rows(right))


def deep_unordered(reply: Reply) -> Reply:
    """The reply with every set and array of it, at any depth, in a fixed order."""
    if isinstance(reply, SetReply):
        return SetReply(_sorted([deep_unordered(member) for member in reply.members]))
    if isinstance(reply, list):
        return _sorted([deep_unordered(item) for item in reply])
    if isinstance(reply, Map):
        return Map(_sorted([(key, deep_unordered(value)) for key, value in reply.pairs]))
    return reply


def same_deep_unordered(_: Argv, left: Reply, right: Reply) -> bool:
    """Equal when the order of everything inside is left out."""
    return bool(deep_unordered(left) == deep_unordered(right))


def same_encoding(_: Argv, left: Reply, right: Reply) -> bool:
    """Equal, or one of the two differences between strings that are permitted, in this direction only."""
    return bool(left == right) or (left, right) in ((b"embstr", b"raw"), (b"int", b"embstr"))


@dataclass(frozen=True)
class Permitted:
    """A permitted difference: for these commands (or "COMMAND SUBCOMMAND"), this rule, for this reason."""

    commands: str
    same: Same
    reason: str


PERMITTED = (
    Permitted(
        "KEYS SMEMBERS SINTER SUNION SDIFF HKEYS HVALS PUBSUB|CHANNELS COMMAND|LIST ACL|CAT COMMAND|GETKEYS",
        same_unordered,
        "hash order is not part of the contract",
    ),
    Permitted("COMMAND|INFO COMMAND|GETKEYSANDFLAGS", same_deep_unordered, "flags and subcommands are sets"),
    Permitted("FUNCTION|LIST", same_deep_unordered, "hash order is not part of the contract"),
    Permitted("HGETALL CONFIG|GET", same_unordered_pairs, "hash order is not part of the contract"),
    Permitted("RANDOMKEY SRANDMEMBER HRANDFIELD ZRANDMEMBER", same_length, "random by definition"),
    Permitted("SCAN HSCAN SSCAN ZSCAN", same_scan_shape, "cursors and page sizes are the server's own"),
    Permitted("PTTL PEXPIRETIME HPTTL HPEXPIRETIME", same_milliseconds, "two clocks"),
    Permitted("TTL EXPIRETIME HTTL HEXPIRETIME", same_seconds, "two clocks"),
    Permitted("TIME LASTSAVE", same_shape, "two clocks"),
    Permitted("DUMP", same_shape, "the RDB version and compression may differ; payloads are restored crosswise"),
    Permitted(
        "OBJECT|ENCODING",
        same_encoding,
        "Redis 8.2 makes a string raw when it and its key have more than 41 bytes, up to 7.4 when it has more than 44; "
        "until the next load, Redis remembers that a whole number comes from INCRBYFLOAT and has it as embstr",
    ),
    Permitted("OBJECT|IDLETIME", same_seconds, "two clocks"),
    Permitted("OBJECT|REFCOUNT OBJECT|FREQ", same_shape, "object sharing and LFU noise are internal"),
    Permitted("MEMORY|USAGE MEMORY|STATS MEMORY|DOCTOR MEMORY|MALLOC-STATS", same_shape, "other memory layout"),
    Permitted("INFO CLIENT|LIST CLIENT|INFO CLIENT|ID LOLWUT DEBUG|OBJECT", same_shape, "describes this server"),
    Permitted("SLOWLOG|GET SLOWLOG|LEN LATENCY|DOCTOR LATENCY|LATEST LATENCY|GRAPH", same_shape, "timing"),
    Permitted("LATENCY|HISTOGRAM COMMAND|DOCS COMMAND COMMAND|COUNT", same_shape, "other set of commands"),
    Permitted("WAITAOF", same_shape, "counts a local log, which the reference runs without"),
    Permitted("OBJECT|HELP CLIENT|HELP CONFIG|HELP MEMORY|HELP XINFO|HELP", same_shape, "help is in our own words"),
    Permitted("HELLO", _same_map_without(b"version", b"id", b"modules"), "names this server and connection"),
    Permitted("XPENDING", same_pending, "idle time is measured by two clocks"),
    Permitted("XINFO|STREAM XINFO|GROUPS XINFO|CONSUMERS", same_but_times, "times, and the reference's radix tree"),
)

_RULES: dict[bytes, Same] = {
    name.replace("|", " ").encode(): entry.same for entry in PERMITTED for name in entry.commands.split()
}


def rule_for(argv: Argv) -> Same | None:
    """The rule of the permitted difference for this command, if there is one."""
    name = argv[0].upper() if argv else b""
    if len(argv) > 1 and (rule := _RULES.get(name + b" " + argv[1].upper())):
        return rule
    return _RULES.get(name)


def same_reply(argv: Argv, left: Reply, right: Reply) -> bool:
    """Whether two replies to the same command count as the same."""
    if left == right:
        return True
    rule = rule_for(argv)
    if rule is None or isinstance(left, ErrorReply) or isinstance(right, ErrorReply):
        return False
    return rule(argv, left, right)


def explain(argv: Argv, subject: Reply, reference: Reply) -> str:
    """A message for a failed comparison that can be pasted into a bug report."""
    return f"command:   {show(argv)}\nreference: {shorten(reference)}\nsubject:   {shorten(subject)}"


def show(argv: Argv) -> str:
    """A command as one readable line."""
    words = []
    for argument in argv:
        shown = repr(argument)[2:-1] if len(argument) <= 80 else f"{argument[:40]!r}... ({len(argument)} bytes)"
        words.append(f'"{shown}"' if not shown or " " in shown else shown)
    return " ".join(words)


def shorten(reply: Reply) -> str:
    """A reply's repr, cut to a screenful."""
    text = repr(reply)
    return text if len(text) <= 2000 else f"{text[:1000]} ...({len(text)} characters)... {text[-500:]}"
