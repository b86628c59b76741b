"""Front matter is data: what cannot be read is said, what could explode is not read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub_registry.admission.listing import describe, front_matter
from embhub_registry.admission.rules import Admitted


def test_front_matter() -> None:
    assert front_matter(b"---\nlicense: mit\n---\n# x") == ({"license": "mit"}, None)
    assert front_matter(b"---\r\nlicense: mit\n---\r\n") == ({"license": "mit"}, None)
    assert front_matter(b"---\ntags:\n---\n") == ({"tags": None}, None)
    assert front_matter(b"# only words") == ({}, None)


@pytest.mark.parametrize(
    "text",
    [
        b"a: [",
        b"- a\n- b",
        b"a: 1\na: 2",
        b"a: &x [1]\nb: *x",
        b"!!python/object:os.system {}",
        b"\xff: 1",
        b"tags: 5",
        b"tags: word",
        b"tags: {a: b}",
        b"x: !!float .nan",
        b'x: "\\ud800"',
        b"x: !!timestamp 2001-01-01",
    ],
)
def test_front_matter_that_is_refused(text: bytes) -> None:
    values, problem = front_matter(b"---\n" + text + b"\n---\n")
    assert values == {} and problem


@given(st.binary(max_size=200))
def test_any_readme_can_be_described(data: bytes) -> None:
    shown = describe("a/b", {"README.md": b"---\n" + data + b"\n---\n"}, Admitted(None, None))
    json.dumps(shown.summary, allow_nan=False).encode()
    shown.text.encode()
    assert shown.summary["release"] is None and "a/b" in shown.text


def test_odd_front_matter_does_not_become_a_tag() -> None:
    readme = b"---\ntags: [ok, 3, {a: b}]\nlicense: [x]\nbase_model: {}\n---\n"
    assert describe("a/b", {"README.md": readme}, Admitted(None, None)).tags == ("ok",)


def test_long_words_do_not_become_tags() -> None:
    readme = b"---\ntags: [ok, " + b"x" * 5_000 + b"]\nlicense: " + b"y" * 5_000 + b"\n---\n"
    assert describe("a/b", {"README.md": readme}, Admitted(None, None)).tags == ("ok",)
