"""Figures of one attack, and what an audit of that size can and cannot show.

All of them follow from the order of the labels (`embhub.audits.orders`), which is what a report publishes of scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from embhub.audits import orders, rates, statistics
from embhub.audits.one_run import audit_coins
from embhub.audits.verdict import ALPHA

DIGITS = 6  # significant digits of a figure
MADE_UP_PATIENTS = "mechanism-patients"
CANARIES = frozenset({"mechanism-canaries", MADE_UP_PATIENTS})  # attacks on what was made up for the test
# Attacks whose units went in by independent fair coins, so that right guesses bound epsilon.
FAIR_COINS = frozenset({"lira-shadows"}) | CANARIES
BASELINES = frozenset({"blind"})  # checks of the split: they never see the embedding, and decide no verdict
PAPERS: Mapping[str, str] = {
    "loss": "Yeom et al. 2018, arXiv 1709.01604; for diffusion models Matsumoto et al. 2023, arXiv 2302.03262",
    "loss-difference": "loss without the embedding minus loss with it; after Zhai et al. 2024, arXiv 2405.14800",
    "lira-shadows": "Carlini et al. 2022, arXiv 2112.03570: offline LiRA against shadow embeddings",
    "lira-artifact": "Carlini et al. 2022, arXiv 2112.03570: offline LiRA against the embedding itself",
    "rmia": "Zarifzadeh et al. 2024, arXiv 2312.03262: likelihood ratio beside those of the other images",
    "lira-online": "Carlini et al. 2022, arXiv 2112.03570: online LiRA, shadows with the image against those without",
    "dataset-inference": "after Dubiński et al. 2025, arXiv 2411.12858: a scorer of several attacks, fitted on shadows",
    "clid": "Zhai et al. 2024, arXiv 2405.14800: conditional likelihood discrepancy, the condition shortened four ways",
    "secmi": "Duan et al. 2023, arXiv 2302.01316: error of one deterministic step forth and back",
    "pia": "Kong et al. 2023, arXiv 2305.18355: noise predicted at the start, and again",
    "gradient-alignment": "after Nasr et al. 2019, arXiv 1812.00910, and Pang et al. 2023, arXiv 2308.06405",
    "fcre": "Zhao et al. 2025, arXiv 2506.14919: error of reconstruction in the middle frequencies",
    "extraction": "after Carlini et al. 2023, arXiv 2301.13188: distance to the nearest of 32 drawn images",
    "re-identification": "after Packhäuser et al. 2022, arXiv 2103.08562: a net that knows patients, and drawn images",
    "mechanism-canaries": "Steinke et al. 2023, arXiv 2305.08846: made-up vectors through the privatising code",
    MADE_UP_PATIENTS: "Steinke et al. 2023, arXiv 2305.08846: made-up patients, each through a training of her own",
    "blind": "ridge regression on coarse pixels, without the embedding: a check of the split, not an attack",
}

Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
Words = Annotated[str, Field(max_length=3000)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Order = Annotated[str, Field(pattern=r"^[mn()]+$", max_length=300_000)]
Bins = Annotated[tuple[tuple[Count, Count], ...], Field(min_length=1, max_length=orders.BINS)]
Range = tuple[Share, Share]


class Strict(BaseModel):
    """Immutable; unknown fields are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, populate_by_name=True, allow_inf_nan=False, defer_build=True
    )


class Rate(Strict):
    """True-positive rate at a false-positive rate, with a 95 % interval; null, and why, where too few carry it.

    The interval holds although the threshold is estimated (`embhub.audits.rates`).
    """

    fpr: Share
    tpr: Share | None
    interval: Range | None
    reason: Words | None = None


class UpperLimits(Strict):
    """One-sided 95 % upper limits; `tpr` is the true-positive rate at 1 % false positives, null where none is known."""

    auc: Share
    tpr: Share | None


class Epsilon(Strict):
    """How far apart the two sides stand, as an epsilon: log of (lowest true-positive over highest false-positive rate).

    The threshold is fixed blind to membership; Clopper-Pearson limits, 5 % a side, so 90 % together. Units of one
    training are not independent trials, so this is a figure of effect. Only `Coins` bound epsilon by a theorem.
    """

    lower_bound: Annotated[float, Field(ge=0)]
    delta: Share
    true_positives: Count
    false_positives: Count


class Coins(Strict):
    """What guesses of independent fair coins refute: each unit went into each training by a coin of its own.

    Steinke et al. 2023, arXiv 2305.08846; `lower_bound_gaussian` holds for mechanisms whose trade-off curve is a
    Gaussian's, Mahloujifar et al. 2024, arXiv 2410.22235.
    """

    coins: Count
    guesses: Count
    correct: Count
    delta: Share
    lower_bound: Annotated[float, Field(ge=0)]
    lower_bound_gaussian: Annotated[float, Field(ge=0)]


class AttackResult(Strict):
    """The order of labels and the figures of one attack.

    `order` is the order of labels, `bins` the coarse one where a side has fewer than 50 units; a report holds one of
    the two. `models` is the number of trained embeddings that are pooled. `auc_interval` counts units, however many
    scores each has.
    """

    name: Name
    paper: Words
    kind: Literal["attack", "baseline"] = "attack"
    models: Annotated[int, Field(ge=1, le=1000)] = 1
    order: Order | None = None
    bins: Bins | None = None
    auc: Share
    auc_interval: Range
    upper_limits: UpperLimits
    p_value: Share
    tpr_at_fpr: tuple[Rate, ...]
    epsilon: Epsilon
    coins: Coins | None = None

    @model_validator(mode="after")
    def _holds_one_order(self) -> Self:
        if (self.order is None) == (self.bins is None):
            raise ValueError("an attack has either an order of labels or bins")
        _read(self.order, self.bins)
        return self

    @property
    def ranks(self) -> orders.Ranks:
        """Ranks of members and non-members, from 0; higher is more member-like, equal where they tie."""
        return _read(self.order, self.bins)

    @property
    def units(self) -> tuple[int, int]:
        """Units a class behind one trained embedding."""
        inside, outside = self.ranks
        return len(inside) // self.models, len(outside) // self.models


class Power(Strict):
    """The most that the headline attack could have shown, and the least that it would have seen.

    `largest_epsilon` is what a perfect attack on so many units would certify; `smallest_auc` is the true AUC that is
    detected four times in five.
    """

    largest_epsilon: Annotated[float, Field(ge=0)]
    smallest_auc: Share


def publish_order(
    name: str, models: int, members: Sequence[float], nonmembers: Sequence[float]
) -> tuple[str | None, orders.Bins | None]:
    """What is published of these scores: their order, or bins where a side has fewer than 50 units.

    Made-up canaries are nobody, so that their order is always published whole.
    """
    few = min(rates.count_independent(len(members), len(nonmembers), models=models)) < orders.FEWEST
    if few and name not in CANARIES:
        return None, orders.write_bins(members, nonmembers)
    return orders.write(members, nonmembers), None


def measure(*, name: str, models: int, order: str | None, bins: orders.Bins | None) -> AttackResult:
    """Every figure of an attack from what is published of its scores."""
    inside, outside = _read(order, bins)
    independent = rates.count_independent(len(inside), len(outside), models=models)
    area = statistics.auc(inside, outside)
    low, high = statistics.auc_interval(area, *independent)
    epsilon = statistics.epsilon_bound(inside, outside)
    return AttackResult(
        name=name,
        paper=PAPERS.get(name, ""),
        kind="baseline" if name in BASELINES else "attack",
        models=models,
        order=order,
        bins=bins,
        auc=rounded(area),
        auc_interval=(rounded(low), rounded(high)),
        upper_limits=_limit(area, inside, outside, independent, coarse=bins is not None),
        p_value=rounded(statistics.p_value(inside, outside)),
        tpr_at_fpr=tuple(_rate(inside, outside, fpr, independent, coarse=bins is not None) for fpr in rates.RATES),
        epsilon=Epsilon(
            lower_bound=rounded(epsilon.lower_bound),
            delta=statistics.DELTA,
            true_positives=epsilon.true_positives,
            false_positives=epsilon.false_positives,
        ),
        coins=_count_coins(inside, outside, alpha=ALPHA if name in CANARIES else 2 * ALPHA)
        if name in FAIR_COINS
        else None,
    )


def _limit(
    area: float,
    members: tuple[int, ...],
    nonmembers: tuple[int, ...],
    independent: rates.Independent,
    *,
    coarse: bool,
) -> UpperLimits:
    _, highest = statistics.auc_interval(area, *independent, confidence=0.9)  # 5 % on either side
    known = not coarse and independent.nonmembers >= rates.FEWEST[0.01]
    found = rates.upper_limit_at(members, nonmembers, 0.01, independent=independent) if known else None
    return UpperLimits(auc=rounded(highest), tpr=None if found is None else rounded(found))


def _rate(
    members: tuple[int, ...],
    nonmembers: tuple[int, ...],
    fpr: float,
    independent: rates.Independent,
    *,
    coarse: bool,
) -> Rate:
    needed, there = rates.FEWEST[fpr], independent.nonmembers
    if there < needed:
        return Rate(fpr=fpr, tpr=None, interval=None, reason=f"needs {needed} non-members, there are {there}")
    if coarse:
        return Rate(fpr=fpr, tpr=None, interval=None, reason="a side of fewer than 50 is published in bins")
    share = statistics.hits_at(members, nonmembers, fpr) / len(members)
    low, high = rates.interval_at(members, nonmembers, fpr, independent=independent)
    return Rate(fpr=fpr, tpr=rounded(share), interval=(rounded(low), rounded(high)))


def _count_coins(members: tuple[int, ...], nonmembers: tuple[int, ...], *, alpha: float) -> Coins:
    """The bounds at level `alpha`; made-up vectors and made-up patients share 5 %."""
    found = audit_coins(members, nonmembers, alpha=alpha)
    return Coins(
        coins=found.coins,
        guesses=found.guesses,
        correct=found.correct,
        delta=statistics.DELTA,
        lower_bound=rounded(found.lower_bound),
        lower_bound_gaussian=rounded(found.lower_bound_gaussian),
    )


def limits_of(headline: AttackResult) -> Power:
    """The power of an audit, from the number of its headline's scores."""
    inside, outside = map(len, headline.ranks)
    return Power(
        largest_epsilon=rounded(statistics.largest_epsilon(inside, outside)),
        smallest_auc=rounded(statistics.smallest_auc(inside, outside, alpha=ALPHA)),
    )


def rounded(value: float) -> float:
    """The number with six significant digits."""
    return float(f"{value:.{DIGITS}g}")


def _read(order: str | None, bins: orders.Bins | None) -> orders.Ranks:
    return orders.read(order) if order is not None else orders.read_bins(bins or ())
