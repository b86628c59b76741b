"""What a site's ledger has counted in all, as a signed claim states it: a bound for everybody, and about nobody.

It covers every training of the site, whoever was in it. So it is the same whether or not a patient of this release was
in an earlier one: an overlap of cohorts would tell that with certainty. It is dated, and a later one is never smaller.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from embhub.privacy import epsilon as epsilons
from embhub.privacy import rdp as curves
from embhub.privacy.mechanisms import Mechanism
from embhub.privacy.rdp import ORDERS, Curve

MOST_TRAININGS: Final = 1_000_000
MOST_MECHANISMS: Final = 16
"""Kinds of trainings that a total lists: readers compose their losses, in a few seconds for so many at worst."""
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
StatedCurve = Annotated[tuple[Positive | None, ...], Field(min_length=len(ORDERS), max_length=len(ORDERS))]


Listed = tuple[
    Annotated[float, Field(gt=0.0, le=1.0)],
    Annotated[float, Field(gt=0.0, allow_inf_nan=False)],
    Annotated[int, Field(ge=1, le=10**9)],
]
"""Sampling rate, noise multiplier, and steps of all trainings that had both."""


def _check_day(text: str) -> str:
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError("a day is written as 2026-01-31")
    return text


Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_check_day)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class SiteTotal(_Part):
    """All that a site's ledger holds as of one day (UTC), without the curve that shows how `epsilon` follows.

    `trainings` are private ones, released or not; `epsilon` bounds what all of them together tell of a unit that was in
    every one. `plain` are those without such a bound: for who was in one of them nothing is bounded. `since` is the day
    on which the ledger was opened; it knows of nothing before.
    """

    since: Day
    as_of: Day
    trainings: Annotated[int, Field(ge=1, le=MOST_TRAININGS)]
    plain: Annotated[int, Field(ge=0, le=MOST_TRAININGS)]
    epsilon: Positive

    @model_validator(mode="after")
    def _days_follow_each_other(self) -> Self:
        if self.since > self.as_of:
            raise ValueError("composition: since is later than as_of")
        return self

    @property
    def order(self) -> tuple[str, int, int, float]:
        """The later and, on one day, the larger statement has the larger order."""
        return self.as_of, self.trainings, self.plain, self.epsilon


class Composition(SiteTotal):
    """What a claim states: the site's total, its own training included, and what it rests on.

    `mechanisms` are all private trainings, those with equal rate and noise as one; None where there are too many of
    them, or some are known by a curve alone. `rdp` is the curve of everything.
    """

    mechanisms: Annotated[tuple[Listed, ...], Field(min_length=1, max_length=MOST_MECHANISMS)] | None = None
    rdp: StatedCurve

    @model_validator(mode="after")
    def _lists_each_once(self) -> Self:
        kinds = [(q, sigma) for q, sigma, _ in self.mechanisms or ()]
        if kinds != sorted(set(kinds)):
            raise ValueError("composition: mechanisms are in order, each rate and noise once")
        return self

    @property
    def parameters(self) -> tuple[Mechanism, ...] | None:
        """`mechanisms` as `embhub.privacy.epsilon` takes them."""
        return None if self.mechanisms is None else tuple(Mechanism(*item) for item in self.mechanisms)

    def epsilon_at(self, delta: float) -> float:
        """The same total's epsilon at another delta."""
        return epsilon_of(curves.unstate(self.rdp), self.parameters, delta=delta)

    @property
    def total(self) -> SiteTotal:
        """The same without the curve."""
        return SiteTotal(**self.model_dump(exclude={"rdp", "mechanisms"}))


def build_composition(
    *, since: str, as_of: str, trainings: int, plain: int, curve: Curve, delta: float,
    mechanisms: Iterable[Mechanism] | None,
) -> Composition:  # fmt: skip
    """A site's statement: days as 2026-01-31, counts, and all its private trainings with the sum of their curves.

    Raises:
        ValueError: days, counts, trainings or curve that no ledger has.
    """
    listed = None if mechanisms is None else gather(mechanisms)
    return Composition(
        since=since,
        as_of=as_of,
        trainings=min(trainings, MOST_TRAININGS),
        plain=min(plain, MOST_TRAININGS),
        epsilon=epsilon_of(curve, listed, delta=delta),
        mechanisms=listed,
        rdp=state(curve),
    )


def gather(mechanisms: Iterable[Mechanism]) -> tuple[Mechanism, ...]:
    """Trainings of equal rate and noise as one, in order."""
    steps: dict[tuple[float, float], int] = {}
    for q, sigma, count in mechanisms:
        steps[q, sigma] = steps.get((q, sigma), 0) + count
    return tuple(Mechanism(q, sigma, count) for (q, sigma), count in sorted(steps.items()))


def epsilon_of(curve: Curve, mechanisms: Iterable[Mechanism] | None, *, delta: float) -> float:
    """The epsilon of a total, rounded up as a training's own is: the smaller one by curve and, where all trainings are
    known, by losses.

    Raises:
        ValueError: delta is not between 0 and 1.
    """
    by_curve = curves.publish_epsilon(curves.epsilon_of(curve, delta=delta))
    if mechanisms is None:
        return by_curve
    return min(by_curve, epsilons.publish(epsilons.loss_epsilon(mechanisms, delta=delta)))


def state(curve: Curve) -> tuple[float | None, ...]:
    """A curve as a claim states it: rounded up, null for infinite."""
    return tuple(None if math.isinf(value) else value for value in curves.publish(curve))
