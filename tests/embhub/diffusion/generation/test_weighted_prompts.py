"""Prompts with weights, as a person types them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.diffusion.generation.generation import as_parts
from embhub.diffusion.generation.weighted_prompts import MOST_WEIGHT, Part, check_words, parse_part, settle_parts
from embhub.errors import UsageError

WEIGHTS = st.floats(-MOST_WEIGHT, MOST_WEIGHT)
PROMPTS = st.text(min_size=1, max_size=40).filter(lambda text: text.strip())


@pytest.mark.parametrize(
    ("typed", "prompt", "weight"),
    [
        ("healthy", "healthy", 1.0),
        ("healthy chest, <normal>:0.3", "healthy chest, <normal>", 0.3),
        ("mri: t2, <cspca>:0.7", "mri: t2, <cspca>", 0.7),
        ("mri: t2, <cspca>", "mri: t2, <cspca>", 1.0),
        ("field: 1.5 tesla", "field: 1.5 tesla", 1.0),
        ("1.5:1", "1.5", 1.0),
        ("ratio 1:2:1", "ratio 1:2", 1.0),
        ("stones:-.5", "stones", -0.5),
        ("stones:+2e0", "stones", 2.0),
        ("information:infiltrate", "information:infiltrate", 1.0),
        ("ends with a colon:", "ends with a colon:", 1.0),
    ],
)
def test_a_weight_follows_the_last_colon(typed: str, prompt: str, weight: float) -> None:
    assert parse_part(typed) == Part(prompt, weight)


@pytest.mark.parametrize("typed", ["a:0,3", "a:1.5T", "a:nan", "a:inf", "a:-Infinity", "a:1e999", "a:101", "a:0x1"])
def test_a_weight_that_is_none(typed: str) -> None:
    with pytest.raises(UsageError, match="weight"):
        parse_part(typed)


@pytest.mark.parametrize("typed", ["", "  ", ":0.5", " :1"])
def test_a_weight_without_a_prompt(typed: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        parse_part(typed)


@given(PROMPTS, WEIGHTS)
def test_what_was_written_is_read_again(prompt: str, weight: float) -> None:
    assert parse_part(f"{prompt}:{weight!r}") == Part(prompt.strip(), weight)


@given(st.text(max_size=60))
def test_any_text_is_a_part_or_a_clear_error(text: str) -> None:
    try:
        part = parse_part(text)
    except UsageError as error:
        assert error.hint
    else:
        assert part.prompt and math.isfinite(part.weight)
        assert text.strip().startswith(part.prompt)


def test_what_does_nothing_is_left_out_and_what_is_equal_is_one() -> None:
    settled = settle_parts([Part("a", 0.5), Part("b", 0), Part("c", -1), Part("a", 0.5)])
    assert settled == (Part("a", 1.0), Part("c", -1))
    with pytest.raises(UsageError, match="nothing to generate"):
        settle_parts([Part("a", 1), Part("a", -1)])


@pytest.mark.parametrize("weight", ["0.5", None, [1.0]])
def test_a_weight_of_another_type(weight: Any) -> None:
    with pytest.raises(UsageError, match="weight"):
        Part("lung", weight)


@pytest.mark.parametrize("given", [["lung", "chest"], [("lung", 0.5, 1)], [("lung",)]])
def test_prompts_that_are_no_pairs(given: Any) -> None:
    with pytest.raises(UsageError, match="prompt and weight"):
        as_parts(given)


@pytest.mark.parametrize("prompts", [["lung, <a>"], ["lung, {}"], ["<a> twice <a>", "lung"], ["3 < 4, <a>, a > b"]])
def test_words_that_an_embedding_supplies(prompts: list[str]) -> None:
    check_words(prompts, ["<a>"])


@pytest.mark.parametrize(
    ("prompts", "tokens", "said"),
    [
        (["lung"], ["<a>"], "does not mention <a>"),
        (["lung, <a>"], [], "no embedding supplies <a>"),
        (["lung, <a>, <A>"], ["<a>"], "no embedding supplies <A>"),
        (["lung, <a>", "<b>"], ["<a>"], "no embedding supplies <b>"),
    ],
)
def test_words_that_nothing_supplies(prompts: list[str], tokens: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_words(prompts, tokens)


def test_a_base_may_have_words_of_its_own() -> None:
    check_words(["lung, <own>"], [], knows={"<own>"}.__contains__)
