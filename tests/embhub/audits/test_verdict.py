"""The rule of the verdict at its very bounds, and which counts and figures a report shows: made-up results alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from embhub.audits import verdict
from embhub.audits.attack_figures import SHOWN_ON_FILE, AttackResult
from embhub.audits.report_facts import Group, are_published, has_figures, publish_counts
from embhub.audits.verdict import Decision, Guessed


@dataclass(frozen=True)
class Limits:
    auc: float = 0.55
    tpr: float | None = 0.05


@dataclass(frozen=True)
class Made:
    """An attack's result that found nothing."""

    name: str = "lira-shadows"
    kind: str = "attack"
    models: int = 8
    auc: float = 0.5
    auc_interval: tuple[float, float] = (0.4, 0.6)
    upper_limits: Limits | None = field(default_factory=Limits)
    p_value: float = 0.5
    on_coins: bool = True

    @property
    def smallest_auc(self) -> float:
        return 0.57


@dataclass(frozen=True)
class Planned:
    shadows: int = 8
    split: str = "by patient, held out before training"
    bounds: Any = field(default_factory=lambda: Limits(0.6, 0.1))


HEADLINE, OTHER, THIRD = Made(), Made("loss-shadows"), Made("rmia-shadows")
BLIND = Made("blind", kind="baseline", upper_limits=None)


def decide(*results: Made, headline: Made = HEADLINE, **changes: Any) -> Decision:
    facts: dict[str, Any] = {
        "suite": "standard", "unit": "patient", "units": (50, 45), "power": HEADLINE, "design": Planned(),
        "attempt": 1, "below": 0.5, "found_nothing": ["blind"], **changes,
    }  # fmt: skip
    return verdict.decide(headline, [headline, *results], facts.pop("found_nothing"), **facts)


def test_half_of_the_false_alarms_are_the_headlines_and_the_others_share_the_rest() -> None:
    assert verdict.limits_of_detection("a", ["a", "b", "c", "blind"]) == {"a": 0.025, "b": 0.0125, "c": 0.0125}
    assert verdict.limits_of_detection("a", ["a"]) == {"a": 0.025}
    assert verdict.limits_of_detection("a", ["a", "b"]) == {"a": 0.025, "b": 0.025}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"headline": replace(HEADLINE, p_value=0.025)}, "lira-shadows"),
        ({"headline": replace(HEADLINE, p_value=0.0251)}, None),
        ({"results": [replace(OTHER, p_value=0.0125), THIRD]}, "loss-shadows"),
        ({"results": [replace(OTHER, p_value=0.0126), THIRD]}, None),
        ({"results": [replace(OTHER, p_value=0.0126)], "found_nothing": ["blind", "rmia-shadows"]}, None),
        ({"results": [replace(OTHER, p_value=0.01), replace(THIRD, p_value=0.001)]}, "rmia-shadows"),
        ({"results": [replace(OTHER, p_value=0.001)], "headline": replace(HEADLINE, p_value=0.02)}, "lira-shadows"),
        ({"results": [replace(BLIND, p_value=0.0)]}, None),
    ],
)  # fmt: skip
def test_a_detection_is_at_its_limit_and_the_headlines_comes_first(changes: dict[str, Any], found: str | None) -> None:
    said = decide(*changes.pop("results", []), **changes)
    assert (said.verdict == "leak-detected") is (found is not None)
    assert said.attack == (found or "lira-shadows")


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({}, None),
        ({"suite": "quick"}, "the quick suite misses"),
        ({"design": Planned(shadows=7)}, "fewer than 8 shadows"),
        ({"design": Planned(split="named by the caller")}, "the caller named members"),
        ({"below": None}, "worse than guessing"),
        ({"below": 0.01}, "worse than guessing"),
        ({"below": 0.0101}, None),
        ({"results": [replace(OTHER, upper_limits=Limits(auc=0.6))]}, "0.60 is not ruled out for loss-shadows"),
        ({"results": [replace(OTHER, upper_limits=Limits(tpr=0.1))]}, "finding 10% at 1 % false alarms"),
        ({"results": [replace(OTHER, upper_limits=Limits(tpr=None))]}, "too few coins fell out"),
        ({"results": [replace(OTHER, upper_limits=None)]}, None),
    ],
)
def test_clean_is_below_every_bound(changes: dict[str, Any], doubt: str | None) -> None:
    said = decide(*changes.pop("results", []), **changes)
    assert said.verdict == ("insufficient-evidence" if doubt else "no-leak-detected")
    assert (doubt or "No leak was detected") in said.statement and said.limit == 0.025


@pytest.mark.parametrize(
    ("baseline", "doubt"),
    [
        ((0.5, 0.7), None),
        ((0.3, 0.5), None),
        ((0.51, 0.7), "differ by pixels alone"),
        ((0.3, 0.49), "differ by pixels alone"),
        (None, "no blind baseline"),
    ],
)
def test_a_leak_says_what_is_doubtful_of_the_split(baseline: tuple[float, float] | None, doubt: str | None) -> None:
    seen = [replace(BLIND, auc_interval=baseline)] if baseline else []
    text = decide(*seen, headline=replace(HEADLINE, p_value=0.001), found_nothing=[]).statement
    assert doubt in text and "would show as a leak too" in text if doubt else "But" not in text


@pytest.mark.parametrize(("unit", "held"), [("patient", "holds a patient's image"), ("image", "holds an image")])
def test_a_leak_says_who_could_tell(unit: str, held: str) -> None:
    assert held in decide(headline=replace(HEADLINE, p_value=0.001), unit=unit).statement


def test_the_statement_has_the_figures_of_the_worst_attack_and_of_the_attempt() -> None:
    text = decide(replace(OTHER, upper_limits=Limits(0.58, 0.07)), attempt=2).statement
    for part in ("confidence of 98.33 %", "AUC above 0.58", "more than 7.0%", "0.60 and 10%", "95 patients, in or out"):
        assert part in text
    quick = decide(suite="quick", design=Planned(shadows=0)).statement
    assert "50 patients inside and 45 outside the training set" in quick


@pytest.mark.parametrize(
    ("shown", "attack"),
    [({"vectors": 2.0}, None), ({"vectors": 2.01}, "vectors"), ({"vectors": 1.0, "patients": 2.5}, "patients"),
     ({"vectors": 3.0, "patients": 2.5}, "vectors"), ({"vectors": 1.0, "patients": 2.0}, None)],
)  # fmt: skip
def test_canaries_refute_a_claim_that_they_exceed(shown: dict[str, float], attack: str | None) -> None:
    guessed = {name: Guessed(100, epsilon) for name, epsilon in shown.items()}
    said = verdict.decide_mechanism(guessed, headline="vectors", claimed=2.0)
    assert (said.verdict, said.attack) == (("leak-detected" if attack else "bounded-by-claim"), attack or "vectors")
    assert ("made-up patients through private trainings" in said.statement) is ("patients" in shown)
    assert ("patients were not tried" in said.statement) is (attack is None and "patients" not in shown)
    assert attack is None or f"at most {2.5 * len(shown):g} % of audits" in said.statement


def test_counts_are_published_in_fives_from_five_on() -> None:
    assert publish_counts(Group(units=9, images=13), "patient") == Group(units=5, images=10)
    assert publish_counts(Group(units=5), "patient") == Group(units=5)
    assert publish_counts(Group(units=4), "canary") == Group(units=4)
    with pytest.raises(ValueError, match="too small"):
        publish_counts(Group(units=4, images=40), "patient")


@pytest.mark.parametrize(
    ("members", "nonmembers", "unit", "good"),
    [
        (Group(units=5), Group(units=10, images=15), "patient", True),
        (Group(units=0), Group(units=10), "patient", False),
        (Group(units=5), Group(units=11), "patient", False),
        (Group(units=5), Group(units=10, images=16), "patient", False),
        (Group(units=1), Group(units=3), "canary", True),
        (Group(units=0), Group(units=3), "canary", False),
    ],
)
def test_which_counts_are_such_as_are_published(members: Group, nonmembers: Group, unit: Any, good: bool) -> None:
    assert are_published(members, nonmembers, unit) is good


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (Made(), True),
        (Made(SHOWN_ON_FILE, on_coins=False), True),
        (Made("loss", on_coins=False, p_value=0.01), True),
        (Made("loss", on_coins=False, p_value=0.0101), False),
        (replace(BLIND, on_coins=False, auc_interval=(0.5, 0.6), p_value=0.0), False),
        (replace(BLIND, on_coins=False, auc_interval=(0.4, 0.5), p_value=0.0), False),
        (replace(BLIND, on_coins=False, auc_interval=(0.51, 0.6), p_value=0.0), True),
    ],
)
def test_which_figures_are_shown(result: Made, shown: bool) -> None:
    assert has_figures(cast("AttackResult", result), {"loss": 0.01, "blind": 0.01}) is shown
