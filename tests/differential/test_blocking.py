"""Blocking list and sorted-set commands over several connections."""

from __future__ import annotations

import pytest

from tests.differential.examples import Example, parse_examples, run_example
from tests.harness import servers

EXAMPLES = r"""
# timeout errors
BLPOP l x
BLPOP l -1
BLPOP l
BLPOP l 1e400
BLPOP l 9223372036854775807
BLPOP l nan
BLPOP l inf
BLPOP l 0.001
BRPOP l k 0.001
BLMOVE a b LEFT RIGHT 0.001
BRPOPLPUSH a b 0.001
BZPOPMIN z 0.001
BZPOPMAX z x
BZMPOP 0.001 1 z MIN

# a push serves the waiter
2~ BLPOP l 0
1> RPUSH l a
2<
1> EXISTS l

# waiters are served in order of arrival
2~ BLPOP l 0
3~ BLPOP l 0
4~ BRPOP l 0
1> RPUSH l a b c d
2<
3<
4<
1> LRANGE l 0 -1

# several keys in the order given
2~ BLPOP a b c 0
1> RPUSH b 1
2<
1> RPUSH c 1
1> RPUSH a 1
2> BLPOP a b c 0
2> BLPOP a b c 0

# blmove serves the next waiter
2~ BLMOVE a b LEFT RIGHT 0
3~ BLPOP b 0
1> RPUSH a x
2<
3<
1> EXISTS a b

# a transaction wakes waiters at its end
2~ BLPOP l 0
1> MULTI
1> RPUSH l a
1> RPUSH l b
1> LPOP l
1> EXEC
2<
1> EXISTS l

# a push and a delete in one transaction serves nobody
2~ BLPOP l 0
1> MULTI
1> RPUSH l a
1> DEL l
1> EXEC
1> RPUSH l b
2<

# other types do not wake
2~ BLPOP l 0
1> SET l string
1> DEL l
1> RPUSH l x
2<

# rename and copy wake waiters
2~ BLPOP l 0
1> RPUSH other a b
1> RENAME other l
2<
1> DEL l
3~ BLPOP l2 0
1> RPUSH l a
1> COPY l l2
3<

# inside a transaction nothing blocks
MULTI
BLPOP l 0
BLMOVE l m LEFT LEFT 0
BZPOPMIN z 0
BLMPOP 0 1 l LEFT
EXEC

# unblock
2> CLIENT SETNAME waiter
2~ BLPOP l 0.05
2<
2> PING

# sorted sets wake waiters
2~ BZPOPMIN z 0
3~ BZPOPMAX z 0
4~ BZMPOP 0 2 y z MIN COUNT 2
1> ZADD z 1 a 2 b 3 c 4 d 5 e
2<
3<
4<
1> ZRANGE z 0 -1 WITHSCORES

# a client that goes away is no waiter
2~ BLPOP l 0
1> CLIENT KILL TYPE normal SKIPME yes
2!
1> RPUSH l a
1> LLEN l

# swapdb and move wake waiters
2~ BLPOP l 0
1> SELECT 1
1> RPUSH l a
1> SWAPDB 0 1
2<
"""


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(EXAMPLES), ids=str)
def test_example(example: Example, protocol: int) -> None:
    run_example(example, protocol, servers.subject(), servers.reference())
