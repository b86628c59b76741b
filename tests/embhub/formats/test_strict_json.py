"""What two JSON readers could read differently is not read."""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.formats import strict_json
from embhub.formats.strict_json import JsonError


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "a": 1}', "twice"),
        (b'{"x": [{"a": 1, "b": 2, "a": 3}]}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "range"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b"{} {}", "not JSON"),
        (b"{} x", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 40_000, "deeply"),
        (b"[" * 100_000, "more than"),
        (b"[" * 80 + b"]" * 80, "deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" + b" " * 200_000 + b"]", "at most"),
    ],
)
def test_ambiguous_documents_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(JsonError, match=reason):
        strict_json.read(data, limit=150_000)


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"audits":' + b"[" * 200_000, b'["[\\"", ' * 65])
def test_deep_nesting_is_refused_before_it_is_parsed(data: bytes) -> None:
    """A parser at Python's recursion limit may collect garbage there, whose finalizers then fail."""
    for read in (strict_json.loads, lambda given: strict_json.read(given, limit=10**6, nodes=10**6)):
        with pytest.raises(JsonError, match="deeply") as refused:
            read(data)
        assert refused.value.__cause__ is None


@given(st.recursive(st.text('[]{}\\"a', max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=20))
def test_brackets_in_strings_do_not_nest(value: object) -> None:
    data = json.dumps(["[" * 100, value])
    assert strict_json.loads(data) == strict_json.loads(data.encode()) == ["[" * 100, value]


@pytest.mark.parametrize("open_,close", [(b"[", b"]"), (b'{"a":', b"}")])
def test_64_levels_are_read_and_65_are_not(open_: bytes, close: bytes) -> None:
    strict_json.read(open_ * 64 + b"0" + close * 64, limit=1_000)
    for read in (strict_json.loads, lambda given: strict_json.read(given, limit=1_000)):
        with pytest.raises(JsonError, match="deeply"):
            read(open_ * 65 + b"0" + close * 65)


def test_a_name_that_comes_twice_among_many_is_found_fast() -> None:
    members = ",".join(f'"{number:x}":0' for number in range(50_000))
    started = time.process_time()
    with pytest.raises(JsonError, match="'zz' stands twice"):
        strict_json.read(f'{{{members},"zz":0,"zz":0}}'.encode(), limit=1_000_000, nodes=60_000)
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    "part", [b"[],", b"{},", b'{"":0},', b"[0],", b"0,", pytest.param(b'"",', marks=pytest.mark.thorough)]
)
def test_no_document_costs_much_more_than_its_bytes(part: bytes) -> None:
    data = b"[" + part * (6_000_000 // len(part)) + b"0]"
    tracemalloc.start()
    try:
        with pytest.raises(JsonError, match="more than"):
            strict_json.read(data, limit=len(data))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_what_stands_in_strings_is_not_counted() -> None:
    text = '[{:,\\"' * 100
    assert strict_json.read(json.dumps([text, {"a": text}]).encode(), limit=10_000, nodes=3, items=1) == [
        text,
        {"a": text},
    ]
    with pytest.raises(JsonError, match="more than 2 objects"):
        strict_json.read(b'[{"a":0}]', limit=100, nodes=2)
    with pytest.raises(JsonError, match="more than 1 commas"):
        strict_json.read(b"[0,0,0]", limit=100, items=1)


@given(st.binary(max_size=100))
def test_the_count_ends_whatever_comes(data: bytes) -> None:
    with contextlib.suppress(JsonError):
        strict_json.read(data, limit=100, nodes=1, items=0)


def test_object_is_asked_for() -> None:
    with pytest.raises(JsonError, match="not a JSON object"):
        strict_json.read_object(b"[]", limit=10)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_written_is_read(value: object) -> None:
    text = json.dumps(value).encode()
    try:
        assert strict_json.read(text, limit=10_000_000) == value
    except JsonError as error:
        assert "surrogate" in str(error) or "deeply" in str(error)
