"""Organs and findings are found by word, and no code is proposed that RadLex gives another name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.cards import radlex
from embhub.cards.card_schema import Code


@pytest.mark.parametrize(
    ("field", "typed", "code"),
    [
        ("anatomy", "thorax", "RID1243"),
        ("anatomy", " Chest ", "RID1243"),
        ("anatomy", "prostate", "RID343"),
        ("finding", "viral pneumonia", "RID34769"),
        ("finding", "Mass", "RID3874"),
        ("finding", "metastasis", "RID5231"),
    ],
)
def test_a_word_finds_its_code(field: str, typed: str, code: str) -> None:
    found = radlex.find(field, typed)
    assert found is not None and found.code == code
    assert radlex.find_name(code) == found.name


@pytest.mark.parametrize(
    ("field", "typed", "name"),
    [
        ("anatomy", "thrax", "thorax"),
        ("anatomy", "lobe of left", "upper lobe of left lung"),
        ("finding", "pneumona", "pneumonia"),
        ("finding", "pneumothorax of a child", "pneumothorax"),
    ],
)
def test_what_is_near_is_proposed(field: str, typed: str, name: str) -> None:
    assert radlex.find(field, typed) is None
    assert name in [term.name for term in radlex.propose(field, typed)]


def test_nothing_is_near_to_nonsense_and_few_are_near_to_anything() -> None:
    assert radlex.propose("anatomy", "") == radlex.propose("finding", "qqqq") == ()
    assert radlex.propose("title", "thorax") == radlex.terms("title") == ()
    assert len(radlex.propose("anatomy", "a")) == radlex.MOST


def test_the_table_has_each_code_and_each_word_once() -> None:
    every = [(field, term) for field in ("anatomy", "finding") for term in radlex.terms(field)]
    assert len(every) >= 300 and len({term.code for _, term in every}) == len(every)
    for field, term in every:
        Code(code=term.code, display=term.name)
        for word in (term.name, *filter(None, term.others.split(", "))):
            assert radlex.find(field, word) == term, f"{word} stands for two codes"


def test_organs_in_a_text_are_the_longest_that_it_names() -> None:
    assert [term.name for term in radlex.mentioned_organs("Frontal chest X-ray; upper lobe of left lung, kidney")] == [
        "thorax", "upper lobe of left lung", "kidney",
    ]  # fmt: skip
    assert radlex.mentioned_organs("a heartbeat, {}") == []


@given(field=st.sampled_from(["anatomy", "finding"]), typed=st.text(max_size=40))
def test_any_text_is_looked_up(field: str, typed: str) -> None:
    for term in radlex.propose(field, typed):
        assert term in radlex.terms(field)
