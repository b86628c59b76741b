"""The record of a sheet of samples: taken for its own embedding alone, and what is said beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.cards import card, samples
from embhub.cards.card_schema import Samples
from embhub.cards.personal_data import personal_data_in_card
from embhub.copies.planted import KINDS, NOT_LOOKED_FOR
from embhub.errors import ArtifactError, EmbhubError, PrivacyError
from embhub.formats import safe_yaml
from tests.support import cards, claims
from tests.support.quick import examples

EMBEDDING, SHEET = "ab" * 32, "cd" * 32
RECORD = {
    "sha256": SHEET, "embedding": EMBEDDING, "images": 8, "prompt": "mri, <cspca>", "drawn_from": 3, "steps": 25,
    "guidance": 2.5, "copy_check": "no-copies-found",
}  # fmt: skip


def record(**changes: Any) -> bytes:
    return json.dumps({"schema": "embhub.sheet/1", **RECORD, **changes}).encode()


def read(data: bytes, claim: Any = "none") -> dict[str, Any]:
    return samples.read(data, sheet=SHEET, embedding=EMBEDDING, claim=claim)


def test_a_record_comes_back_and_the_card_takes_it() -> None:
    said = read(samples.write(Samples.model_validate(RECORD)))
    assert said == RECORD
    found = card.parse(cards.complete(samples=said))
    page = card.to_readme(found)
    assert card.from_readme(page) == found and personal_data_in_card(found) == []
    text = page.decode()
    assert f"![{samples.ALT}](samples.png)" in text and "none is of a patient" in text
    assert "Generated, not real: 8 images" in text and "publisher’s word" in text
    assert "nine in ten" not in text and "It did not look for: less than a fifth of an image" in text
    assert all(kind in text for kind in (*KINDS, *NOT_LOOKED_FOR))
    assert safe_yaml.load(page.split(b"---\n")[1])["embhub"]["samples"] == RECORD


def test_a_card_without_samples_is_the_same_bytes_as_ever() -> None:
    page = card.to_readme(card.parse(cards.complete()))
    assert b"samples" not in page and b"Samples" not in page


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (b"", ArtifactError, "cannot be read"),
        (record(schema="embhub.sheet/2"), ArtifactError, "not one of"),
        (record(nearest="P7.png"), ArtifactError, "cannot be read"),
        (record(copy_check="copies-suspected"), ArtifactError, "cannot be read"),
        (record(images=17), ArtifactError, "cannot be read"),
        (record(guidance="much"), ArtifactError, "cannot be read"),
        (record(embedding="ef" * 32), ArtifactError, "samples are of another embedding"),
        (record(sha256="ef" * 32), ArtifactError, "is another one"),
        (record(copy_check="not-run"), PrivacyError, "own privacy claim"),
        (record() + b" " * 20_000, ArtifactError, "cannot be read"),
    ],
)
def test_what_is_no_record_of_this_embedding(data: bytes, error: type[EmbhubError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        read(data)


def test_beside_a_claim_a_verdict_is_not_taken() -> None:
    claim = claims.make_claim()
    assert read(record(copy_check="not-run"), claim)["copy_check"] == "not-run"
    with pytest.raises(PrivacyError):
        read(record(), claim)


def test_a_person_in_the_prompt_is_found() -> None:
    found = card.parse(cards.complete(samples={**RECORD, "prompt": "scan of patient no 12345678"}))
    assert any("samples.prompt" in finding for finding in personal_data_in_card(found))


@settings(max_examples=examples(30))
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_no_digest_is_taken_for_a_person(one: bytes, other: bytes) -> None:
    found = card.parse(cards.complete(samples={**RECORD, "sha256": one.hex(), "embedding": other.hex()}))
    assert personal_data_in_card(found) == []


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_refused_or_read(data: bytes) -> None:
    with pytest.raises(EmbhubError):
        read(data)
