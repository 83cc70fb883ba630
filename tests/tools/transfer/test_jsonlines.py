from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.rdb_reader import RdbFunction, RdbKey
from diskkv.codec.rdb_values import HashValue, ListValue, RdbValue, StringValue, ZSetValue
from tests.codec.rdb_strategies import sample_values, values
from tools.ctl.transfer.jsonlines import decode_line, encode_line


@given(value=values, key=st.binary(max_size=20), db=st.integers(0, 20), expire_ms=st.integers(0, 1 << 62))
def test_round_trip(value: RdbValue, key: bytes, db: int, expire_ms: int) -> None:
    record = RdbKey(db, key, value, expire_ms)
    line = encode_line(record)
    assert line is not None
    assert line.count(b"\n") == 1
    assert decode_line(line) == record


@pytest.mark.parametrize("value", sample_values(), ids=lambda value: type(value).__name__)
def test_samples(value: RdbValue) -> None:
    record = RdbKey(3, b"\xff", value, 5, part=2, is_last=False)
    line = encode_line(record)
    assert line is not None
    assert decode_line(line) == record


def test_what_it_looks_like() -> None:
    assert encode_line(RdbKey(0, b"k", HashValue([(b"f", b"v", 0)]))) == (
        b'{"db":0,"key":"k","type":"hash","value":{"f":"v"}}\n'
    )
    assert json.loads(encode_line(RdbKey(0, b"k", ZSetValue([(b"m", float("inf"))]))) or "")["value"] == [["m", "inf"]]
    assert encode_line(RdbFunction(b"\xff")) == b'{"function":{"base64":"/w=="}}\n'


def test_lines_written_by_hand() -> None:
    assert decode_line(b'{"key": "n", "type": "string", "value": 5}') == RdbKey(0, b"n", StringValue(b"5"))
    assert decode_line(b'{"key": "l", "type": "list", "value": ["a", 1.5]}') == RdbKey(
        0, b"l", ListValue([b"a", b"1.5"])
    )


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{",
        b'{"type": "string", "value": "x"}',
        b'{"key": "k", "value": "x"}',
        b'{"key": "k", "type": "module", "value": "x"}',
        b'{"key": "k", "type": "list", "value": "x"}',
        b'{"key": "k", "type": "zset", "value": [["m", "nan"]]}',
        b'{"key": "k", "type": "zset", "value": [["m"]]}',
        b'{"key": "k", "type": "string", "value": {"base64": "?"}}',
        b'{"key": "k", "type": "string", "value": true}',
        b'{"key": "k", "type": "stream", "value": {"entries": [["2-0", []], ["1-0", []]]}}',
        b'{"key": "k", "type": "string", "value": "x", "expire_ms": "soon"}',
    ],
)
def test_bad_lines(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode_line(line)
