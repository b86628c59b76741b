"""What a header says of a port: closed, canonical, and on ports alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.artifact import embedding
from embhub.artifact.derivation import BadDerivationError, parse_derivation, read_derivation
from embhub.errors import ArtifactError
from embhub.formats import tensors
from tests.support.ports import DERIVED, make_port
from tests.support.releases import make_embedding


def test_a_header_says_what_it_was_ported_from() -> None:
    made = make_port()
    assert made.derived_from == DERIVED
    assert embedding.parse(made.data).derived_from == DERIVED
    assert make_embedding().derived_from is None


def test_text_is_canonical_and_reads_back() -> None:
    assert read_derivation(DERIVED.to_text()) == DERIVED
    with pytest.raises(BadDerivationError, match="canonically"):
        read_derivation(json.dumps(DERIVED.to_dict(), indent=1))


@pytest.mark.parametrize(
    "member, value",
    [
        ("source", "0" * 63), ("source", "A" * 64), ("source_base", ""), ("source_base_name", "/home/x/base"),
        ("images", 1), ("images", 4097), ("images", True), ("images", "64"), ("seed", -1), ("seed", 2**53),
        ("steps", 0), ("guidance", -1.0), ("guidance", 1e9), ("resolution", 0), ("method", "train"),
        ("schema", "embhub.derivation/2"), ("patient", "4711"),
    ],
)  # fmt: skip
def test_what_a_port_does_not_need_is_refused(member: str, value: Any) -> None:
    with pytest.raises(BadDerivationError):
        parse_derivation({**DERIVED.to_dict(), member: value})


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(BadDerivationError):
        read_derivation(text)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda kids: st.lists(kids, max_size=3))
)
def test_any_value_is_read_or_refused(value: Any) -> None:
    for hostile in (value, {**DERIVED.to_dict(), "images": value}, {"schema": value}):
        with pytest.raises(BadDerivationError):
            parse_derivation(hostile)


def test_a_port_says_so_and_nothing_else_does() -> None:
    with pytest.raises(BadDerivationError, match="without being a port"):
        make_embedding(training={"tool": "embhub port"})
    port = make_port()
    values = dict(port.tensors)
    without = {name: text for name, text in port.metadata.items() if name != "embhub.derived_from"}
    with pytest.raises(ArtifactError):
        embedding.parse(tensors.serialize(values, without))
