"""What a study of several sites costs each patient: a figure against those who are no site, a second against sites.

A site knows its own share of noise and takes it off what it reads of patients elsewhere. So the figure that counts the
shares of all sites that must be there holds against outsiders alone, were all sites honest and merely curious.

Every site lays a discrete Gaussian share on its sum of whole numbers. A sum over sites is as private as continuous
Gaussian noise of nearly the same variance, so the accountant of one site's training counts it, amplification included:

1. A share of variance v has the density of a Gaussian of variance v at the whole numbers, over one factor that lies
   between 1 and 1 + e(v), with e(v) = 2 exp(-2 pi^2 v) + 2 exp(-2 pi^2 4 v) + ... (Poisson summation).
2. So the sum of m shares is, at each whole number, the Gaussian density of variance m v up to a factor (Kairouz, Liu
   and Steinke 2021, arXiv 2102.06387; here with constants of our own for any m).
3. A continuous Gaussian of variance m v - w, rounded at random by a discrete Gaussian of variance w about it, has that
   density as well, up to a factor of e(w) (Peikert 2010, doi:10.1007/978-3-642-14623-7_5, theorem 3.1).
4. Rounding is post-processing. Ratios bounded at every outcome hold for mixtures over the coins of sampling, multiply
   over numbers and steps, and survive whatever is computed afterwards, reduction modulo a power of two included.

Shares beyond the m that are counted are independent noise: they cost nothing. `closeness` is the logarithm of the
factor. It is below 1e-24 for a thousand steps of a million numbers, and is added all the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from embhub.privacy import epsilon as epsilons
from embhub.privacy.choices import LARGEST_SIGMA, SMALLEST_SIGMA
from embhub.privacy.composition import Positive
from embhub.privacy.mechanisms import Mechanism

RESERVE: Final = 4
"""The variance w that the proof gives up for rounding, in squared units of the grid; e(4) is 1e-34."""
SMALLEST_SHARE: Final = 16
"""The least variance of a share: below, whole numbers are too coarse for the Gaussian."""
MOST_SITES: Final = 100
MOST_CLIP_UNITS: Final = 1 << 22
"""So fine a grid that squares of 2^17 numbers, each as long as the clip, are summed in 64 bits without a wrap."""
MOST_WIDTH: Final = 1 << 17
"""With so many numbers and the most steps of a claim, `StudyNoise.closeness` stays below 1e-20. That is far less than
epsilon is rounded up by, so figures of Gaussian noise hold for a study's as they are."""
_LARGEST_WHOLE = 2**53 - 1  # of canonical JSON
_MOST_CLOSENESS = 1e-12
GUARD: Final = 1e-12
"""Relative, of sigma: its square root is rounded."""


@dataclass(frozen=True)
class StudyNoise:
    """The public numbers of a study that epsilon follows from.

    Attributes:
        sites: how many sites begin each step.
        dropouts: how many of them may be missing in a step; with more missing, no sum is read.
        colluders: how many may join with the coordinator, and subtract their own noise; one always may by itself.
        clip_units: the longest vector of a patient, in units of the grid, at most MOST_CLIP_UNITS.
        share_variance: of the noise that each site lays on each number, in squared units of the grid.
        width: how many numbers are summed.
        q: chance of a patient to be in a step.
        steps: sums that are read or attempted.

    Raises:
        ValueError: numbers that no study has.
    """

    sites: int
    dropouts: int
    colluders: int
    clip_units: int
    share_variance: int
    width: int
    q: float
    steps: int

    def __post_init__(self) -> None:
        if not all(type(getattr(self, field.name)) is int for field in fields(self) if field.name != "q"):
            raise ValueError("all numbers of a study but its rate are whole numbers")
        check_sites(self.sites, self.dropouts, self.colluders)
        if self.share_variance < SMALLEST_SHARE:
            raise ValueError(f"a share of variance {self.share_variance} is too coarse, at least {SMALLEST_SHARE}")
        if not (
            1 <= self.clip_units <= MOST_CLIP_UNITS and self.width >= 1 and self.steps >= 1 and 0.0 < self.q <= 1.0
        ):
            raise ValueError(
                f"a clip has 1 to {MOST_CLIP_UNITS} units, width and steps are at least 1, a rate lies between 0 and 1"
            )
        if self.closeness > _MOST_CLOSENESS:
            raise ValueError("too many numbers and steps for noise on whole numbers")
        if not SMALLEST_SIGMA <= self.against_sites.sigma <= self.against_outsiders.sigma <= LARGEST_SIGMA:
            raise ValueError(f"the noise is not between {SMALLEST_SIGMA} and {LARGEST_SIGMA:g} times the clip")

    @property
    def closeness(self) -> float:
        """How far, over all numbers and steps, log probabilities may be from those of rounded Gaussian noise."""
        one = closeness(self.sites, self.share_variance, RESERVE)
        return one * self.width * self.steps

    @property
    def against_outsiders(self) -> Mechanism:
        """What holds against those who are no site of the study, if each site that must be there adds its share.

        They may see all sums and the file; a coordinator without a site is one of them.
        """
        return self._with(self.sites - self.dropouts)

    @property
    def against_sites(self) -> Mechanism:
        """What holds for patients of other sites against any one site, and a coordinator with `colluders` of them.

        It holds against those who are no site as well, where as many leave their noise out: one, or `colluders`.
        """
        return self._with(self.sites - self.dropouts - max(1, self.colluders))

    def _with(self, shares: int) -> Mechanism:
        sigma = math.sqrt(shares * self.share_variance - RESERVE) / self.clip_units * (1 - GUARD)
        return Mechanism(self.q, sigma, self.steps)

    def epsilon(self, mechanism: Mechanism, *, delta: float) -> float:
        """The epsilon of `against_outsiders` or `against_sites`, as it is published: rounded up.

        Raises:
            ValueError: delta is not between 0 and 1.
        """
        near = self.closeness
        found = epsilons.compose([mechanism], delta=delta * math.exp(-near))
        return epsilons.publish(found + 2 * near)


class StudyTerms(BaseModel):
    """The study behind a claim.

    Attributes:
        digest: SHA-256 of the study's document (`embhub.study.plan.Study.digest`).
        epsilon_against_sites: for patients of other sites, against a site, and the coordinator with `colluders` sites.
        The others are those of `embhub.privacy.studies.StudyNoise`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    sites: Annotated[int, Field(ge=2, le=MOST_SITES)]
    dropouts: Annotated[int, Field(ge=0, lt=MOST_SITES)]
    colluders: Annotated[int, Field(ge=0, lt=MOST_SITES)]
    clip_units: Annotated[int, Field(ge=1, le=MOST_CLIP_UNITS)]
    share_variance: Annotated[int, Field(ge=SMALLEST_SHARE, le=_LARGEST_WHOLE)]
    width: Annotated[int, Field(ge=1, le=MOST_WIDTH)]
    epsilon_against_sites: Positive

    def noise(self, *, q: float, steps: int) -> StudyNoise:
        """The study's noise with the claim's sampling rate and steps.

        Raises:
            ValueError: numbers that no study has.
        """
        return StudyNoise(
            sites=self.sites, dropouts=self.dropouts, colluders=self.colluders, clip_units=self.clip_units,
            share_variance=self.share_variance, width=self.width, q=q, steps=steps,
        )  # fmt: skip


def check_sites(sites: int, dropouts: int, colluders: int) -> None:
    """Refuse a number of sites that could not keep its word.

    With `sites` > 2 `dropouts` + `colluders`, sites that answer once cannot be led to unmask two different sets. Where
    `colluders` is 0 one is counted all the same: the coordinator may be a site itself.

    Raises:
        ValueError: says which.
    """
    if not (2 <= sites <= MOST_SITES and dropouts >= 0 and colluders >= 0):
        raise ValueError(
            f"{sites} sites, {dropouts} missing, {colluders} colluding: a study has 2 to {MOST_SITES} sites"
        )
    least = 2 * dropouts + max(1, colluders) + 1
    if sites < least:
        raise ValueError(
            f"{sites} sites are too few for {dropouts} that may drop out and {colluders} that may collude:"
            f" at least {least}"
        )


def closeness(shares: int, variance: float, reserve: float) -> float:
    """The largest |log ratio| between a sum of shares and a Gaussian of their variance less `reserve`, rounded.

    For one number and one step; infinite where the bound has no meaning.

    Args:
        shares: how many discrete Gaussians are summed.
        variance: of each.
        reserve: variance of the random rounding, below `shares` x `variance`.
    """
    own = shares * math.log1p(_ripple(variance))
    joined = sum(_log_factor(_ripple(variance * k / (k + 1))) for k in range(1, shares))
    return own + joined + _log_factor(_ripple(reserve))


def _ripple(variance: float) -> float:
    """e(variance), rounded up: how far a Gaussian's sum over shifted whole numbers can be from its integral."""
    first = math.exp(-2 * math.pi**2 * variance)
    return 2 * first / (1 - first**3) * (1 + 1e-9)


def _log_factor(ripple: float) -> float:
    return -math.log1p(-ripple) if ripple < 1 else math.inf
