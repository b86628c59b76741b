"""The figures of an evaluation that may leave a site: one comparison with its controls, rounded. Pure.

Whoever holds all images but one patient's can compute each figure with and without that patient. So figures are rounded
to a step that is twice the share of one patient's images in a class under test or more, and counts of patients are
rounded down to tens. An interval is as wide on both sides of its rounded figure, so that it adds little to that. There
is no figure of a single seed, no measure of likeness, and no text but that of the data set and the finding.
`docs/adr/0042-evaluations-by-those-who-pulled.md` says what remains.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from embhub.errors import ArtifactError, PrivacyError
from embhub.options.regimes import HARMED, HELPED, REAL_ALONE, REGIMES, Outcome

if TYPE_CHECKING:
    from embhub.cards.evaluation import Difference, EvaluationReport, Figure

LEAST = 20
"""Patients of each class under test, and patients in training, under which nothing is published."""
LEAST_TRAINED = 10
"""Patients of each class in training, likewise."""
TEN = 10
"""Counts of patients and of real images are rounded down to its multiples."""
STEPS = (0.01, 0.02, 0.05, 0.1)
"""What figures are rounded to: the smallest that is at least SHARES times the share of one patient's images."""
SHARES = 2
OTHER_IMAGES: Literal["other generated images"] = "other generated images"
"""What a control arm is called outside its site, whatever its name is there."""
Control = Literal[
    "real images alone", "real images alone, stopped early", "real images and generated normals",
    "other generated images",
]  # fmt: skip
Classifier = Literal["small", "resnet18", "another"]
_TINY = 1e-9


def _no_person(text: str) -> str:
    if not text.isprintable() or text != text.strip() or any(mark in text for mark in "/\\<>"):
        raise ValueError("not one line of plain words")
    from embhub.cards.personal_data import looks_like_patient, personal_data  # its patterns take long to compile

    if personal_data(text) or looks_like_patient(text):
        raise ValueError("it looks like it names a person, a record or a file")
    return text


def _tens(value: int) -> int:
    if value % TEN:
        raise ValueError(f"not rounded down to a multiple of {TEN}")
    return value


def _step(value: float) -> float:
    if value not in STEPS:
        raise ValueError("no step that figures are rounded to")
    return value


Words = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_no_person)]
People = Annotated[int, Field(ge=LEAST, le=10**6), AfterValidator(_tens)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Gained = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Patients(_Part):
    """How many patients, rounded down to tens: in training, and under test with the finding and without."""

    training: People
    positive: People
    negative: People


class Area(_Part):
    """An AUC with its interval of 95 %, widened to be symmetric about the rounded figure, but for 0 and 1."""

    auc: Share
    interval: tuple[Share, Share]


class Gain(_Part):
    """What generated images added to real ones gained over a control, with its interval, widened likewise.

    `outcome` is that of the interval before it was rounded.
    """

    over: Control
    gain: Gained
    interval: tuple[Gained, Gained]
    outcome: Outcome


class Figures(_Part):
    """One comparison: real images alone against the same and generated ones, on the same patients under test.

    `step` is what every figure is a multiple of. `outcome` is `helped` where real images alone and every control are
    behind.
    """

    dataset: Words
    finding: Words
    classifier: Classifier
    regime: Literal["mixed", "pretrained", "filtered"]
    seeds: Annotated[int, Field(ge=2, le=1000)]
    real: People
    drawn: Annotated[int, Field(ge=2, le=10**9)]
    patients: Patients
    step: Annotated[float, AfterValidator(_step)]
    real_alone: Area
    with_generated: Area
    gains: Annotated[tuple[Gain, ...], Field(min_length=1, max_length=4)]
    outcome: Outcome

    @model_validator(mode="after")
    def _no_finer_than_its_patients(self) -> Figures:
        if self.step < SHARES / min(self.patients.positive, self.patients.negative) - _TINY:
            raise ValueError("the figures are finer than the share of one patient")
        areas, gains = (self.real_alone, self.with_generated), self.gains
        values = [value for area in areas for value in (area.auc, *area.interval)]
        values += [value for gain in gains for value in (gain.gain, *gain.interval)]
        if any(value != _near(value, self.step) for value in values):
            raise ValueError("a figure is no multiple of the step")
        middles = [(a.interval[0], a.auc, a.interval[1]) for a in areas]
        middles += [(g.interval[0], g.gain, g.interval[1]) for g in gains]
        if any(not low - _TINY <= middle <= high + _TINY for low, middle, high in middles):
            raise ValueError("a figure is outside its interval")
        return self

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Figures:
        names = [gain.over for gain in self.gains]
        if names[0] != REAL_ALONE or len(set(names)) < len(names):
            raise ValueError("the first control is real images alone, and none stands twice")
        for gain in self.gains:
            low, high = gain.interval
            if (gain.outcome == HELPED and (high <= 0 or gain.gain < 0)) or (
                gain.outcome == HARMED and (low >= 0 or gain.gain > 0)
            ):
                raise ValueError("an outcome is not that of its interval")
            if gain.outcome not in (HELPED, HARMED) and not low <= 0 <= high:
                raise ValueError("an outcome is not that of its interval")
        first = self.gains[0].outcome
        helped = all(gain.outcome == HELPED for gain in self.gains)
        if self.outcome != (HELPED if helped else HARMED if first == HARMED else _NOTHING):
            raise ValueError("the outcome is not that of its gains")
        return self

    def in_words(self) -> str:
        """The outcome with the figure that decided, in one sentence, and each control in another."""
        people, first = self.patients, self.gains[0]
        said = (
            f"{self.outcome}: {self.drawn} generated images beside at least {self.real} real ones, AUC"
            f" {self.real_alone.auc:.2f} to {self.with_generated.auc:.2f}, gain {_signed(first)}, on at least"
            f" {people.positive} patients with the finding and {people.negative} without"
        )
        return "; ".join([said, *(f"over {gain.over} {_signed(gain)}" for gain in self.gains[1:])])

    def to_json(self) -> dict[str, Any]:
        """Plain data, as it stands in the statement."""
        found: dict[str, Any] = self.model_dump(mode="json")
        return found


_NOTHING = next(word for word in get_args(Outcome) if word not in (HELPED, HARMED))


def _signed(gain: Gain) -> str:
    low, high = gain.interval
    return f"{gain.gain:+.2f} [{low:+.2f}, {high:+.2f}]"


@dataclass(frozen=True)
class Images:
    """One patient's images of one class: how many, and a digest of them all."""

    count: int
    digest: str


Group = Mapping[str, Images]
"""Patients under the site's key."""


@dataclass(frozen=True)
class Cohort:
    """Whose images an evaluation used, for its own site alone; `training` and `test`: with the finding, and without.

    `training` has all who were trained on in some repetition. `fewest` is how many patients of a class each repetition
    has at least, counted as if each had as many images as the one with most.
    """

    training: tuple[Group, Group]
    test: tuple[Group, Group]
    fewest: int

    @property
    def groups(self) -> dict[str, frozenset[str]]:
        """The four groups by name, each by its patients and by their images: either may be written anew."""
        names = ("training positive", "training negative", "test positive", "test negative")
        found: dict[str, frozenset[str]] = {}
        for name, group in zip(names, (*self.training, *self.test), strict=True):
            found[f"{name} patients"] = frozenset(group)
            found[f"{name} images"] = frozenset(images.digest for images in group.values())
        return found

    @property
    def largest_share(self) -> float:
        """The largest share of one patient's images among those of a class under test."""
        counts = [[images.count for images in group.values()] for group in self.test if group]
        return max(max(group) / sum(group) for group in counts)


def parse(document: Any) -> Figures:
    """Read figures as they stand in a statement.

    Raises:
        ArtifactError: a member is missing, unknown, of another form or not rounded, or they contradict one another.
    """
    try:
        return Figures.model_validate_json(json.dumps(document), strict=True)
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise ArtifactError(f"no published evaluation: {_fault(error)}", "publish it with `embhub evaluate`") from error


def coarsen(report: EvaluationReport, cohort: Cohort, *, embedding: str) -> Figures:
    """The figures that may leave the site.

    Args:
        report: The whole evaluation.
        cohort: Whose images it used.
        embedding: SHA-256 of the embedding that it is published for.

    Raises:
        ArtifactError: it is of other embeddings, or compares nothing.
        PrivacyError: too few patients, one patient with too many of the images, patients that nobody named, patients
            whom an embedding of any arm was learned from, several other arms, or words that may name somebody.
    """
    gain, arm = report.headline, report.arms[0] if report.arms else None
    if gain is None or arm is None or gain.regime not in REGIMES:
        raise ArtifactError("the evaluation compares no generated images with real ones", "pass --synthetic")
    if arm.embeddings != (embedding,):
        raise ArtifactError(
            "its generated images are not from this embedding alone, or do not say from which",
            "generate them with `embhub research dataset` from the embedding that was pulled",
        )
    _check_people(report, cohort)
    if sum(_over(one) == OTHER_IMAGES for one in report.controls) > 1:
        raise PrivacyError(
            "there are several other arms; each more figure reveals a little more of the patients",
            "evaluate beside one other arm at most: --arm",
        )
    step = _step_for(cohort.largest_share)
    alone, both = report.auc(gain.real), report.auc(gain.real, gain.arm, gain.drawn, gain.regime)
    if alone is None or both is None:
        raise ArtifactError("the evaluation lacks the figures of its comparison", "run `embhub evaluate` again")
    in_training = {name for group in cohort.training for name in group}
    tested = [_down(len(group)) for group in cohort.test]
    try:
        return Figures(
            dataset=report.dataset, finding=report.positive, classifier=_classifier(report),
            regime=gain.regime, seeds=report.seeds, real=_down(gain.real), drawn=gain.drawn,
            patients=Patients(training=_down(len(in_training)), positive=tested[0], negative=tested[1]),
            step=step, real_alone=_area(alone, step), with_generated=_area(both, step),
            gains=tuple(_gain(one, step) for one in (gain, *report.controls)), outcome=report.verdict or _NOTHING,
        )  # fmt: skip
    except ValidationError as error:
        raise PrivacyError(
            f"the evaluation cannot be published: {_fault(error)}", "pass --dataset with a neutral name; see the docs"
        ) from error


def _check_people(report: EvaluationReport, cohort: Cohort) -> None:
    if report.unit != "patient" or report.real.patients is None:
        raise PrivacyError(
            "the images name no patients, so nobody knows how many people the figures are of",
            "add patient ids to both manifests",
        )
    if any(arm.learned_from_real or arm.learned_from_test for arm in report.arms):
        raise PrivacyError(
            "an embedding of an arm was learned from patients of this evaluation",
            "evaluate on patients that no embedding was learned from",
        )
    for what, fewest, least in (
        ("under test", min(map(len, cohort.test)), LEAST),
        ("in one training, counted by the images of the one with most", cohort.fewest, LEAST_TRAINED),
    ):
        if fewest < least:
            raise PrivacyError(
                f"{fewest} patients of one class are {what}; figures of fewer than {least} are not published",
                "evaluate on more patients, with fewer images each",
            )
    if report.headline is not None and report.headline.real < LEAST:
        raise PrivacyError(
            f"{report.headline.real} real images were learned from; figures of fewer than {LEAST} are not published",
            "pass larger --real-counts",
        )


def _step_for(share: float) -> float:
    step = next((step for step in STEPS if step >= SHARES * share - _TINY), None)
    if step is None:
        raise PrivacyError(
            f"one patient has {share:.0%} of the images of a class under test", "test on fewer images of each patient"
        )
    return step


def _classifier(report: EvaluationReport) -> Classifier:
    known: dict[str, Classifier] = {"small": "small", "resnet18": "resnet18"}
    return known.get(report.classifier.name, "another")


def _area(found: Figure, step: float) -> Area:
    low, high = found.interval
    return Area(auc=_near(found.auc, step), interval=_around(low, high, step, found.auc, least=0.0))


def _gain(one: Difference, step: float) -> Gain:
    interval = _around(*one.interval, step, one.gain, least=-1.0)
    return Gain(over=_over(one), gain=_near(one.gain, step), interval=interval, outcome=one.outcome)


def _over(one: Difference) -> Control:
    known: dict[str, Control] = {name: name for name in get_args(Control)}
    return known.get(one.over, OTHER_IMAGES)


def _near(value: float, step: float) -> float:
    return round(round(value / step) * step, 2) + 0.0


def _around(low: float, high: float, step: float, middle: float, *, least: float) -> tuple[float, float]:
    """An interval that is never narrower, in multiples of `step` and as wide on both sides of the rounded figure.

    Its width follows from that of the exact one alone, and not from where the exact figure lies between two steps.
    """
    near = _near(middle, step)
    half = math.ceil((max(high - middle, middle - low, 0.0) + step / 2) / step - _TINY) * step
    return round(max(least, near - half), 2) + 0.0, round(min(1.0, near + half), 2) + 0.0


def _down(count: int) -> int:
    return count // TEN * TEN


def _fault(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{ascii('.'.join(str(part) for part in first['loc']))[1:-1][:80]}: {first['msg']}"
    return type(error).__name__
