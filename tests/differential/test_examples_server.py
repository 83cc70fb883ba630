"""Error texts and edge cases of the server commands."""

from __future__ import annotations

import pytest

from tests.differential.examples import Example, parse_examples, run_example
from tests.harness import servers

EXAMPLES = r"""
# config errors
CONFIG
CONFIG BOGUS
CONFIG GET
CONFIG GET nosuchparameter
CONFIG GET maxclients maxclients
CONFIG GET MAXCLIENTS
CONFIG SET
CONFIG SET maxclients
CONFIG SET nosuch 1
CONFIG SET timeout x
CONFIG SET timeout -1
CONFIG SET timeout 0 nosuch 1
CONFIG SET timeout 0 timeout 1
CONFIG SET timeout 0 tcp-keepalive
CONFIG SET port x
CONFIG SET appendfsync bogus
CONFIG SET maxclients 0
CONFIG SET databases 32
CONFIG SET slowlog-log-slower-than abc
CONFIG SET maxmemory-policy bogus
CONFIG SET client-output-buffer-limit "normal 0 0"
CONFIG SET client-output-buffer-limit "bogus 0 0 0"
CONFIG SET client-output-buffer-limit "normal x 0 0"
CONFIG RESETSTAT x
CONFIG RESETSTAT
CONFIG REWRITE

# config values
CONFIG GET timeout
CONFIG GET tcp-keepalive
CONFIG GET databases
CONFIG GET maxclients
CONFIG GET proto-max-bulk-len
CONFIG GET client-query-buffer-limit
CONFIG GET client-output-buffer-limit
CONFIG GET slowlog-[lm]*
CONFIG GET maxmemory
CONFIG GET maxmemory-policy
CONFIG GET save
CONFIG GET hash-max-listpack-*
CONFIG GET set-max-*
CONFIG GET zset-max-*
CONFIG GET list-max-listpack-size
CONFIG GET stream-node-max-*
CONFIG GET requirepass
CONFIG GET notify-keyspace-events
CONFIG GET latency-monitor-threshold
CONFIG SET timeout 100
CONFIG GET timeout
CONFIG SET timeout 0 slowlog-max-len 64
CONFIG GET timeout slowlog-max-len
CONFIG SET slowlog-max-len 128
CONFIG SET proto-max-bulk-len 1mb
CONFIG GET proto-max-bulk-len
CONFIG SET proto-max-bulk-len 512mb
CONFIG SET client-output-buffer-limit "normal 1mb 512kb 10"
CONFIG GET client-output-buffer-limit
CONFIG SET client-output-buffer-limit "normal 0 0 0"
CONFIG SET TIMEOUT 0
CONFIG SET hash-max-listpack-entries 64
CONFIG GET hash-max-ziplist-entries
CONFIG SET hash-max-listpack-entries 512

# command introspection
COMMAND BOGUS
COMMAND COUNT x
COMMAND INFO get
COMMAND INFO GET nosuch set
COMMAND INFO mset msetnx getex lcs
COMMAND INFO copy rename object object|encoding scan
COMMAND INFO config|get client|kill
COMMAND INFO config client|nosuch
COMMAND GETKEYS
COMMAND GETKEYS get
COMMAND GETKEYS GET k
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS MSET a 1 b
COMMAND GETKEYS PING
COMMAND GETKEYS NOSUCH k
COMMAND GETKEYS SET
COMMAND GETKEYS COPY a b
COMMAND GETKEYS OBJECT ENCODING k
COMMAND GETKEYS LCS a b
COMMAND GETKEYS MEMORY USAGE k
COMMAND GETKEYSANDFLAGS GET k
COMMAND GETKEYSANDFLAGS SET k v
COMMAND GETKEYSANDFLAGS SET k v GET
COMMAND GETKEYSANDFLAGS COPY a b
COMMAND GETKEYSANDFLAGS MSET a 1 b 2
COMMAND GETKEYSANDFLAGS GETEX k
COMMAND GETKEYSANDFLAGS PING
COMMAND LIST FILTERBY
COMMAND LIST FILTERBY BOGUS x
COMMAND LIST FILTERBY MODULE nosuch
COMMAND LIST FILTERBY PATTERN getr*
COMMAND LIST BOGUS

# debug
DEBUG SLEEP 0
DEBUG SLEEP x
DEBUG SLEEP
DEBUG SET-ACTIVE-EXPIRE 0
DEBUG SET-ACTIVE-EXPIRE 1
DEBUG OBJECT missing
DEBUG OBJECT
SET k v
DEBUG OBJECT k
DEBUG RELOAD
GET k
DEBUG STRINGMATCH-LEN 1000 *?*?*?
DEBUG BOGUS
DEBUG

# memory
MEMORY
MEMORY BOGUS
MEMORY USAGE
MEMORY USAGE missing
SET k v
MEMORY USAGE k
MEMORY USAGE k SAMPLES
MEMORY USAGE k SAMPLES x
MEMORY USAGE k SAMPLES -1
MEMORY USAGE k SAMPLES 0
MEMORY USAGE k BOGUS 1
MEMORY DOCTOR
MEMORY DOCTOR x
MEMORY STATS
MEMORY MALLOC-STATS
MEMORY PURGE

# slowlog
SLOWLOG
SLOWLOG BOGUS
SLOWLOG GET x
SLOWLOG GET -2
SLOWLOG GET -1
SLOWLOG GET 0
SLOWLOG GET 1 2
SLOWLOG LEN x
SLOWLOG LEN
SLOWLOG RESET
SLOWLOG RESET x

# latency
LATENCY
LATENCY BOGUS
LATENCY LATEST
LATENCY LATEST x
LATENCY HISTORY
LATENCY HISTORY nosuch
LATENCY RESET
LATENCY RESET nosuch
LATENCY DOCTOR
LATENCY GRAPH nosuch
LATENCY GRAPH
LATENCY HISTOGRAM nosuch

# time, lastsave, lolwut, info
TIME
TIME x
LASTSAVE
LASTSAVE x
LOLWUT
LOLWUT VERSION
LOLWUT VERSION x
LOLWUT VERSION 5 1 1 1
LOLWUT VERSION 6 1 1
INFO
INFO server
INFO nosuch
INFO server clients
INFO all
INFO everything

# saving: what does not depend on whether one is under way
SAVE x
BGSAVE x
BGSAVE SCHEDULE x
BGREWRITEAOF x
MULTI
SAVE
DISCARD

# shutdown errors
SHUTDOWN BOGUS
SHUTDOWN ABORT
SHUTDOWN NOSAVE SAVE
SHUTDOWN ABORT NOSAVE
PING
"""


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(EXAMPLES), ids=str)
def test_example(example: Example, protocol: int) -> None:
    run_example(example, protocol, servers.subject(), servers.reference())
