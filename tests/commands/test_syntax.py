"""Syntax strings against the argument trees of a real server, and the grammar's corners."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from diskkv.commands.syntax import Argument, SyntaxStringError, docs_arguments, parse_syntax
from tests.harness.servers import redis_8, running
from tests.harness.wire import Map, Reply, SetReply, Simple

Docs = dict[str, Any]

# Written as they stand in a command's declaration; a trailing number is the count of key specifications where the keys
# do not each have their own. Everything but `since` and `deprecated_since` must equal the real tree.
GEO_BY = (
    "by=<circle={{BYRADIUS radius} <M | KM | FT | MI>} | box={{BYBOX width} height <M | KM | FT | MI>}>"
    " [ASC | DESC] [COUNT count [ANY]]"
)
GEO_FROM = "<FROMMEMBER member | FROMLONLAT longitude latitude>"
HASH_FIELDS = "FIELDS numfields field [field ...]"
XTRIM = "[KEEPREF | DELREF | ACKED]"
SYNTAX: dict[str, str | tuple[str, int]] = {
    "ping": "[message]",
    "echo": "message",
    "select": "index",
    "swapdb": "index1 index2",
    "hello": "[protover [AUTH username password] [SETNAME clientname]]",
    "auth": "[username] password",
    "flushall": "[ASYNC | SYNC]",
    "client|list": "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
    "client|pause": "timeout:integer [WRITE | ALL]",
    "client|reply": "<ON | OFF | SKIP>",
    "config|set": "parameter value [parameter value ...]",
    "acl|setuser": "username [rule [rule ...]]",
    "acl|log": "[count | RESET]",
    "command|list": "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
    "failover": "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
    "del": ("key [key ...]", 1),
    "copy": "source destination [DB destination-db] [REPLACE]",
    "rename": "key newkey",
    "expire": "key seconds [NX | XX | GT | LT]",
    "pexpireat": "key unix-time-milliseconds [NX | XX | GT | LT]",
    "scan": "cursor [MATCH pattern] [COUNT count] [TYPE type]",
    "restore": "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    "migrate": 'host port key-selector=<key | ""> destination-db timeout:integer [COPY] [REPLACE]'
    " [AUTH auth=password | AUTH2 username password] [KEYS keys=key [key ...]]",
    "sort": "key [BY by-pattern=pattern#1] [LIMIT offset count] [GET get-pattern=pattern#1 [GET pattern ...]]"
    " [ASC | DESC] [ALPHA] [STORE destination]",
    "object|encoding": "key",
    "wait": "numreplicas timeout:integer",
    "set": "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds |"
    " PXAT unix-time-milliseconds | KEEPTTL]",
    "getex": "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
    "mset": "key value [key value ...]",
    "incrbyfloat": "key increment:double",
    "lcs": ("key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]", 1),
    "setrange": "key offset value",
    "setbit": "key offset value:integer",
    "bitcount": "key [start end [BYTE | BIT]]",
    "bitop": "<AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key [key ...]",
    "bitpos": "key bit [start [end [BYTE | BIT]]]",
    "bitfield": "key operation=[GET encoding offset | write={[OVERFLOW <WRAP | SAT | FAIL>]"
    " write-operation=<SET encoding offset value:integer | INCRBY encoding offset increment>}] ...",
    "bitfield_ro": "key [GET encoding offset [GET encoding offset ...]]",
    "lpush": "key element [element ...]",
    "linsert": "key <BEFORE | AFTER> pivot element",
    "lmove": "source destination wherefrom=<LEFT | RIGHT> whereto=<LEFT | RIGHT>",
    "lpos": "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
    "blmpop": ("timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]", 1),
    "blpop": ("key [key ...] timeout", 1),
    "sintercard": ("numkeys key [key ...] [LIMIT limit]", 1),
    "sunionstore": "destination key [key ...]",
    "smove": "source destination member",
    "hset": "key field value [field value ...]",
    "hrandfield": "key [count [WITHVALUES]]",
    "hexpire": f"key seconds [NX | XX | GT | LT] {HASH_FIELDS}",
    "hgetex": "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]"
    f" {HASH_FIELDS}",
    "hsetex": "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds"
    " | KEEPTTL] FIELDS numfields field value [field value ...]",
    "hscan": "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
    "zadd": "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
    "zincrby": "key increment member",
    "zrange": "key start:string stop:string [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
    "zrangebyscore": "key min:double max:double [WITHSCORES] [LIMIT offset count]",
    "zlexcount": "key min max",
    "zunionstore": "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
    "zmpop": ("numkeys key [key ...] <MIN | MAX> [COUNT count]", 1),
    "zrandmember": "key [count [WITHSCORES]]",
    "geoadd": "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
    "geosearch": f"key {GEO_FROM} {GEO_BY} [WITHCOORD] [WITHDIST] [WITHHASH]",
    "geosearchstore": f"destination source {GEO_FROM} {GEO_BY} [STOREDIST]",
    "georadius": "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH]"
    " [COUNT count [ANY]] [ASC | DESC] [STORE storekey=key | STOREDIST storedistkey=key]",
    "pfmerge": "destkey [sourcekey [sourcekey ...]]",
    "xadd": f"key [NOMKSTREAM] {XTRIM} [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]]"
    " <* | id> field value [field value ...]",
    "xtrim": f"key {{<MAXLEN | MINID> [= | ~] threshold [LIMIT count] {XTRIM}}}",
    "xread": ("[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]", 1),
    "xreadgroup": (
        "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
        1,
    ),
    "xpending": "key group [[IDLE min-idle-time:integer] start:string end:string count [consumer]]",
    "xgroup|create": "key group <id | $> [MKSTREAM] [ENTRIESREAD entriesread=entries-read]",
    "xautoclaim": "key group consumer min-idle-time start:string [COUNT count] [JUSTID]",
    "xinfo|stream": "key full-block=[full={FULL} [COUNT count]]",
    "eval": ("script numkeys [key [key ...]] [arg [arg ...]]", 1),
    "function|restore": "serialized-value [FLUSH | APPEND | REPLACE]",
    "subscribe": "channel [channel ...]",
    "psubscribe": "pattern [pattern ...]",
    "publish": "channel message",
    "watch": ("key [key ...]", 1),
    "blmove": "source destination wherefrom=<LEFT | RIGHT> whereto=<LEFT | RIGHT> timeout",
    "hincrbyfloat": "key field increment:double",
    "waitaof": "numlocal numreplicas timeout:integer",
    "zcount": "key min:double max:double",
    "zremrangebyscore": "key min:double max:double",
    "zrevrangebyscore": "key max:double min:double [WITHSCORES] [LIMIT offset count]",
    "xrange": "key start:string end:string [COUNT count]",
    "xrevrange": "key end:string start:string [COUNT count]",
    "xgroup|setid": "key group <id | $> [ENTRIESREAD entriesread=entries-read]",
    "sort_ro": "key [BY by-pattern=pattern#1] [LIMIT offset count] [GET get-pattern=pattern#1 [GET pattern ...]]"
    " [ASC | DESC] [ALPHA]",
    "replicaof": "args=<host port | no-one={NO ONE}>",
    "client|tracking": "status=<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN]"
    " [OPTOUT] [NOLOOP]",
    "client|kill": "filter=<old-format=ip:port | new-format=<[ID client-id]"
    " | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | [ADDR addr=ip:port]"
    " | [LADDR laddr=ip:port] | [SKIPME <YES | NO>] | [MAXAGE maxage]> ...>",
    "cluster|keyslot": "key:string",
    "shutdown": "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
}

# Not in the strings above, to keep them readable.
UNDECLARED = {"since", "deprecated_since"}


@cache
def reference_docs() -> dict[str, list[Docs]]:
    """The `arguments` of every command and subcommand of Redis 8.2, by full name."""
    with running(redis_8()) as server, server.connect() as wire:
        wire.hello(3)
        reply = _plain(wire.call("COMMAND", "DOCS"))
    found: dict[str, list[Docs]] = {}

    def collect(commands: dict[str, Docs]) -> None:
        for name, docs in commands.items():
            found[name] = docs.get("arguments", [])
            collect(docs.get("subcommands", {}))

    collect(reply)
    return found


def _plain(reply: Reply) -> Any:
    match reply:
        case Map(pairs):
            return {_plain(key): _plain(value) for key, value in pairs}
        case SetReply(items):
            return tuple(_plain(item) for item in items)
        case list():
            return [_plain(item) for item in reply]
        case bytes():
            return reply.decode()
        case Simple(text):
            return text.decode()
        case _:
            return reply


def without(docs: list[Docs], dropped: set[str]) -> list[Docs]:
    """The trees without the fields in `dropped`, at every depth."""
    return [
        {key: without(value, dropped) if key == "arguments" else value for key, value in node.items()}
        for node in [{key: value for key, value in node.items() if key not in dropped} for node in docs]
    ]


@pytest.mark.parametrize("name", SYNTAX)
def test_declared_syntax_gives_the_real_tree(name: str) -> None:
    declared = SYNTAX[name]
    syntax, key_specs = declared if isinstance(declared, tuple) else (declared, None)
    assert docs_arguments(syntax, key_specs) == without(reference_docs()[name], UNDECLARED)


def spell(node: Docs) -> str:
    """The fully annotated syntax string of one real argument."""
    flags = node.get("flags", ())
    since = f"@{node['since']}" if "since" in node else ""
    if node["type"] == "pure-token":
        text = f"{node['name']}=" + (node["token"] or '""') + since
    elif node["type"] in ("oneof", "block"):
        opening, separator, closing = ("<", " | ", ">") if node["type"] == "oneof" else ("{", " ", "}")
        text = f"{node['name']}={opening}{separator.join(map(spell, node['arguments']))}{closing}{since}"
    else:
        spec = f"#{node['key_spec_index']}" if "key_spec_index" in node else ""
        text = f"{node['name']}={node['display_text']}:{node['type']}{spec}{since}"
    if "multiple_token" in flags:
        text = f"{{{node['token']} {text} [{node['token']} {text} ...]}}"
    elif "multiple" in flags:
        text = f"{text} [{text} ...]"
    if "token" in node and node["type"] != "pure-token" and "multiple_token" not in flags:
        text = f"{{{node['token']} {text}}}"
    return f"[{text}]" if "optional" in flags else text


def test_every_tree_of_the_reference_can_be_written_as_a_syntax_string() -> None:
    wrong = {}
    for name, docs in reference_docs().items():
        wanted = without(docs, {"deprecated_since"})
        syntax = " ".join(map(spell, wanted))
        if docs_arguments(syntax) != wanted:
            wrong[name] = syntax
    assert len(reference_docs()) > 350
    assert wrong == {}


def test_repetition_is_recognised_without_repeating_annotations() -> None:
    (data,) = parse_syntax("score:double@1.2.0 member:key [score member ...]")
    assert (data.name, data.type, data.flags) == ("data", "block", ("multiple",))
    assert [child.type for child in data.arguments] == ["double", "key"]


def test_repetition_without_a_first_mention_is_optional() -> None:
    assert parse_syntax("[arg ...]") == parse_syntax("[arg [arg ...]]")


def test_repeated_sequence_takes_the_name_of_its_bracket() -> None:
    (pairs,) = parse_syntax("field value pairs=[field value ...]")
    assert (pairs.name, pairs.flags) == ("pairs", ("multiple",))


def test_a_token_between_arguments_takes_only_what_follows_it() -> None:
    first, second, third = parse_syntax("subcommand COUNT count [FORCE]")
    assert first.token is None
    assert (second.token, second.name) == ("COUNT", "count")
    assert third == Argument("force", "pure-token", "force", token="FORCE", optional=True)


def test_versions_stand_behind_words_and_brackets() -> None:
    condition, keepttl = parse_syntax("[NX@2.6.12 | XX]@2.6.12 [KEEPTTL@6.0.0]")
    assert (condition.since, keepttl.since) == ("2.6.12", "6.0.0")
    assert [choice.since for choice in condition.arguments] == ["2.6.12", None]


def test_keys_share_the_last_specification() -> None:
    assert [argument.key_spec_index for argument in parse_syntax("key1 key2", 1)] == [0, 0]
    assert [argument.key_spec_index for argument in parse_syntax("key1 key2")] == [0, 1]
    assert [argument.key_spec_index for argument in parse_syntax("key", 0)] == [None]


def test_no_arguments() -> None:
    assert docs_arguments("") == []


@pytest.mark.parametrize(
    "syntax",
    ["[key", "key]", "<a | b]", "<a | >", "[]", "... key", "<a | b ...", "[a | b ...]", "{a}@7.0 }", "key [key", "|"],
)
def test_malformed_strings_are_refused(syntax: str) -> None:
    with pytest.raises(SyntaxStringError):
        parse_syntax(syntax)


def test_trees_are_built_once() -> None:
    assert docs_arguments("key value") is docs_arguments("key value")
