"""Figures of one attack, and what an audit of that size can and cannot show; derived from scores alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

from embhub.audits import statistics
from embhub.audits.one_run import audit_coins
from embhub.audits.verdict import ALPHA

DIGITS = 6  # significant digits of a published number
RATES = (0.1, 0.01, 0.001)  # false-positive rates reported, where the number of non-members carries them
MADE_UP_PATIENTS = "mechanism-patients"
FAIR_COINS = frozenset({"lira-shadows", "mechanism-canaries", MADE_UP_PATIENTS})  # whose units went in by fair coins
BASELINES = frozenset({"blind"})  # checks of the split: they never see the embedding, and decide no verdict
PAPERS: Mapping[str, str] = {
    "loss": "Yeom et al. 2018, arXiv 1709.01604; for diffusion models Matsumoto et al. 2023, arXiv 2302.03262",
    "loss-difference": "loss without the embedding minus loss with it; after Zhai et al. 2024, arXiv 2405.14800",
    "lira-shadows": "Carlini et al. 2022, arXiv 2112.03570: offline LiRA against shadow embeddings",
    "lira-artifact": "Carlini et al. 2022, arXiv 2112.03570: offline LiRA against the embedding itself",
    "clid": "Zhai et al. 2024, arXiv 2405.14800: conditional likelihood discrepancy, the condition shortened four ways",
    "secmi": "Duan et al. 2023, arXiv 2302.01316: error of one deterministic step forth and back",
    "pia": "Kong et al. 2023, arXiv 2305.18355: noise predicted at the start, and again",
    "gradient-alignment": "after Nasr et al. 2019, arXiv 1812.00910, and Pang et al. 2023, arXiv 2308.06405",
    "extraction": "after Carlini et al. 2023, arXiv 2301.13188: distance to the nearest of 32 drawn images",
    "mechanism-canaries": "Steinke et al. 2023, arXiv 2305.08846: made-up vectors through the privatising code",
    MADE_UP_PATIENTS: "Steinke et al. 2023, arXiv 2305.08846: made-up patients, each through a training of her own",
    "blind": "ridge regression on coarse pixels, without the embedding: a check of the split, not an attack",
}

Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
Words = Annotated[str, Field(max_length=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Score = Annotated[float, Field(allow_inf_nan=False)]
Scores = Annotated[tuple[Score, ...], FailFast(), Field(min_length=1, max_length=100_000)]
Range = tuple[Share, Share]


class Strict(BaseModel):
    """Immutable; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, allow_inf_nan=False)


class Rate(Strict):
    """True-positive rate at a false-positive rate, with its exact interval; null, and why, where too few carry it."""

    fpr: Share
    tpr: Share | None
    interval: Range | None
    reason: Words | None = None


class Epsilon(Strict):
    """Lower bound of epsilon at a threshold fixed blind to membership, Clopper-Pearson, 5 % a side."""

    lower_bound: Annotated[float, Field(ge=0)]
    delta: Share
    true_positives: Count
    false_positives: Count


class AttackResult(Strict):
    """Scores and figures of one attack; `models` is the number of trained embeddings that the scores are pooled over.

    `auc_interval` can be recomputed by anyone (Newcombe's method 5); `auc_interval_by_patient` is the patient-cluster
    bootstrap, for which one must know which scores belong together.
    """

    name: Name
    paper: Words
    kind: Literal["attack", "baseline"] = "attack"
    models: Annotated[int, Field(ge=1, le=1000)] = 1
    member_scores: Scores
    nonmember_scores: Scores
    auc: Share
    auc_interval: Range
    auc_interval_by_patient: Range | None = None
    p_value: Share
    tpr_at_fpr: tuple[Rate, ...]
    epsilon: Epsilon

    @property
    def units(self) -> tuple[int, int]:
        """Units a class behind one trained embedding."""
        return len(self.member_scores) // self.models, len(self.nonmember_scores) // self.models


class Coins(Strict):
    """What the coins of the headline's shadow targets refute: each unit of each target went in by a fair coin.

    Steinke et al. 2023, arXiv 2305.08846; `lower_bound_gaussian` holds for mechanisms whose trade-off curve is a
    Gaussian's, Mahloujifar et al. 2024, arXiv 2410.22235.
    """

    coins: Count
    guesses: Count
    correct: Count
    delta: Share
    lower_bound: Annotated[float, Field(ge=0)]
    lower_bound_gaussian: Annotated[float, Field(ge=0)]


class Power(Strict):
    """The most that the headline attack could have shown, and the least that it would have seen.

    `largest_epsilon` is what a perfect attack on so many units would certify; `smallest_auc` is the true AUC that is
    detected four times in five.
    """

    largest_epsilon: Annotated[float, Field(ge=0)]
    smallest_auc: Share


def measure(
    *,
    name: str,
    models: int,
    member_scores: tuple[float, ...],
    nonmember_scores: tuple[float, ...],
    auc_interval_by_patient: tuple[float, float] | None,
) -> AttackResult:
    """Every figure of an attack from its published scores."""
    area = statistics.auc(member_scores, nonmember_scores)
    low, high = statistics.auc_interval(area, len(member_scores), len(nonmember_scores))
    epsilon = statistics.epsilon_bound(member_scores, nonmember_scores)
    return AttackResult(
        name=name,
        paper=PAPERS.get(name, ""),
        kind="baseline" if name in BASELINES else "attack",
        models=models,
        member_scores=member_scores,
        nonmember_scores=nonmember_scores,
        auc=rounded(area),
        auc_interval=(rounded(low), rounded(high)),
        auc_interval_by_patient=auc_interval_by_patient,
        p_value=rounded(statistics.p_value(member_scores, nonmember_scores)),
        tpr_at_fpr=tuple(_rate(member_scores, nonmember_scores, fpr) for fpr in RATES),
        epsilon=Epsilon(
            lower_bound=rounded(epsilon.lower_bound),
            delta=statistics.DELTA,
            true_positives=epsilon.true_positives,
            false_positives=epsilon.false_positives,
        ),
    )


def _rate(members: tuple[float, ...], nonmembers: tuple[float, ...], fpr: float) -> Rate:
    if not statistics.carries(fpr, len(nonmembers)):
        needed = math.ceil(1 / fpr)
        return Rate(fpr=fpr, tpr=None, interval=None, reason=f"needs {needed} non-members, there are {len(nonmembers)}")
    hits = statistics.hits_at(members, nonmembers, fpr)
    low, high = statistics.proportion_interval(hits, len(members))
    return Rate(fpr=fpr, tpr=rounded(hits / len(members)), interval=(rounded(low), rounded(high)))


def count_coins(headline: AttackResult) -> Coins | None:
    """The bounds from the headline's coins; None where it was not over shadow targets, whose coins alone are fair."""
    if headline.name not in FAIR_COINS:
        return None
    found = audit_coins(headline.member_scores, headline.nonmember_scores)
    return Coins(
        coins=found.coins,
        guesses=found.guesses,
        correct=found.correct,
        delta=statistics.DELTA,
        lower_bound=rounded(found.lower_bound),
        lower_bound_gaussian=rounded(found.lower_bound_gaussian),
    )


def count_patients(attacks: Sequence[AttackResult]) -> Coins | None:
    """The bounds from the coins of made-up patients; None where none went through trainings."""
    return next((count_coins(result) for result in attacks if result.name == MADE_UP_PATIENTS), None)


def limits_of(headline: AttackResult) -> Power:
    """The power of an audit, from the number of its headline's scores."""
    inside, outside = len(headline.member_scores), len(headline.nonmember_scores)
    return Power(
        largest_epsilon=rounded(statistics.largest_epsilon(inside, outside)),
        smallest_auc=rounded(statistics.smallest_auc(inside, outside, alpha=ALPHA)),
    )


def published(scores: Sequence[float]) -> tuple[float, ...]:
    """Sorted, so that it is forgotten whose they are, and rounded."""
    return tuple(sorted(rounded(float(score)) for score in scores))


def rounded(value: float) -> float:
    """The number with six significant digits."""
    return float(f"{value:.{DIGITS}g}")
