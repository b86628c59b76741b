"""The figures of an evaluation that go on a card: those of one cell, the verdict's, and how often labels are shown."""

from __future__ import annotations

from typing import Any

from embhub.cards.card_schema import SMALLEST_CELL, Card
from embhub.cards.evaluation import Arm, EvaluationReport, Fidelity
from embhub.errors import ArtifactError, PrivacyError

AGREEMENT = "agreement"
"""How the metric of a card begins that says how often generated images show their label."""

WORTH = "worth in real"
"""How the metric of a card begins that says what generated images alone are worth."""


def card_figures(report: EvaluationReport, embedding: str, *, private: bool) -> list[dict[str, Any]]:
    """The card's `evaluation` field: AUC of real images, of real and drawn ones, of drawn ones alone, and the gain.

    `embedding` is the SHA-256 of the file that the card is for. The figures are exact, and of patients whom no privacy
    claim covers. Whoever knows all others could compute from them who was tested on, and so not trained on: `private`,
    a card beside a claim, has none.

    Raises:
        ArtifactError: measured on images that do not say that this embedding drew them, or nothing was compared.
        PrivacyError: the card is beside a claim; a name looks like a person's.
    """
    if private:
        raise PrivacyError(
            "an evaluation's exact figures would show who was tested on, and the privacy claim does not cover that",
            "publish them rounded, beside the release: `embhub evaluate --publish-to`",
        )
    arm, gain = report.arms[0] if report.arms else None, report.headline
    if arm is None or gain is None:
        raise ArtifactError("the evaluation compares no generated images with real ones", "run `embhub evaluate` anew")
    if embedding not in arm.embeddings:
        raise ArtifactError(
            "the evaluation covers images of another embedding, or that do not say of which",
            "pass the report of this embedding's images",
        )
    from embhub.cards.personal_data import personal_data  # its patterns take long to compile

    names = [report.dataset, report.positive, *report.negative, *(one.over for one in report.controls)]
    if personal_data("\n".join(names)):
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
    figures += [item(f"{name}, over {one.over}", one.gain, one.interval) for one in report.controls]
    if report.worth is not None:
        low, high = report.worth.interval
        named = f"{WORTH} {report.real_unit}s a class, {report.worth.drawn} generated images alone"
        figures.append(item(named, report.worth.value, (low, high)))
    return figures + [_agreement(one, dataset) for one in report.fidelity if _is_of(one, arm, report.positive)]


def stated_agreement(card: Card) -> float | None:
    """The share of generated images that show their label, as a card states it: the smallest; None where none does."""
    found = [one.value for one in card.evaluation if one.metric.startswith(AGREEMENT)]
    return min((value for value in found if 0 <= value <= 1), default=None)


def _is_of(one: Fidelity, arm: Arm, label: str) -> bool:
    return one.arm == arm.name and one.label == label and one.agreement is not None


def _agreement(one: Fidelity, dataset: str) -> dict[str, Any]:
    metric = f"{AGREEMENT}: share of generated images that the classifier takes for their label"
    return {"task": "Image classification", "dataset": dataset, "metric": metric, "value": one.agreement}
