"""What `embhub evaluate` found, `evaluation.json`, and the figures of it that go on a card.

Counts, means and intervals alone: no patient, path, score or picture. A card's figures are of one cell of the grid,
which the counts decide before anything is measured: the most real images with the most drawn ones, in the first regime.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.cards.card_schema import SMALLEST_CELL, Card
from embhub.errors import ArtifactError, PrivacyError
from embhub.formats import strict_json
from embhub.options.preprocessing import Fit
from embhub.options.regimes import Regime

SCHEMA = "embhub.evaluation/1"
MAX_BYTES = 2_000_000
_HINT = "pass the evaluation.json of a report"

Outcome = Literal["helped", "did harm", "made no difference that this comparison can show"]
HELPED, HARMED, NOTHING = get_args(Outcome)
REAL_ALONE, STOPPED_EARLY = "real images alone", "real images alone, stopped early"
AGREEMENT = "agreement"
"""How the metric of a card begins that says how often generated images show their label."""
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
    density: Real | None = None
    coverage: Real | None = None
    agreement: Real | None = None
    detail: Real | None = None
    spacing: Real | None = None
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
        return " ".join([said, *(self._over(one) for one in self.controls), *self._about_ceiling(found)])

    def _about_ceiling(self, found: Difference) -> list[str]:
        best = self.ceiling
        if best is None:
            return []
        low, high = best.interval
        said = [f"The ceiling, {best.drawn // 2} {CEILING}: {best.gain:+.3f} [{low:+.3f}, {high:+.3f}]."]
        if any(one.undecided for one in (found, *self.controls)):
            said.append(
                f"Some of this cannot be decided with so many test {self.unit}s: an interval is wider than what the"
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


def card_figures(report: EvaluationReport, embedding: str, *, private: bool) -> list[dict[str, Any]]:
    """The card's `evaluation` field: AUC of real images, of real and drawn ones, of drawn ones alone, and the gain.

    `embedding` is the SHA-256 of the file that the card is for. `private`: it carries a privacy claim. A claim covers
    what the embedding tells of its training images, not figures that were measured on them, so these are taken only
    where the report says that real images and test images are of other patients. Nor does it cover what another
    embedding reveals of the same patients: this one alone generated the images, and those of every control that stays.

    Raises:
        ArtifactError: measured on images that another embedding drew, or nothing was compared.
        PrivacyError: a name looks like a person's; figures that a privacy claim does not cover.
    """
    arm, gain = report.arms[0] if report.arms else None, report.headline
    if arm is None or gain is None:
        raise ArtifactError("the evaluation compares no generated images with real ones", "run `embhub evaluate` anew")
    if arm.embeddings and embedding not in arm.embeddings:
        raise ArtifactError(
            "the evaluation covers images of another embedding", "pass the report of this embedding's images"
        )
    if private and len(arm.embeddings) > 1:
        raise PrivacyError(
            "another embedding generated some of the images: the privacy claim does not cover what it reveals",
            "evaluate images that this embedding alone generated",
        )
    if private and not _is_covered(arm, embedding):
        raise PrivacyError(
            "the figures may be of images that the embedding was learned from: its privacy claim does not cover them",
            "evaluate with real images of other patients, to learn from and to test on, which name their patients, at"
            " the site that trained it, from a folder of `embhub dataset`",
        )
    controls = [one for one in report.controls if not private or _is_covered_control(report, one.over, embedding)]
    from embhub.cards.personal_data import personal_data  # its patterns take long to compile

    if personal_data("\n".join([report.dataset, report.positive, *report.negative, *(one.over for one in controls)])):
        raise PrivacyError("the evaluation's names look like a person's", "pass --dataset with a neutral name")
    patients = report.test.patients if report.test.patients is not None else report.test.images
    people = f"<{SMALLEST_CELL}" if patients < SMALLEST_CELL else str(patients)
    dataset = f"{report.dataset} ({people} test {report.unit}s)"

    def item(metric: str, value: float, interval: tuple[float, float]) -> dict[str, Any]:
        shown = [round(number, 3) for number in interval]
        named = f"{metric}, mean of {report.seeds} seeds"
        return {
            "task": "Image classification", "dataset": dataset, "metric": named,
            "value": round(value, 3), "interval": shown,
        }  # fmt: skip

    how = "" if gain.regime == "mixed" else f", {gain.regime}"
    figures = []
    for name, found in (
        (f"AUC, {gain.real} real images", report.auc(gain.real)),
        (
            f"AUC, {gain.real} real and {gain.drawn} drawn images{how}",
            report.auc(gain.real, gain.arm, gain.drawn, gain.regime),
        ),
        (f"AUC, {gain.drawn} drawn images alone", report.auc(0, gain.arm, gain.drawn)),
    ):
        if found is not None:
            figures.append(item(name, found.auc, found.interval))
    name = f"AUC gained by {gain.drawn} drawn images beside {gain.real} real ones{how}"
    figures.append(item(name, gain.gain, gain.interval))
    figures += [item(f"{name}, over {one.over}", one.gain, one.interval) for one in controls]
    return figures + [_agreement(one, dataset) for one in report.fidelity if _is_of(one, arm, report.positive)]


def stated_agreement(card: Card) -> float | None:
    """The share of generated images that show their label, as a card states it: the smallest; None where none does."""
    found = [one.value for one in card.evaluation if one.metric.startswith(AGREEMENT)]
    return min((value for value in found if 0 <= value <= 1), default=None)


def _is_of(one: Fidelity, arm: Arm, label: str) -> bool:
    return one.arm == arm.name and one.label == label and one.agreement is not None


def _agreement(one: Fidelity, dataset: str) -> dict[str, Any]:
    metric = f"{AGREEMENT}: share of {one.images} generated images that the classifier takes for their label"
    return {"task": "Image classification", "dataset": dataset, "metric": metric, "value": one.agreement}


def _is_covered(arm: Arm, embedding: str) -> bool:
    """Whether a privacy claim of `embedding` covers figures of an arm.

    Nothing else generated its images, and no patient whom it was learned from is measured on.
    """
    return arm.embeddings == (embedding,) and arm.learned_from_real is False and arm.learned_from_test is False


def _is_covered_control(report: EvaluationReport, over: str, embedding: str) -> bool:
    """The same of a control. The controls that have no arm of their own use the first arm's images, or none."""
    if over in (STOPPED_EARLY, NORMALS):
        return True
    arms = [one for one in report.arms if one.name == over]
    return bool(arms) and all(_is_covered(one, embedding) for one in arms)
