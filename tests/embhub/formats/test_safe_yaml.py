"""YAML as data: what a person types as text stays text, and no document runs, grows or repeats itself."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from embhub.formats import safe_yaml
from embhub.formats.safe_yaml import YamlError

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
scalars = (
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e6, 1e6).map(lambda x: round(x, 3)) | texts
)
documents = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


@given(documents)
def test_plain_data_round_trips_here_and_through_pyyaml(value: Any) -> None:
    value = _encodable(value)
    data = safe_yaml.dump(value)
    assert safe_yaml.load(data, limit=10**9) == value
    assert yaml.safe_load(data) == value


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "ignore").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    "text", ["no", "yes", "on", "2024-01-31", "12:30", "50-100", "0o17", "0x1f", "1_000", "<cspca>"]
)
def test_what_looks_like_text_stays_text(text: str) -> None:
    assert safe_yaml.load(f"a: {text}".encode()) == {"a": text}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: &x {k: v}\nb: {<<: *x}", "aliases"),
        ("a: 1\na: 2", "twice"),
        ("a: {b: 1, b: 2}", "twice"),
        ("!!python/object/apply:os.system ['true']", "constructor"),
        ("a: !!python/name:os.system", "constructor"),
        ("[a]: 1", "plain text"),
        ("a: [1", "line"),
        (r'a: "\UFFFFFFFF"', "not valid"),
        ("a: 1\n---\nb: 2", "document"),
        ("a: \x07", "valid"),
        ("[" * 5_000, "deep"),
        ("- " * 4_000, "deep"),
        ("a: [" + "x," * 10_000 + "]", "marks"),
        ("#\n" * 10_001, "marks"),
        ("a: " + "b" * 70_000, "at most"),
        ("a: !!float .nan", "no float"),
        ("a: !!float .inf", "no float"),
        ("a: !!float 1:30", "no float"),
        ("a: 1.0e+999", "finite"),
        ("a: !!int " + "1:" * 4_000 + "1", "no int"),
        ("a: !!int 0x1f", "no int"),
        ("a: !!bool yes", "no bool"),
        ("a: !!null x", "no null"),
        ("a: !!timestamp 2001-01-01", "constructor"),
        ("a: !!binary YQ==", "constructor"),
        ("a: !!set {b}", "constructor"),
        ("a: !!omap [b: 1]", "constructor"),
        ("!!merge m: {b: 1}", "plain text"),
        ('a: "\\ud800"', "surrogate"),
        ('"\\udfff": 1', "surrogate"),
        ('a: "b\\0c"', "NUL"),
        ('"\\0": 1', "NUL"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    with pytest.raises(YamlError, match=problem):
        safe_yaml.load(text.encode())


def test_what_is_read_is_json_too() -> None:
    value = safe_yaml.load(b"a: !!float 1.5\nb: !!int 7\nc: !!str 8\nd: !!seq [!!bool true, !!null null]\n2: 1.0e+20")
    assert value == {"a": 1.5, "b": 7, "c": "8", "d": [True, None], 2: 1e20}
    json.dumps(value, allow_nan=False)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(YamlError, match="UTF-8"):
        safe_yaml.load(b"a: \xff")


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n0\t", max_size=60))
def test_noise_is_never_another_exception(text: str) -> None:
    with suppress(YamlError):
        safe_yaml.load(text.encode())
