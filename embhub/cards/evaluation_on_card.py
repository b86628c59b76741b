"""The figures of an evaluation that go on a card: those of one cell, the verdict's, and how often labels are shown."""

from __future__ import annotations

from typing import Any

from embhub.cards.card_schema import SMALLEST_CELL, Card
from embhub.cards.evaluation import NORMALS, STOPPED_EARLY, Arm, EvaluationReport, Fidelity
from embhub.errors import ArtifactError, PrivacyError

AGREEMENT = "agreement"
"""How the metric of a card begins that says how often generated images show their label."""

WORTH = "worth in real"
"""How the metric of a card begins that says what generated images alone are worth."""


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
            " the site that trained it, from a folder of `embhub research dataset`",
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
    if report.worth is not None:
        low, high = report.worth.interval
        named = f"{WORTH} {report.unit}s a class, {report.worth.drawn} generated images alone"
        figures.append(item(named, report.worth.value, (low, high)))
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
