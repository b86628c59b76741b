"""What a card allows: its own word, its licence, and what a person has to read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.cards import card
from embhub.cards.permission import MENTIONS, judge, judge_licence
from embhub.cards.readme import to_readme
from tests.support import cards


@pytest.mark.parametrize(
    ("licence", "standing"),
    [
        ("CC-BY-4.0", "allowed"),
        ("CC-BY-NC-SA-4.0", "allowed"),
        ("CC-BY-ND-4.0", "forbidden"),
        ("CC-BY-NC-ND-3.0-IGO", "forbidden"),
        ("NBPL-1.0", "allowed"),
        ("LicenseRef-Hospital", "ask"),
        ("LicenseRef-creativeml-openrail-m", "allowed"),
        ("CC-BY-ND-4.0 OR MIT", "allowed"),
        ("CC-BY-ND-4.0 AND MIT", "forbidden"),
        ("LicenseRef-Hospital OR CC-BY-ND-4.0", "ask"),
        ("(MIT OR CC-BY-ND-4.0) AND LicenseRef-Hospital", "ask"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "allowed"),
        ("MIT AND (CC-BY-ND-4.0 OR CC-BY-NC-ND-4.0)", "forbidden"),
        ("(MIT", "ask"),
        ("", "ask"),
    ],
)
def test_licences(licence: str, standing: str) -> None:
    assert judge_licence(licence) == standing


@given(st.lists(st.sampled_from(["MIT", "CC-BY-ND-4.0", "LicenseRef-A", "AND", "OR", "WITH", "(", ")"]), max_size=12))
def test_what_is_no_expression_is_never_allowed_by_accident(words: list[str]) -> None:
    """Whatever stands there, an answer comes, and without a free licence in it the answer is not yes."""
    standing = judge_licence(" ".join(words))
    assert standing in {"allowed", "ask", "forbidden"}
    assert standing != "allowed" or "MIT" in words


def said(**changes: object) -> str:
    return judge(card.parse(cards.complete(**changes))).standing


def test_the_card_s_own_word() -> None:
    assert said() == "allowed"
    assert said(synthetic_data="allowed") == "allowed"
    assert said(synthetic_data="forbidden") == "forbidden"
    found = judge(card.parse(cards.complete(synthetic_data="research-only")))
    assert found.standing == "allowed" and "research only" in found.conditions[0]


def test_no_word_of_the_card_overrules_its_licence() -> None:
    assert said(licence="CC-BY-ND-4.0", synthetic_data="allowed") == "forbidden"
    assert said(licence="LicenseRef-Own", synthetic_data="allowed") == "ask"


@pytest.mark.parametrize("word", MENTIONS)
def test_what_the_scope_mentions_a_person_reads(word: str) -> None:
    scope = f"Making {word.title()} of any kind."
    assert said(out_of_scope=scope) == "ask"
    assert said(out_of_scope=scope, synthetic_data="allowed") == "allowed"


def test_conditions_travel() -> None:
    conditions = judge(card.parse(cards.complete(licence="CC-BY-NC-SA-4.0"))).conditions
    assert [word for word in ("commercial", "same licence") if not any(word in text for text in conditions)] == []
    assert "commercial" in judge(card.parse(cards.complete(licence="PolyForm-Noncommercial-1.0.0"))).conditions[0]


def test_the_field_is_in_the_readme_and_cards_without_it_are_as_before() -> None:
    without, within = (to_readme(card.parse(cards.complete(synthetic_data=word))) for word in (None, "research-only"))
    assert b"synthetic_data" not in without and b"Data sets of images" not in without
    assert b"Data sets of images drawn with it: **research-only**." in within
    assert card.from_readme(within).synthetic_data == "research-only"
