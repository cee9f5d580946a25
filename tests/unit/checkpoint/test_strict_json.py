"""Strict JSON: what it refuses, and that it raises nothing but JsonFault."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.weights.readers.strict_json import JsonFault, loads

REFUSED = [
    b"",
    b"{",
    b'{"a": 1, "a": 2}',
    b'{"x": {"a": 1, "b": 0, "a": 1}}',
    b"[NaN]",
    b"[Infinity]",
    b"[-Infinity]",
    b"[1e999]",
    b"[01]",
    b"[1.]",
    b"[+1]",
    b"[.5]",
    b"[1,]",
    b'{"a": 1,}',
    b"{'a': 1}",
    b"[tru]",
    b"// c\n1",
    b"1 2",
    b'"\x01"',
    b'"\\x"',
    b'"\\ud800"',
    b'{"\\udc00": 1}',
    b'"\xff"',
    b"\xef\xbb\xbf1",
    b"\xff\xfe1\x00",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[[[[[[[[[1]]]]]]]]]",
    b"1" * 10_000,
]


@pytest.mark.parametrize("data", REFUSED, ids=lambda data: repr(data[:20]))
def test_refused(data: bytes) -> None:
    with pytest.raises(JsonFault):
        loads(data)


def test_depth_is_counted_exactly() -> None:
    assert loads(b'[{"a": []}]', max_depth=3) == [{"a": []}]
    with pytest.raises(JsonFault, match="more than 2 deep"):
        loads(b'[{"a": []}]', max_depth=2)
    assert loads(b"7", max_depth=0) == 7


def test_what_json_allows() -> None:
    value = loads(b' {"a": [1, -0.5, 1e5, true, null], "\xc3\xa9": "\\u00e9\\ud83d\\ude00"} ')
    assert value == {"a": [1, -0.5, 1e5, True, None], "é": "é😀"}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | st.text('{}[]",:0123\\udNaI \n', max_size=40).map(str.encode))
def test_no_other_exception(data: bytes) -> None:
    try:
        loads(data)
    except JsonFault:
        pass
