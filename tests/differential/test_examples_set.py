"""Error texts and edge cases of the set commands."""

from __future__ import annotations

import pytest

from tests.differential.examples import Example, parse_examples, run_example
from tests.harness import servers

EXAMPLES = r"""
# arity and types
SADD t
SREM t
SISMEMBER t
SMISMEMBER t
SMOVE a b
SINTERCARD 1
SADD t a
SET s v
SADD s a
SREM s a
SISMEMBER s a
SMISMEMBER s a
SMEMBERS s
SCARD s
SMOVE s t a
SMOVE t s a
SMOVE t s nope
SPOP s
SRANDMEMBER s
SSCAN s 0
SINTER t s
SINTER s missing
SINTER missing s
SUNION t s
SDIFF t s
SINTERSTORE d t s
SINTERCARD 2 t s

# pops and random members
SADD t a
SPOP t 0
SPOP t -1
SPOP t x
SPOP t 1 2
SPOP t
EXISTS t
SPOP t
SPOP t 5
SRANDMEMBER t
SRANDMEMBER t 5
SADD t a
SRANDMEMBER t
SRANDMEMBER t 5
SRANDMEMBER t -3
SRANDMEMBER t x
SRANDMEMBER t -9223372036854775808
SRANDMEMBER t 1 2
SPOP t 5
EXISTS t

# moves and algebra
SADD a 1 2 3
SADD b 2 3 4
SINTER a b
SUNION a b
SDIFF a b
SDIFF b a
SINTER a missing
SUNION a missing
SDIFF missing a
SINTERSTORE d a b
SMEMBERS d
SINTERSTORE d a missing
EXISTS d
SDIFFSTORE a a b
SMEMBERS a
SUNIONSTORE s missing
SMOVE a b 1
SMOVE a b 1
EXISTS a
SMOVE b b 2
SMOVE b b nope
SMEMBERS b
SET k v
SUNIONSTORE k b
TYPE k
SINTERCARD 2 b k
SINTERCARD 2 b k LIMIT 1
SINTERCARD 2 b k LIMIT 0
SINTERCARD 2 b k LIMIT -1
SINTERCARD 2 b k LIMIT x
SINTERCARD 0 b
SINTERCARD -1 b
SINTERCARD x b
SINTERCARD 3 b k
SINTERCARD 1 b k
SINTERCARD 1 b BOGUS 1

# encodings
SADD t 1 2 3
OBJECT ENCODING t
SADD t a
OBJECT ENCODING t
SADD u {x*64}
OBJECT ENCODING u
SADD u {x*65}
OBJECT ENCODING u
SADD v 9223372036854775807 -9223372036854775808
OBJECT ENCODING v
SADD v 9223372036854775808
OBJECT ENCODING v
SADD w 01
OBJECT ENCODING w
SADD w ""
SISMEMBER w ""
"""


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(EXAMPLES), ids=str)
def test_example(example: Example, protocol: int) -> None:
    run_example(example, protocol, servers.subject(), servers.reference())
