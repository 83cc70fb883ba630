"""Error texts and edge cases of the list commands."""

from __future__ import annotations

import pytest

from tests.differential.examples import Example, parse_examples, run_example
from tests.harness import servers

EXAMPLES = r"""
# arity and types
LPUSH l
RPUSH l
LPUSHX l
LPOP
LPOP l 1 2
LRANGE l 0
LSET l 0
LINSERT l BEFORE a
LREM l 0
LTRIM l 0
LINDEX l
LPOS l
LMOVE a b LEFT
LMPOP 1 l
SET s v
LPUSH s a
RPUSHX s a
LPOP s
RPOP s 1
LLEN s
LRANGE s 0 -1
LINDEX s 0
LSET s 0 a
LINSERT s BEFORE a b
LREM s 0 a
LTRIM s 0 1
LPOS s a
LMOVE s l LEFT LEFT
RPOPLPUSH s l
LMPOP 1 s LEFT
BLPOP s 0.01
RPUSH l a
LMOVE l s LEFT LEFT
RPOPLPUSH l s
LLEN l

# pops
RPUSH l a b c d e f
LPOP l
RPOP l
LPOP l 0
LPOP l 2
RPOP l 10
EXISTS l
LPOP l
LPOP l 0
LPOP l 3
RPOP l 3
LPOP l -1
LPOP l x
RPOP l 9223372036854775808
LPUSHX l a
EXISTS l

# indexes and ranges
RPUSH l a b c d e
LRANGE l 0 -1
LRANGE l 1 2
LRANGE l -3 -2
LRANGE l 3 1
LRANGE l -100 100
LRANGE l 10 20
LRANGE l x 1
LINDEX l 0
LINDEX l -1
LINDEX l 5
LINDEX l -6
LINDEX l x
LSET l 0 A
LSET l -1 E
LSET l 5 x
LSET l -6 x
LSET l x x
LSET missing 0 x
LRANGE l 0 -1
LTRIM l 1 -2
LRANGE l 0 -1
LTRIM l 5 10
EXISTS l
LTRIM missing 0 1
LTRIM missing x 1

# insert and remove
RPUSH l a b a c a
LINSERT l BEFORE b X
LINSERT l AFTER b Y
LINSERT l AFTER nope Z
LINSERT l BOGUS b Z
LINSERT missing BEFORE a b
LREM l 1 a
LREM l -1 a
LRANGE l 0 -1
LREM l 0 a
LREM l 0 nope
LREM l x a
LREM missing 0 a
LREM l 0 X
LREM l 0 b
LREM l 0 Y
LREM l 0 c
EXISTS l

# positions
RPUSH l a b c 1 2 3 c c
LPOS l c
LPOS l c RANK 2
LPOS l c RANK -1
LPOS l c RANK -1 COUNT 2
LPOS l c COUNT 0
LPOS l c COUNT 2
LPOS l c RANK 5
LPOS l c COUNT 0 MAXLEN 3
LPOS l c RANK -1 COUNT 0 MAXLEN 1
LPOS l nope
LPOS l nope COUNT 0
LPOS missing c
LPOS missing c COUNT 0
LPOS l c RANK 0
LPOS l c RANK -9223372036854775808
LPOS l c COUNT -1
LPOS l c MAXLEN -1
LPOS l c BOGUS 1
LPOS l c RANK

# moves
RPUSH a 1 2 3
LMOVE a b LEFT RIGHT
LMOVE a b RIGHT LEFT
LRANGE b 0 -1
LMOVE a a LEFT RIGHT
LMOVE a b LEFT LEFT
EXISTS a
LMOVE a b LEFT LEFT
LMOVE a b UP LEFT
LMOVE a b LEFT UP
RPOPLPUSH b b
LRANGE b 0 -1
RPOPLPUSH missing b

# mpop
RPUSH l a b c
LMPOP 2 missing l LEFT
LMPOP 2 missing l RIGHT COUNT 10
LMPOP 1 l LEFT
LMPOP 0 l LEFT
LMPOP -1 l LEFT
LMPOP x l LEFT
LMPOP 2 l LEFT
LMPOP 1 l BOGUS
LMPOP 1 l LEFT COUNT 0
LMPOP 1 l LEFT COUNT -1
LMPOP 1 l LEFT COUNT x
LMPOP 1 l LEFT COUNT 1 COUNT 2
LMPOP 1 l LEFT BOGUS 1
BLMPOP 0.01 1 l LEFT
BLMPOP x 1 l LEFT
BLMPOP -1 1 l LEFT
BLMPOP 0.01 0 l LEFT

# encodings
RPUSH l a
OBJECT ENCODING l
RPUSH l {x*9000}
OBJECT ENCODING l
LPOP l
OBJECT ENCODING l
RPOP l
EXISTS l
RPUSH l {x*8100} {y*8100}
OBJECT ENCODING l
"""


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(EXAMPLES), ids=str)
def test_example(example: Example, protocol: int) -> None:
    run_example(example, protocol, servers.subject(), servers.reference())
