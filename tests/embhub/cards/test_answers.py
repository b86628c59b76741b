"""Answers on one line become plain data that the card takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.cards import answers, card
from embhub.cards.card_schema import REQUIRED
from tests.support import cards


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        ("description", " A focus. ", "A focus."),
        ("authors", "Radiology, Pathology", ["Radiology", "Pathology"]),
        ("modality", "MR, CT", ["MR", "CT"]),
        ("anatomy", "RadLex RID343 prostate", [{"system": "RadLex", "code": "RID343", "display": "prostate"}]),
        ("anatomy", "RID343 prostate gland", [{"system": "RadLex", "code": "RID343", "display": "prostate gland"}]),
        (
            "finding",
            "SNOMED CT 399068003 prostate cancer; local c1 csPCa",
            [
                {"system": "SNOMED CT", "code": "399068003", "display": "prostate cancer"},
                {"system": "local", "code": "c1", "display": "csPCa"},
            ],
        ),
        ("anatomy", "Chest", [{"system": "RadLex", "code": "RID1243", "display": "thorax"}]),
        (
            "anatomy",
            "radlex rib; RID343",
            [
                {"system": "RadLex", "code": "RID2471", "display": "rib"},
                {"system": "RadLex", "code": "RID343", "display": "prostate"},
            ],
        ),
        ("finding", "viral pneumonia", [{"system": "RadLex", "code": "RID34769", "display": "viral pneumonia"}]),
        ("finding", "none", []),
        ("labels", "reports; two radiologists", {"source": "reports", "annotators": "two radiologists"}),
        ("deidentification", "113100, 113101; manual", {"profile": ["113100", "113101"], "pixel_review": "manual"}),
        ("n_patients", "80", 80),
        ("n_patients", "50-100", "50-100"),
        ("licence", "creativeml-openrail-m", "creativeml-openrail-m"),
        ("base_model.family", "sd1", "sd1"),
    ],
)
def test_what_is_typed_is_read(field: str, typed: str, value: Any) -> None:
    assert answers.read(field, typed) == value
    if "." not in field:
        card.parse(cards.complete(**{"population": None, field: value}))


@pytest.mark.parametrize(
    ("field", "typed", "reason"),
    [
        ("modality", "XX", "not a DICOM image modality"),
        ("anatomy", "thrax", "RID1243 thorax"),
        ("anatomy", "pneumonia", "no anatomy is known here by the word"),
        ("anatomy", "SNOMED CT prostate", "not a code of SNOMED CT"),
        ("finding", "SNOMED CT 399068003", "say in words what 399068003"),
        ("finding", "RID99999999", "say in words what RID99999999"),
        ("n_patients", "many", "whole number"),
        ("licence", "free", "not an SPDX licence"),
        ("description", "todo", "placeholder"),
        ("deidentification", "113100", "pixel_review"),
        ("labels", "reports", "annotators"),
        ("base_model.family", "Not A Family", "pattern"),
    ],
)
def test_what_is_no_answer_is_refused_with_a_reason(field: str, typed: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        answers.read(field, typed)


@pytest.mark.parametrize("field", [name for name in REQUIRED if answers.example(name)])
def test_every_example_is_an_answer(field: str) -> None:
    answers.read(field, answers.example(field).partition("; none")[0])


@given(field=st.sampled_from([*REQUIRED, "base_model.licence", "base_model.revision"]), typed=st.text(max_size=40))
def test_nothing_that_is_typed_ends_otherwise(field: str, typed: str) -> None:
    try:
        answers.read(field, typed)
    except ValueError as error:
        assert str(error)
