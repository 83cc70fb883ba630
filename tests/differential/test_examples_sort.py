"""SORT and SORT_RO."""

from __future__ import annotations

import pytest

from tests.differential.examples import Example, parse_examples, run_example
from tests.harness import servers

EXAMPLES = r"""
# sorting
RPUSH l 3 1 2 10
SORT l
SORT l DESC
SORT l ALPHA
SORT l ALPHA DESC
SORT l LIMIT 1 2
SORT l LIMIT -1 2
SORT l LIMIT 1 -1
SORT l LIMIT 100 2
SORT l LIMIT 1
SORT l LIMIT x 1
SORT l BOGUS
SORT missing
SORT missing STORE d
RPUSH t a c b
SORT t
SORT t ALPHA
SADD s 3 1 2
SORT s
ZADD z 1 30 2 20 3 10
SORT z
SORT z BY nosort
SORT z BY nosort DESC
SORT z BY nosort LIMIT 0 2
SET str v
SORT str
SORT

# by and get
RPUSH l 1 2 3
MSET w1 30 w2 10 w3 20 d1 one d2 two d3 three
HSET h1 f x1 n 5
HSET h2 f x2 n 4
SORT l BY w*
SORT l BY w* DESC
SORT l BY w* GET d*
SORT l BY w* GET # GET d* GET nope*
SORT l BY h*->n GET h*->f
SORT l BY missing*
SORT l BY d*
SORT l BY d* ALPHA
SORT l GET h*->
SORT l GET w
SORT l BY w* STORE out
LRANGE out 0 -1
SORT l GET nope* STORE out
LRANGE out 0 -1
SORT l BY w* GET # LIMIT 0 2 STORE out
LRANGE out 0 -1
SORT_RO l BY w*
SORT_RO l STORE out
SORT_RO l GET # DESC
SORT l STORE
RPUSH f 1.5 -2 1e3 inf
SORT f

# what counts as a number
RPUSH l +1 .5 5. "" 1e400 1e-400 INF -infinity "2\x00rubbish"
SORT l
RPUSH a " 1"
SORT a
RPUSH b 0x10
SORT b
RPUSH c nan
SORT c
SORT c LIMIT 0 0
RPUSH d 1_0
SORT d

# keys and permissions
COMMAND GETKEYS SORT l BY x* LIMIT 1 2 GET store STORE d STORE e
COMMAND GETKEYS SORT l GET store
COMMAND GETKEYSANDFLAGS SORT l STORE d
COMMAND GETKEYS SORT_RO l BY x*
RPUSH l 2 1
ACL SETUSER one on nopass +@all ~l
ACL SETUSER two on nopass +@all ~l "(+sort ~*)"
2> AUTH one x
2> SORT l BY w*
2> SORT l BY nosort
2> SORT l GET #
2> SORT l STORE other
2> SORT l BY w* BOGUS
2> SORT l LIMIT x 1 BY w*
2> AUTH two x
2> SORT l BY w* GET w*
2> SORT_RO l GET w*
ACL DELUSER one two
"""


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(EXAMPLES), ids=str)
def test_example(example: Example, protocol: int) -> None:
    run_example(example, protocol, servers.subject(), servers.reference())
