"""Figures of one attack, and what an audit of that size can and cannot show.

What an attack publishes depends on whose labels it guesses. Where the labels are coins that the audit itself tossed
(shadow embeddings, made-up canaries), they are nobody's secret: the order of labels is published, and every figure
follows from it. Where the labels say who was trained on, whoever holds the images could compute the order and read the
labels off. Each single figure also says something of them, and the figures of thirteen attacks together say much. So
one attack on the file is named in advance: of it a report holds an AUC of two digits and a coarse p-value. Any other
has these figures only where it found something, and is otherwise listed by its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from embhub.audits import orders, rates, statistics
from embhub.audits.one_run import audit_coins
from embhub.audits.verdict import ALPHA, BLIND, level_of

DIGITS = 6  # significant digits of a figure that follows from coins
_FRACTIONS = 1000  # how far down a p-value on the file is published, as a share of ALPHA
FIVES = 5  # counts of patients are published in steps of so many
MADE_UP_PATIENTS = "mechanism-patients"
CANARIES = frozenset({"mechanism-canaries", MADE_UP_PATIENTS})  # attacks on what was made up for the test
IN_TURN = "-shadows"  # how the name of an attack ends that is tried on each shadow in turn
BASELINES = frozenset({BLIND})  # checks of the split: they never see the embedding, and decide no verdict
_ON_FILE: Mapping[str, str] = {
    "loss": "Yeom et al. 2018, arXiv 1709.01604; for diffusion models Matsumoto et al. 2023, arXiv 2302.03262",
    "loss-difference": "loss without the embedding minus loss with it; after Zhai et al. 2024, arXiv 2405.14800",
    "lira": "Carlini et al. 2022, arXiv 2112.03570: offline LiRA, losses beside those of shadow embeddings",
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
}
PAPERS: Mapping[str, str] = {
    **_ON_FILE,
    **{f"{name}{IN_TURN}": paper for name, paper in _ON_FILE.items()},
    "mechanism-canaries": "Steinke et al. 2023, arXiv 2305.08846: made-up vectors through the privatising code",
    MADE_UP_PATIENTS: "Steinke et al. 2023, arXiv 2305.08846: made-up patients in private trainings",
    "blind": "ridge regression on coarse pixels, without the embedding: a check of the split, not an attack",
}
SHOWN_ON_FILE = "loss-difference"
"""The attack on the file whose figures are published whatever they are."""
ON_COINS = frozenset(name for name in PAPERS if name.endswith(IN_TURN)) | CANARIES
"""Attacks whose labels are independent fair coins of the audit: their order is published, and guesses bound epsilon."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
Words = Annotated[str, Field(max_length=3000)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]  # RFC 8785 writes no larger number
Order = Annotated[str, Field(pattern=r"^[mn()]+$", max_length=300_000)]
Range = tuple[Share, Share]
_BY_LOSSES = ("lira", "loss-difference", "loss", "rmia", "lira-online", "dataset-inference")
_BY_ASKING = ("clid", "secmi", "pia", "gradient-alignment", "fcre", "extraction", "re-identification")


def _and_in_turn(names: tuple[str, ...]) -> tuple[str, ...]:
    """The attacks on each shadow in turn, then the same on the file itself."""
    return (*(f"{name}{IN_TURN}" for name in names), *names)


SUITES: Mapping[str, tuple[str, ...]] = {  # the attacks of a suite, its headline first
    "quick": ("loss-difference", "loss"),
    "standard": _and_in_turn(_BY_LOSSES),
    "thorough": _and_in_turn((*_BY_LOSSES, *_BY_ASKING)),
    "mechanism": ("mechanism-canaries",),
}


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
    """One-sided upper limits at the level of the attempt (`embhub.audits.verdict.level_of`).

    `tpr` is the true-positive rate at 1 % false positives, null where none is known.
    """

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
    """The figures of one attack.

    On coins there is the order of labels, from which everything else follows. On the file itself there are `auc` and
    `p_value`, both coarse; `auc_interval` follows from the AUC and the published counts. `models` is the number of
    trained embeddings that are pooled.
    """

    name: Name
    paper: Words
    kind: Literal["attack", "baseline"] = "attack"
    models: Annotated[int, Field(ge=1, le=1000)] = 1
    order: Order | None = None
    auc: Share
    auc_interval: Range
    p_value: Share
    upper_limits: UpperLimits | None = None
    tpr_at_fpr: tuple[Rate, ...] = ()
    epsilon: Epsilon | None = None
    coins: Coins | None = None

    @model_validator(mode="after")
    def _tells_no_labels_but_coins(self) -> Self:
        told = (self.order, self.upper_limits, self.tpr_at_fpr or None, self.epsilon, self.coins)
        if self.name in ON_COINS:
            if None in told:
                raise ValueError("an attack on coins publishes the order of labels and its figures")
            orders.read(str(self.order))
        elif any(item is not None for item in told) or (self.auc, self.p_value) != (
            _in_hundredths(self.auc),
            coarse_p_value(self.p_value),
        ):
            raise ValueError(
                "an attack whose labels are patients publishes an AUC of two digits, a coarse p-value and nothing else:"
                " the order of labels would list who was trained on"
            )
        return self

    @property
    def shown_p_value(self) -> str:
        """The p-value as people read it."""
        return shown_p_value(self.p_value)

    @property
    def on_coins(self) -> bool:
        """Whether its labels are coins of the audit, so that everything follows from their order."""
        return self.order is not None

    @property
    def ranks(self) -> orders.Ranks:
        """Ranks of the coins that fell in and out, from 0; higher is more member-like, equal where they tie.

        Raises ValueError where the labels are no coins.
        """
        if self.order is None:
            raise ValueError(f"{self.name} publishes no order of labels")
        return orders.read(self.order)


class Power(Strict):
    """The most that the headline attack could have shown, and the least that it would have seen.

    `largest_epsilon` is what a perfect attack on so many units would certify; `smallest_auc` is the true AUC that is
    detected four times in five.
    """

    largest_epsilon: Annotated[float, Field(ge=0)]
    smallest_auc: Share


def measure(*, name: str, models: int, order: str, attempt: int = 1) -> AttackResult:
    """Every figure of an attack on coins, from the order of their labels; its limits are those of audit `attempt`."""
    inside, outside = orders.read(order)
    independent = rates.Independent(len(inside), len(outside))
    area = statistics.auc(inside, outside)
    low, high = statistics.auc_interval(area, *independent)
    epsilon = statistics.epsilon_bound(inside, outside)
    return AttackResult(
        name=name,
        paper=PAPERS.get(name, ""),
        models=models,
        order=order,
        auc=rounded(area),
        auc_interval=(rounded(low), rounded(high)),
        p_value=rounded(statistics.p_value(inside, outside)),
        upper_limits=_limit(area, inside, outside, independent, level_of(attempt)),
        tpr_at_fpr=tuple(_rate(inside, outside, fpr, independent) for fpr in rates.RATES),
        epsilon=Epsilon(
            lower_bound=rounded(epsilon.lower_bound),
            delta=statistics.DELTA,
            true_positives=epsilon.true_positives,
            false_positives=epsilon.false_positives,
        ),
        coins=_count_coins(inside, outside, alpha=ALPHA if name in CANARIES else 2 * ALPHA),
    )


def measure_file(
    *, name: str, members: Sequence[float], nonmembers: Sequence[float], units: tuple[int, int]
) -> AttackResult:
    """What is published of an attack on the file itself; `units` are the published counts of the two sides."""
    return on_file(
        name,
        auc=_in_hundredths(statistics.auc(members, nonmembers)),
        p_value=coarse_p_value(statistics.p_value(members, nonmembers)),
        units=units,
    )


def coarse_p_value(exact: float) -> float:
    """The p-value of an attack on the file as it is published: 1 above ALPHA, else ALPHA / k, rounded up, k <= 1000.

    Every limit of detection is such a fraction, so the verdict stays. Each digit more would move with a single patient.
    """
    return 1.0 if exact > ALPHA else ALPHA / min(_FRACTIONS, math.floor(ALPHA / max(exact, ALPHA / _FRACTIONS) + 1e-9))


def shown_p_value(published: float) -> str:
    """A published p-value as people read it: a coarse one that is no detection has no digits."""
    return f"> {ALPHA:g}" if published == 1 else f"{published:.2g}"


def on_file(name: str, *, auc: float, p_value: float, units: tuple[int, int]) -> AttackResult:
    """An attack on the file itself from its two figures; `units` are the published counts of the two sides."""
    low, high = statistics.auc_interval(auc, *units)
    return AttackResult(
        name=name,
        paper=PAPERS.get(name, ""),
        kind="baseline" if name in BASELINES else "attack",
        auc=auc,
        auc_interval=(rounded(low), rounded(high)),
        p_value=p_value,
    )


def _limit(
    area: float,
    members: tuple[int, ...],
    nonmembers: tuple[int, ...],
    independent: rates.Independent,
    level: float,
) -> UpperLimits:
    _, highest = statistics.auc_interval(area, *independent, confidence=1 - 2 * level)
    known = independent.nonmembers >= rates.FEWEST[0.01]
    found = rates.upper_limit_at(members, nonmembers, 0.01, independent=independent, level=level) if known else None
    return UpperLimits(auc=rounded(highest), tpr=None if found is None else rounded(found))


def _rate(
    members: tuple[int, ...],
    nonmembers: tuple[int, ...],
    fpr: float,
    independent: rates.Independent,
) -> Rate:
    needed, there = rates.FEWEST[fpr], independent.nonmembers
    if there < needed:
        return Rate(fpr=fpr, tpr=None, interval=None, reason=f"needs {needed} non-members, there are {there}")
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


def limits_of(inside: int, outside: int) -> Power:
    """The power of an audit, from the number of its headline's units or coins."""
    return Power(
        largest_epsilon=rounded(statistics.largest_epsilon(inside, outside)),
        smallest_auc=rounded(statistics.smallest_auc(inside, outside, alpha=ALPHA)),
    )


def in_fives(count: int) -> int:
    """The count, rounded down to fives: an exact one names the last label to whoever knows all others."""
    return count - count % FIVES


def rounded(value: float, digits: int = DIGITS) -> float:
    """The number with so many significant digits."""
    return float(f"{value:.{digits}g}")


def _in_hundredths(area: float) -> float:
    return round(area, 2)
