"""Random argument vectors for every command: drawn from the syntax that the command declares, then spoilt.

A vector is drawn along the tree that COMMAND DOCS shows, so that it gets past the first checks most of the time; values
are extreme more often than not. Everything follows from the `random.Random` that is passed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from random import Random

from diskkv.codec.crc64 import crc64
from diskkv.commands.registry import Command
from diskkv.commands.syntax import Argument, parse_syntax

Argv = list[bytes]

KINDS = ("string", "list", "set", "sorted-set", "hash", "stream")
"""The kinds of keys; the arena fills `<kind>:<n>` with values of the kind, large ones where n is 2."""
_KIND_OF_GROUP = {"bitmap": "string", "hyperloglog": "hyperloglog", "geo": "geo"}

INTEGERS = [
    *b"0 1 -1 2 3 -2 5 7 10 -10 63 64 100 255 256 1000 16383 16384 65535 65536".split(),
    *(b"%d" % (2**bits + more) for bits in (31, 32, 53, 62, 63, 64) for more in (-1, 0, 1)),
    *(b"%d" % (-(2**bits) + more) for bits in (31, 32, 53, 62, 63, 64) for more in (-1, 0, 1)),
    *(b"4294967295", b"4294967296", b"4611686018427387904", b"-4611686018427387905", b"9223372036854775806"),
    *(b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"0x10", b"1e3", b"x", b"1\x00", b"-", b"9" * 40, b"1_000"),
    *("٣".encode(), b"\xc2\xb2", b"1\n"),
]
FLOATS = [
    *(b"0", b"1", b"-1", b"0.5", b"-0.0", b"1.5", b"3.0e10", b"1e308", b"-1e308", b"1e309", b"5e-324", b"1e-400"),
    *(b"inf", b"-inf", b"+inf", b"nan", b"-nan", b"infinity", b"INF", b"0x1p3", b"0x10", b"1e", b".", b"-.5", b"5."),
    *(b"180", b"-180", b"85.05112878", b"86", b"90", b"181", b"1e15", b"179769313486231570000", b" 1", b"1 ", b"1_0"),
    *(b"9007199254740993", b"0." + b"1" * 300, b"1" * 400, b"(1", b"(inf", b"1,5", b"", b"abc", b"1\x00"),
]
TEXTS = [
    *(b"", b"\x00", b"\xff", b"\xff\xfe\x00", b"\r\n", b"x" * 64, b"x" * 65, b"*1\r\n$4\r\nPING\r\n", b"-ERR x\r\n"),
    *b"a v 0 1 -1 abc * ? [ \\ field:1 member:1 m1 m2 nan inf { {} %s%n % ' $ > + - =".split(),
    *("é\u2028\U0001f4a9".encode(), b"\xed\xa0\x80"),
]
PATTERNS = [
    *(b"*", b"?*", b"", b"[", b"[^", b"[]", b"[a-", b"[z-a]", b"\\", b"*" * 50, b"a*" * 30 + b"b", b"*a" * 40),
    *(b"[^a]*", b"[^a]" * 300, b"?*" * 600, b"*" + b"a?" * 700),
    *(b"string:*", b"*:1", b"*->field:1", b"hash:*->*", b"#", b"*->", b"nosort", b"string:[12]", b"(a+)+$", b"?" * 60),
]
STREAM_IDS = [
    *(b"*", b"0-0", b"0-1", b"0", b"1", b"1-1", b"1-*", b"$", b">", b"+", b"-", b"(1", b"(-", b"(+", b"(0-0", b"5-1"),
    *(b"18446744073709551615", b"18446744073709551615-18446744073709551615", b"18446744073709551616", b"1-", b"-1"),
    *(b"18446744073709551615-*", b"(18446744073709551615-18446744073709551615", b"1-1-1", b"a-b"),
    b"1-18446744073709551616",
]
LEX_BOUNDS = [b"-", b"+", b"[a", b"(a", b"[", b"(", b"a", b"", b"[\xff", b"(\x00", b"[member:1", b"(member:3"]
ENCODINGS = b"u1 u8 i8 u63 i64 u64 i65 u0 i0 u-1 i x8 u08 I8 i1".split()
BIT_OFFSETS = b"#0 #1 #-1 #9223372036854775807 # ##1 4294967295 4294967296 34359738367".split()
SCRIPTS = [
    b"return 1",
    b"return redis.call('GET', KEYS[1])",
    b"return redis.call(unpack(ARGV))",
    b"return redis.pcall(unpack(ARGV))",
    b"return {1, {2, {3, 'x'}}, false, redis.error_reply('E x'), 1.5}",
    b"redis.setresp(3) return redis.call('HGETALL', KEYS[1])",
    b"return string.rep('x', 1000)",
    b"error('no')",
    b"error({})",
    b"return cjson.decode(ARGV[1])",
    b"return cmsgpack.unpack(ARGV[1])",
    b"return struct.unpack(ARGV[1], ARGV[2])",
    b"return bit.tohex(ARGV[1], ARGV[2])",
    b"#!lua\nreturn 1",
    b"#!lua flags=no-writes\nreturn redis.call('SET', 'x', 1)",
    b"#!lua flags=nope\nreturn 1",
    b"\x1bLua",
    b"return",
    b"return redis.call()",
    b"return {double=1}, {map={a=1}}",
    b"return setmetatable({}, {__index=function() error('x') end})",
]
LIBRARIES = [
    b"#!lua name=lib1\nredis.register_function('f1', function(keys, args) return redis.call(unpack(args)) end)",
    b"#!lua name=lib2\n"
    b"redis.register_function{function_name='f2', callback=function() return 1 end, flags={'no-writes'}}",
    b"#!lua name=lib3\nredis.call('SET', 'x', 1)",
    b"#!lua name=lib4\nwhile",
    b"#!lua\nreturn 1",
    b"#!js name=x\n1",
]
INTROSPECTED = [
    *(b"maxmemory", b"*", b"hash-max-listpack-entries", b"save", b"slowlog-max-len", b"notify-keyspace-events"),
    *(b"client-output-buffer-limit", b"lua-time-limit", b"stream-node-max-entries", b"set-max-intset-entries"),
]
DEBUG = b"HELP OBJECT SDSLEN DIGEST DIGEST-VALUE PROTOCOL RELOAD LOG ERROR SET-ACTIVE-EXPIRE LISTPACK".split()
ACL_RULES = [
    *b"on off nopass >secret <secret ~* %R~a* %W~ &* +@all -@all +get -config|set +config|nope +@nope".split(),
    *b"+select|1 ( ) clearselectors reset resetkeys resetchannels resetpass allkeys allcommands".split(),
    *b"# % + - @ & ~ (()".split(),
    *b"sanitize-payload skip-sanitize-payload %Z~x".split(),
    *(b"#" + b"a" * 64, b"!" + b"a" * 64, b"(~x* +get)", b"%RW~\xff*"),
]


class Vectors:
    """Draws argument vectors of a table's commands."""

    def __init__(self, rng: Random, table: dict[str, Command]) -> None:
        self.rng = rng
        self.entries = [entry for top in table.values() for entry in (top, *top.subcommands.values())]
        self.payloads: list[bytes] = []
        """Payloads of DUMP, for RESTORE; the arena keeps some of every type here."""
        self._names = [argument for entry in self.entries for argument in entry.name.encode().split(b"|")]
        self._by_name: dict[str, Callable[[], bytes]] = {
            "script": lambda: self.pick(SCRIPTS),
            "function-code": lambda: self.pick(LIBRARIES),
            "function": lambda: self.pick([b"f1", b"f2", b"f3", b""]),
            "library-name": lambda: self.pick([b"lib1", b"lib2", b"lib3", b""]),
            "serialized-value": self._payload,
            "id": lambda: self.pick(STREAM_IDS),
            "last-id": lambda: self.pick(STREAM_IDS),
            "lastid": lambda: self.pick(STREAM_IDS),
            "max-deleted-id": lambda: self.pick(STREAM_IDS),
            "sha1": lambda: hashlib.sha1(self.pick(SCRIPTS)).hexdigest().encode(),
            "threshold": lambda: self.pick(STREAM_IDS + INTEGERS),
            "group": lambda: self.pick([b"g1", b"g2", b"", b"nope"]),
            "consumer": lambda: self.pick([b"c1", b"c2", b"", b"nope"]),
            "encoding": lambda: self.pick(ENCODINGS),
            "rule": lambda: self.pick(ACL_RULES),
            "username": lambda: self.pick([b"default", b"u1", b"u2", b"", b"a b"]),
            "parameter": lambda: self.pick(INTROSPECTED + TEXTS),
            "command": lambda: self.pick(self._names),
            "command-name": lambda: self.pick(self._names) + self.pick([b"", b"|get", b"|"]),
            "count": lambda: self.pick(INTEGERS + [b"1", b"2", b"5", b"20", b"-3", b"-20"] * 6),
            "cursor": lambda: self.pick(INTEGERS + [b"0"] * 10 + [b"18446744073709551615", b"1152921504606846976"]),
            "timeout": lambda: self.pick(FLOATS + INTEGERS),
            "offset": lambda: self.pick(BIT_OFFSETS + INTEGERS),
            "value": lambda: self.pick(TEXTS + INTEGERS + [b"0", b"1"] * 8),
            "min-idle-time": lambda: self.pick(INTEGERS),
            "subcommand": lambda: self.pick([b"GETREG", b"DECODE", b"ENCODING", b"TODENSE"]),
            "event": lambda: self.pick([b"command", b"fast-command", b"commit", b"reclaim", b"nope"]),
            "category": lambda: self.pick([b"read", b"write", b"keyspace", b"nope"]),
            "filter": lambda: self.pick([b"MODULE", b"ACLCAT", b"PATTERN"]),
        }

    def pick(self, values: Sequence[bytes]) -> bytes:
        """One of the values."""
        return values[int(self.rng.random() * len(values))]

    # ---- whole vectors

    def vector(self, entry: Command | None = None) -> Argv:
        """A request of a command, or of any command."""
        rng = self.rng
        if entry is None:
            entry = rng.choice(self.entries)
        kind = _KIND_OF_GROUP.get(entry.group, entry.group)
        argv = [word.encode() for word in entry.name.split("|")]
        if rng.random() < 0.1:
            argv[0] = argv[0].upper()
        arguments = parse_syntax(entry.syntax, len(entry.keys) or None) if entry.syntax else ()
        for argument in arguments:
            self._argument(argument, kind, argv)
        if entry.name == "debug":
            argv += [self.pick(DEBUG), *(self.value("key", "", "generic") for _ in range(rng.randrange(3)))]
        elif not arguments and rng.random() < 0.3:
            argv += [self.value("string", "", kind) for _ in range(rng.randrange(4))]
        if rng.random() < 0.35:
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                self._spoil(argv, kind)
        return argv

    def _argument(self, argument: Argument, kind: str, argv: Argv) -> None:
        rng = self.rng
        if argument.optional and rng.random() < 0.6:
            return
        repeats = rng.choice((1, 1, 2, 3, 5)) if argument.multiple else 1
        for at in range(repeats):
            if argument.token is not None and (at == 0 or argument.multiple_token):
                argv.append(b"" if argument.token == '""' else argument.token.encode())
            if argument.type == "oneof":
                self._argument(rng.choice(argument.arguments), kind, argv)
            elif argument.type == "block":
                for inner in argument.arguments:
                    self._argument(inner, kind, argv)
            elif argument.type != "pure-token":
                name = argument.name
                if name.startswith("num") and argument.type == "integer" and rng.random() < 0.9:
                    argv.append(b"%d" % rng.choice((1, 1, 1, 2, 2, 3)))
                else:
                    argv.append(self.value(argument.type, argument.display_text or name, kind))

    def value(self, type_: str, name: str, kind: str) -> bytes:
        """A value for an argument of a type and name."""
        rng = self.rng
        if rng.random() < 0.02:
            return self._wild()
        if type_ == "key":
            return self.key(kind)
        drawn = self._by_name.get(name)
        if drawn is not None and rng.random() < 0.9:
            return drawn()
        if type_ == "integer" or type_ == "unix-time":
            return self.pick(INTEGERS) if rng.random() < 0.7 else b"%d" % rng.randrange(-20, 40)
        if type_ == "double":
            return self.pick(FLOATS) if rng.random() < 0.7 else b"%.3f" % rng.uniform(-200, 200)
        if type_ == "pattern":
            return self.pick(PATTERNS)
        if name in ("min", "max", "start", "stop", "end"):
            return self.pick(rng.choice((LEX_BOUNDS, FLOATS, INTEGERS, STREAM_IDS)))
        if rng.random() < 0.3:
            return rng.choice((b"member:%d", b"field:%d", b"%d")) % rng.randrange(40)
        return self.pick(TEXTS)

    def key(self, kind: str) -> bytes:
        """A key, mostly one that holds what the command is for."""
        rng = self.rng
        draw = rng.random()
        if draw < 0.75 and kind not in ("generic", "server"):
            return b"%b:%d" % (kind.encode(), rng.randrange(4))
        if draw < 0.95:
            return b"%b:%d" % (rng.choice(KINDS).encode(), rng.randrange(4))
        return self.pick(TEXTS)

    def _wild(self) -> bytes:
        rng = self.rng
        draw = rng.randrange(6)
        if draw == 0:
            return rng.randbytes(rng.choice((1, 4, 20, 300)))
        if draw == 1:
            return rng.randbytes(1) * rng.choice((100, 1000, 5000, 20_000))
        pools = (INTEGERS, FLOATS, TEXTS, PATTERNS, STREAM_IDS, LEX_BOUNDS, BIT_OFFSETS, ACL_RULES)
        return self.pick(rng.choice(pools))

    def _payload(self) -> bytes:
        if not self.payloads:
            return b"\x00\x01a\x0b\x00" + bytes(8)
        return mutated_payload(self.rng, self.pick(self.payloads))

    # ---- spoiling

    def _spoil(self, argv: Argv, kind: str) -> None:
        """Change one thing about a vector."""
        rng = self.rng
        how = rng.randrange(8)
        at = rng.randrange(1, len(argv)) if len(argv) > 1 else 0
        if how == 0 and at:
            argv[at] = self._wild()
        elif how == 1 and at:
            del argv[at]
        elif how == 2 and at:
            argv.insert(at, argv[at])
        elif how == 3:
            argv.insert(at + 1, self._wild())
        elif how == 4 and at:
            other = rng.randrange(1, len(argv))
            argv[at], argv[other] = argv[other], argv[at]
        elif how == 5 and at:
            argv[at] = mutated(rng, argv[at])
        elif how == 6 and at:
            del argv[at:]
        else:
            argv.append(self.value("string", "", kind))


def mutated(rng: Random, data: bytes) -> bytes:
    """The bytes with one to a few small changes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        how = rng.randrange(6)
        at = rng.randrange(len(out) + 1)
        if how == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif how == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 0x0A, 0x0D, 0x24, 0x2A, 0x30, 0x39, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
        elif how == 2:
            out[at:at] = rng.randbytes(rng.choice((1, 1, 2, 8)))
        elif how == 3:
            del out[at : at + rng.choice((1, 1, 2, 4, 16))]
        elif how == 4:
            stop = at + rng.randrange(1, 20)
            out[at:at] = out[at:stop]
        elif at < len(out):
            del out[at:]
    return bytes(out)


def mutated_payload(rng: Random, payload: bytes) -> bytes:
    """A payload of DUMP with changes, and a checksum that fits all the same most of the time."""
    if rng.random() < 0.05:
        return mutated(rng, payload)
    body = bytearray(payload[:-10])
    version = payload[-10:-8] if rng.random() < 0.95 else rng.randbytes(2)
    if rng.random() < 0.2:
        body[0:1] = bytes((rng.randrange(32),))
    if rng.random() < 0.9:
        # Only a few bytes, so that most of the structure is still looked at.
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at = rng.randrange(len(body))
            body[at] = rng.choice((body[at] ^ (1 << rng.randrange(8)), rng.randrange(256), 0, 0xFF, 0x80, 0x7F))
    else:
        body[1:] = mutated(rng, bytes(body[1:]))
    return sealed(bytes(body) + version)


def sealed(content: bytes) -> bytes:
    """Content and version with the checksum that belongs to them."""
    return content + crc64(content).to_bytes(8, "little")
