"""What `embhub evaluate` found: `evaluation.json`.

Counts, means and intervals alone: no patient, path, score or picture. The verdict is of one cell of the grid, which the
counts decide before anything is measured: the most real images with the most drawn ones, in the first regime.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.errors import ArtifactError
from embhub.formats import strict_json
from embhub.options.fits import Fit
from embhub.options.regimes import HARMED as HARMED
from embhub.options.regimes import HELPED as HELPED
from embhub.options.regimes import NOTHING as NOTHING
from embhub.options.regimes import REAL_ALONE as REAL_ALONE
from embhub.options.regimes import STOPPED_EARLY as STOPPED_EARLY
from embhub.options.regimes import Outcome as Outcome
from embhub.options.regimes import Regime

SCHEMA = "embhub.evaluation/1"
MAX_BYTES = 2_000_000
_HINT = "pass the evaluation.json of a report"

CEILING = "real images of the finding in place of generated ones"
"""The arm of `--ceiling`: the images behind the embedding, beside the generated normals. No embedding does more."""
NORMALS = "real images and generated normals"
"""What the controls that are always there are called, where others have the name of an arm."""
Real = Annotated[float, Field(allow_inf_nan=False)]
Range = tuple[Real, Real]
Number = Annotated[int, Field(ge=0, le=10**9)]
Word = Annotated[str, Field(min_length=1, max_length=300)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)


class Classifier(_Part):
    """What learned in every arm, for the same number of steps.

    `real_share` is the share of real images in a batch; None: as many as there are among all.
    """

    name: Word
    steps: Number
    batch: Number
    rate: Real
    resolution: Number
    mirrored: bool
    fit: Fit = "crop"
    real_share: Real | None = None


class Group(_Part):
    """Real images and of how many patients; `patients` is None where the source names none."""

    images: Number
    positives: Number
    patients: Number | None


class Arm(_Part):
    """Drawn images. `embeddings` drew them, as far as the folder says; of `sets` of images each seed took one in turn.

    `learned_from_real` is whether a patient of the real training images taught one of them, `learned_from_test` whether
    one of the test images did (then nothing was measured): None where this site cannot tell.
    """

    name: Word
    images: Number
    positives: Number
    sets: Annotated[int, Field(ge=1, le=1000)] = 1
    embeddings: tuple[Digest, ...] = ()
    learned_from_real: bool | None = None
    learned_from_test: bool | None = None


class Figure(_Part):
    """The mean AUC of one cell over the seeds; `interval` is for the choice of test patients and of seeds together.

    `kept` is the share of drawn images that a filter let pass.
    """

    real: Number
    arm: str = Field(max_length=300)
    drawn: Number
    regime: Regime = "mixed"
    kept: Real | None = None
    auc: Real
    interval: Range
    delong: Range
    patients: Range
    seeds: Range
    each_seed: tuple[Real, ...]


class Difference(_Part):
    """What a cell has over a control with the same real images, paired by test image and seed.

    `over` is that control: REAL_ALONE, STOPPED_EARLY, NORMALS, or an arm in the same regime. `p` belongs to `interval`;
    `p_holm` is adjusted for all rows of the report (Holm 1979). `ceiling` is what the ceiling has over the same
    control; None where it is not known.
    """

    real: Number
    arm: Word
    drawn: Number
    regime: Regime = "mixed"
    over: Word = REAL_ALONE
    gain: Real
    p: Real | None = None
    p_holm: Real | None = None
    interval: Range
    delong: Range
    delong_p: Real
    patients: Range
    seeds: Range
    each_seed: tuple[Real, ...]
    outcome: Outcome
    ceiling: Real | None = None

    @property
    def half_width(self) -> float:
        """Half of the interval's width: how far the gain may be off."""
        return (self.interval[1] - self.interval[0]) / 2

    @property
    def undecided(self) -> bool:
        """Whether nothing is shown, and a perfect generator might not have been seen to help either."""
        unseen = self.outcome not in (HELPED, HARMED)
        return unseen and self.ceiling is not None and self.half_width > max(0.0, self.ceiling) / 2


class Worth(_Part):
    """What `drawn` generated images alone are worth: as much as so many real patients a class.

    Without patient ids each image counts as a patient. `most` is the largest number measured: nothing lies above it.
    """

    drawn: Number
    value: Annotated[Real, Field(ge=0)]
    interval: Range
    most: Real

    @property
    def words(self) -> str:
        """Number and interval; "at least" where no more was measured."""
        low, high = self.interval
        shown = f"at least {self.most:.3g}" if self.value >= self.most else f"{self.value:.2g}"
        return f"{shown} [{low:.2g}, {'' if high < self.most else 'at least '}{high:.2g}]"


class Fidelity(_Part):
    """How near images of one label come to the real test images of that label; `arm` "" are other real images.

    Figures are None where there are too few images, or the features of the real ones do not differ.
    """

    arm: str = Field(max_length=300)
    label: Word
    images: Number
    kid: Real | None
    kid_sd: Real | None
    subset: Number
    precision: Real | None
    recall: Real | None
    diversity: Real | None
    cmmd: Real | None = None
    fd: Real | None = None
    density: Real | None = None
    coverage: Real | None = None
    agreement: Real | None = None
    detail: Real | None = None
    spacing: Real | None = None
    ms_ssim: Real | None = None
    nearest: Real | None = None


class EvaluationReport(_Part):
    """Everything measured. `headline` is the cell for cards; None where no arm was compared with real images."""

    schema_: Literal["embhub.evaluation/1"] = Field(default="embhub.evaluation/1", alias="schema")
    embhub: Word
    dataset: Word
    positive: Word
    negative: tuple[Word, ...]
    unit: Literal["patient", "image"]
    seeds: Annotated[int, Field(ge=2, le=1000)]
    regimes: Annotated[tuple[Regime, ...], Field(min_length=1, max_length=5)] = ("mixed",)
    classifier: Classifier
    features: Word = "those of the classifier"
    real: Group
    test: Group
    arms: Annotated[tuple[Arm, ...], Field(max_length=100)]
    aucs: Annotated[tuple[Figure, ...], Field(min_length=1, max_length=5000)]
    differences: Annotated[tuple[Difference, ...], Field(max_length=5000)]
    fidelity: Annotated[tuple[Fidelity, ...], Field(max_length=1000)] = ()
    worth: Worth | None = None
    remarks: Annotated[tuple[Word, ...], Field(max_length=50)] = ()

    @property
    def headline(self) -> Difference | None:
        """The first arm in the first regime over real images alone, at the most real and the most drawn images.

        No figure has a say in this choice.
        """
        mine = [one for one in self._of_first_arm() if one.over == REAL_ALONE]
        return max(mine, key=lambda one: (one.real, one.drawn), default=None)

    @property
    def controls(self) -> tuple[Difference, ...]:
        """The same cell over each of its controls."""
        if (found := self.headline) is None:
            return ()
        cell = found.real, found.drawn
        return tuple(one for one in self._of_first_arm() if one.over != REAL_ALONE and (one.real, one.drawn) == cell)

    @property
    def tested(self) -> str:
        """How many patients or images the test has, in words."""
        count = self.test.images if self.test.patients is None else self.test.patients
        return f"{count:,} test {self.unit}s"

    @property
    def real_unit(self) -> str:
        """What the real training images are counted in, and so what generated ones are worth."""
        return "image" if self.real.patients is None else "patient"

    @property
    def ceiling(self) -> Difference | None:
        """What the real images behind the embedding have over real images alone, at as many of these."""
        found = self.headline
        mine = [one for one in self.differences if (one.arm, one.over) == (CEILING, REAL_ALONE)]
        return next((one for one in mine if found and one.real == found.real), None)

    def _of_first_arm(self) -> list[Difference]:
        if not self.arms:
            return []
        first = self.arms[0].name, self.regimes[0]
        return [one for one in self.differences if (one.arm, one.regime) == first]

    @property
    def verdict(self) -> Outcome | None:
        """`helped` only where real images alone and every control are behind: all rows, so none need be adjusted."""
        if (found := self.headline) is None:
            return None
        if all(one.outcome == HELPED for one in (found, *self.controls)):
            return "helped"
        return "did harm" if found.outcome == HARMED else "made no difference that this comparison can show"

    def auc(self, real: int, arm: str = "", drawn: int = 0, regime: Regime = "mixed") -> Figure | None:
        """The figure of a cell, if it was measured."""
        asked = (real, arm, drawn, regime)
        return next((one for one in self.aucs if (one.real, one.arm, one.drawn, one.regime) == asked), None)

    def words(self) -> str:
        """The outcome in sentences that claim no more than the intervals."""
        found = self.headline
        if found is None:
            return "No generated images were compared with real ones."
        alone, both = self.auc(found.real), self.auc(found.real, found.arm, found.drawn, found.regime)
        shown = f"AUC {alone.auc:.3f} real, {both.auc:.3f} real and generated, " if alone and both else ""
        how = "" if found.regime == "mixed" else f" ({found.regime})"
        low, high = found.interval
        said = (
            f"With {found.real} real images, adding {found.drawn} generated images{how} {found.outcome}: {shown}"
            f"difference {found.gain:+.3f} [{low:+.3f}, {high:+.3f}] over {self.seeds} seeds, same test images."
        )
        worth = [f"Alone they are worth {self.worth.words} real {self.real_unit}s a class."] if self.worth else []
        return " ".join([said, *(self._over(one) for one in self.controls), *worth, *self._about_ceiling(found)])

    def _about_ceiling(self, found: Difference) -> list[str]:
        best = self.ceiling
        if best is None:
            return []
        low, high = best.interval
        said = [f"The ceiling, {best.drawn // 2} {CEILING}: {best.gain:+.3f} [{low:+.3f}, {high:+.3f}]."]
        if any(one.undecided for one in (found, *self.controls)):
            said.append(
                f"Some of this cannot be decided with {self.tested}: half of an interval is wider than half of what the"
                " ceiling gains."
            )
        return said

    def _over(self, one: Difference) -> str:
        verb = {HELPED: "They did better than", HARMED: "They did worse than"}.get(
            one.outcome, "No difference is shown from"
        )
        low, high = one.interval
        return f'{verb} the control "{one.over}": {one.gain:+.3f} [{low:+.3f}, {high:+.3f}].'

    def smallest(self) -> float | None:
        """The smallest true difference that a comparison of this size would call one, four times in five."""
        found = self.headline
        if found is None:
            return None
        return (found.interval[1] - found.interval[0]) / 2 * (1.959964 + 0.841621) / 1.959964

    def to_bytes(self) -> bytes:
        """The document as it is written."""
        return self.model_dump_json(by_alias=True, indent=1).encode() + b"\n"


def parse(data: bytes) -> EvaluationReport:
    """Read an `evaluation.json`.

    Raises:
        ArtifactError: not such a document.
    """
    try:
        return EvaluationReport.model_validate_json(json.dumps(strict_json.read(data, limit=MAX_BYTES)))
    except strict_json.JsonError as error:
        raise ArtifactError(f"the evaluation cannot be read: {error}", _HINT) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ascii(".".join(str(part) for part in first["loc"]))[1:-1][:80]
        raise ArtifactError(f"the evaluation is not one of {SCHEMA}: {place}: {first['msg']}", _HINT) from error
