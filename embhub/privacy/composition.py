"""What a site's ledger has counted in all, as a signed claim states it: a bound for everybody, and about nobody.

It covers every training of the site, whoever was in it. So it is the same whether or not a patient of this release was
in an earlier one: an overlap of cohorts would tell that with certainty. It is dated, and a later one is never smaller.
"""

from __future__ import annotations

import math
from datetime import date
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from embhub.privacy import rdp as curves
from embhub.privacy.rdp import ORDERS, Curve

MOST_TRAININGS: Final = 1_000_000
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
StatedCurve = Annotated[tuple[Positive | None, ...], Field(min_length=len(ORDERS), max_length=len(ORDERS))]


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
    """What a claim states: the site's total, its own training included, and the curve (`rdp`) that it rests on."""

    rdp: StatedCurve

    @property
    def total(self) -> SiteTotal:
        """The same without the curve."""
        return SiteTotal(**self.model_dump(exclude={"rdp"}))


class CohortComposition(_Part):
    """What embhub stated at first: the ledger's count for the patients of one release. Read, never written.

    `trainings` is the number of trainings that the worst-off patient was in. Both figures null stand for infinite: a
    training without privacy was among them.
    """

    trainings: Annotated[int, Field(ge=1, le=MOST_TRAININGS)]
    epsilon: Positive | None
    rdp: StatedCurve | None

    @model_validator(mode="after")
    def _epsilon_follows_from_the_curve(self) -> Self:
        if (self.epsilon is None) != (self.rdp is None):
            raise ValueError("composition: epsilon and rdp are both stated or both null")
        return self


def _form(value: Any) -> str:
    dated = "as_of" in value if isinstance(value, dict) else isinstance(value, Composition)
    return "site" if dated else "cohort"


AnyComposition = Annotated[
    Annotated[Composition, Tag("site")] | Annotated[CohortComposition, Tag("cohort")], Discriminator(_form)
]


def build_composition(*, since: str, as_of: str, trainings: int, plain: int, curve: Curve, delta: float) -> Composition:
    """A site's statement: days as 2026-01-31, counts, and the sum of the curves of all its private trainings.

    Raises:
        ValueError: days, counts or curve that no ledger has.
    """
    return Composition(
        since=since,
        as_of=as_of,
        trainings=min(trainings, MOST_TRAININGS),
        plain=min(plain, MOST_TRAININGS),
        epsilon=curves.publish_epsilon(curves.epsilon_of(curves.publish(curve), delta=delta)),
        rdp=state(curve),
    )


def state(curve: Curve) -> tuple[float | None, ...]:
    """A curve as a claim states it: rounded up, null for infinite."""
    return tuple(None if math.isinf(value) else value for value in curves.publish(curve))
