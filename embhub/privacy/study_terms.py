"""What a privacy claim says of a study of several sites: the numbers that its noise and second epsilon follow from."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from embhub.privacy.composition import Positive
from embhub.privacy.studies import MOST_CLIP_UNITS, MOST_SITES, SMALLEST_SHARE, StudyNoise

MOST_WIDTH: Final = 1 << 17
"""With so many numbers and the most steps of a claim, `StudyNoise.closeness` stays below 1e-20. That is far less than
epsilon is rounded up by, so figures of Gaussian noise hold for a study's as they are."""
_LARGEST_NUMBER = 2**53 - 1  # of canonical JSON


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
    share_variance: Annotated[int, Field(ge=SMALLEST_SHARE, le=_LARGEST_NUMBER)]
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
