"""A second accountant's word on a claim: agreement follows from figures, and no failure is ever agreement."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from embhub.errors import PrivacyError
from embhub.privacy.second_opinion import Bounds, ClaimBelowBoundError, SecondOpinion, compare

BOUNDS = Bounds(lower=1.98, upper=2.02, eps_error=0.02, delta_error=1e-8)


def ask(**changes: Any) -> SecondOpinion:
    facts = {"version": "1.6.0", "delta": 1e-5, "epsilon": 2.0, "epsilon_rdp": 2.2, "rdp": 2.19, "found": BOUNDS}
    return compare(**{**facts, **changes})


@pytest.mark.parametrize(
    ("epsilon", "agreement"), [(1.98, "agrees"), (2.0, "agrees"), (2.02, "agrees"), (2.0201, "above"), (9.0, "above")]
)
def test_agreement_is_lying_within_the_bounds(epsilon: float, agreement: str) -> None:
    opinion = ask(epsilon=epsilon)
    assert opinion.agreement == agreement
    assert ("agrees" in opinion.sentence) is (agreement == "agrees")
    assert SecondOpinion.model_validate_json(opinion.model_dump_json()) == opinion


def test_an_epsilon_below_the_lower_bound_is_refused() -> None:
    with pytest.raises(ClaimBelowBoundError, match=r"epsilon 1\.9799 is below 1\.98") as caught:
        ask(epsilon=1.9799)
    assert isinstance(caught.value, PrivacyError) and caught.value.exit_code == 6 and caught.value.hint


def test_no_bounds_are_no_opinion_even_where_rdp_is_the_same() -> None:
    opinion = ask(found="Discrete mean differs", rdp=2.2)
    assert (opinion.agreement, opinion.prv_lower, opinion.prv_upper) == ("none", None, None)
    assert opinion.sentence == "no second opinion, because Discrete mean differs"


def test_of_a_study_both_figures_are_told() -> None:
    both = ask().model_copy(update={"against_sites": ask(epsilon=2.01)})
    assert both.sentence == f"{ask().sentence}. Against another site of the study: {ask(epsilon=2.01).sentence}"
    assert SecondOpinion.model_validate_json(both.model_dump_json()) == both


@pytest.mark.parametrize(
    "forged",
    [
        {"agreement": "agrees", "epsilon": 3.0},
        {"agreement": "above"},
        {"epsilon": 1.0},
        {"prv_lower": None, "prv_upper": None, "eps_error": None, "delta_error": None, "reason": "it failed"},
        {"reason": "it failed"},
        {"prv_upper": None},
        {"prv_upper": float("inf")},
        {"prv_lower": float("nan")},
    ],
    ids=str,
)
def test_a_record_that_contradicts_itself_is_not_read(forged: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SecondOpinion.model_validate({**ask().model_dump(), **forged})
