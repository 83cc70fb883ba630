"""MULTI, EXEC, DISCARD and WATCH over several connections."""

from __future__ import annotations

import pytest

from tests.differential.examples import Example, parse_examples, run_example
from tests.harness import servers

EXAMPLES = r"""
# states
EXEC
DISCARD
MULTI
MULTI
EXEC
MULTI
DISCARD
DISCARD
MULTI x
EXEC x
UNWATCH
WATCH
UNWATCH x

# queueing
MULTI
SET k v
GET k
INCR k
LPUSH k x
PING
EXEC
GET k

# errors while queueing abort
MULTI
SET k v
NOSUCH
GET
EXEC
EXISTS k
MULTI
GET
DISCARD
SET k v
GET k

# errors while executing do not abort
SET k v
MULTI
INCR k
APPEND k w
HSET k f v
GET k
EXEC
GET k

# commands refused inside
MULTI
WATCH k
MULTI
SUBSCRIBE c
SELECT 1
SET k one
SELECT 0
EXEC
EXISTS k

# watch
1> SET k 1
1> WATCH k
2> SET k 2
1> MULTI
1> SET k 3
1> EXEC
1> GET k
1> MULTI
1> SET k 4
1> EXEC
1> GET k

# watch is cleared by exec, discard and unwatch
1> WATCH k
1> MULTI
1> DISCARD
2> SET k 1
1> MULTI
1> PING
1> EXEC
1> WATCH k
1> UNWATCH
2> SET k 2
1> MULTI
1> PING
1> EXEC

# watch sees deletion, creation and expiry commands
1> WATCH new
2> SET new v
1> MULTI
1> PING
1> EXEC
1> WATCH new
2> DEL new
1> MULTI
1> PING
1> EXEC
1> SET k v
1> WATCH k
2> EXPIRE k 1000
1> MULTI
1> PING
1> EXEC
1> WATCH k
2> PERSIST k
1> MULTI
1> PING
1> EXEC

# watch and writes that change nothing
1> SET k v
1> WATCH k missing
2> DEL missing
2> SETNX k w
2> PERSIST k
2> EXPIRE missing 10
2> GET k
1> MULTI
1> PING
1> EXEC
1> WATCH k
2> SET k v
1> MULTI
1> PING
1> EXEC

# watch and databases
1> SET k v
1> WATCH k
2> SELECT 1
2> SET k other
1> MULTI
1> PING
1> EXEC
1> WATCH k
2> SELECT 0
2> FLUSHDB
1> MULTI
1> PING
1> EXEC
1> WATCH missing
2> FLUSHALL
1> MULTI
1> PING
1> EXEC
1> WATCH k
2> SELECT 1
2> SET k one
2> SWAPDB 0 1
1> MULTI
1> PING
1> EXEC

# own writes before multi count
SET k 1
WATCH k
SET k 2
MULTI
GET k
EXEC

# rename and move touch both
1> SET a 1
1> WATCH b
2> RENAME a b
1> MULTI
1> PING
1> EXEC
1> WATCH b
2> MOVE b 1
1> MULTI
1> PING
1> EXEC

# nothing is visible before exec
1> MULTI
1> SET k v
2> GET k
1> EXEC
2> GET k

# reset and quit in a transaction
MULTI
SET k v
RESET
EXEC
EXISTS k
MULTI
QUIT
1!
"""


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(EXAMPLES), ids=str)
def test_example(example: Example, protocol: int) -> None:
    run_example(example, protocol, servers.subject(), servers.reference())
