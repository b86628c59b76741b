"""The figures of an evaluation on a card: as measured, of this embedding, and none that a privacy claim denies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.repocard_data import model_index_to_eval_results

from embhub.cards import card, evaluation
from embhub.cards.evaluation import EvaluationReport
from embhub.cards.evaluation_on_card import card_figures, stated_agreement
from embhub.errors import ArtifactError, PrivacyError
from embhub.formats import safe_yaml
from tests.support import cards

DIGEST = "ab" * 32


def figure(real: int, drawn: int, auc: float) -> dict[str, Any]:
    pair = [auc - 0.02, auc + 0.03]
    return {"real": real, "arm": "synthetic" if drawn else "", "drawn": drawn, "auc": auc, "interval": pair,
            "delong": pair, "patients": pair, "seeds": pair, "each_seed": [auc, auc]}  # fmt: skip


def difference(real: int, drawn: int, gain: float, **changes: Any) -> dict[str, Any]:
    pair = [gain - 0.02, gain + 0.03]
    return {"real": real, "arm": "synthetic", "drawn": drawn, "gain": gain, "interval": pair, "delong": pair,
            "delong_p": 0.2, "patients": pair, "seeds": pair, "each_seed": [gain, gain],
            "outcome": "made no difference that this comparison can show", **changes}  # fmt: skip


def document(**changes: Any) -> dict[str, Any]:
    """A grid of 20 and 80 real images with 0, 50 and 100 drawn ones, where fewer are better."""
    values = {
        "schema": "embhub.evaluation/1", "embhub": "0.1.0", "dataset": "phantoms", "positive": "cspca",
        "negative": ["normal"], "unit": "patient", "seeds": 2,
        "classifier": {"name": "small", "steps": 20, "batch": 32, "rate": 2e-3, "resolution": 64, "mirrored": True},
        "real": {"images": 80, "positives": 40, "patients": 40},
        "test": {"images": 60, "positives": 30, "patients": 45},
        "arms": [{"name": "synthetic", "images": 120, "positives": 60, "embeddings": [DIGEST],
                  "learned_from_real": False, "learned_from_test": False}],
        "aucs": [figure(20, 0, 0.7), figure(80, 0, 0.8), figure(0, 50, 0.6), figure(0, 100, 0.65),
                 figure(20, 50, 0.9), figure(20, 100, 0.85), figure(80, 50, 0.84), figure(80, 100, 0.81)],
        "differences": [difference(20, 50, 0.2, outcome="helped"), difference(20, 100, 0.15), difference(80, 50, 0.04),
                        difference(80, 100, 0.01)],
    }  # fmt: skip
    return values | changes


def report(**changes: Any) -> EvaluationReport:
    return evaluation.parse(json.dumps(document(**changes)).encode())


def test_the_headline_is_the_largest_cell_and_not_the_best() -> None:
    found = report().headline
    assert found is not None and (found.real, found.drawn, found.gain) == (80, 100, 0.01)
    words = report().words()
    assert "With 80 real images, adding 100 generated images made no difference" in words
    assert "AUC 0.800 real, 0.810 real and generated, difference +0.010 [-0.010, +0.040] over 2 seeds" in words


def test_the_figures_are_those_of_the_report_with_their_intervals() -> None:
    found = card_figures(report(), DIGEST, private=False)
    assert [(one["metric"], one["value"], one["interval"]) for one in found] == [
        ("AUC, 80 real images, mean of 2 seeds", 0.8, [0.78, 0.83]),
        ("AUC, 80 real and 100 drawn images, mean of 2 seeds", 0.81, [0.79, 0.84]),
        ("AUC, 100 drawn images alone, mean of 2 seeds", 0.65, [0.63, 0.68]),
        ("AUC gained by 100 drawn images beside 80 real ones, mean of 2 seeds", 0.01, [-0.01, 0.04]),
    ]
    assert {one["dataset"] for one in found} == {"phantoms (45 test patients)"}


def test_how_often_images_show_their_label_is_one_of_them() -> None:
    """Of the arm that the embedding generated and of the label asked for; the smallest is what a card states.

    As many were generated as there are real test images of the label: a count of them would undo "<10".
    """
    row: dict[str, Any] = {
        "arm": "synthetic", "label": "cspca", "images": 120, "kid": None, "kid_sd": None, "subset": 0,
        "precision": 0.1, "recall": 0.1, "diversity": 0.1, "agreement": 0.41,
    }  # fmt: skip
    rows = [row, {**row, "arm": "other", "agreement": 0.1}, {**row, "label": "normal", "agreement": 0.2}]
    found = card_figures(report(fidelity=rows), DIGEST, private=False)
    agreed = {one["metric"]: one["value"] for one in found if one["metric"].startswith("agreement")}
    assert agreed == {"agreement: share of generated images that the classifier takes for their label": 0.41}
    assert stated_agreement(card.parse(cards.complete(evaluation=found))) == 0.41
    assert stated_agreement(card.parse(cards.complete())) is None


def test_the_card_takes_them_and_the_hub_reads_its_model_index() -> None:
    found = card.parse(cards.complete(evaluation=card_figures(report(), DIGEST, private=False)))
    page = card.to_readme(found)
    front = safe_yaml.load(page.split(b"---\n")[1])
    name, results = model_index_to_eval_results(front["model-index"])
    assert name == found.name and len(results) == 4
    assert results[-1].task_type == "image-classification"
    assert results[-1].metric_value == 0.01
    assert "[-0.01, 0.04]" in page.decode()
    assert card.from_readme(page) == found


@pytest.mark.parametrize(("patients", "shown"), [(9, "<10"), (10, "10"), (None, "60")])
def test_a_small_number_of_test_patients_is_not_told(patients: int | None, shown: str) -> None:
    values = report(test={"images": 60, "positives": 30, "patients": patients})
    assert card_figures(values, DIGEST, private=False)[0]["dataset"] == f"phantoms ({shown} test patients)"


def test_images_that_another_embedding_drew_are_no_evidence_for_this_one() -> None:
    unnamed = [{"name": "synthetic", "images": 120, "positives": 60}]
    for changes in ({}, {"arms": unnamed}):  # the folder did not say
        with pytest.raises(ArtifactError, match="images of another embedding, or that do not say of which"):
            card_figures(report(**changes), "cd" * 32, private=False)


def test_worth_is_counted_in_what_the_training_images_are_counted_in() -> None:
    """Patients under test say nothing of it: forty real images of an unknown number of patients are forty images."""
    assert report().real_unit == "patient"
    assert report(real={"images": 100, "positives": 50, "patients": None}).real_unit == "image"


def test_beside_a_privacy_claim_there_are_no_figures_of_patients() -> None:
    with pytest.raises(PrivacyError, match="who was tested on"):
        card_figures(report(), DIGEST, private=True)


@pytest.mark.parametrize("field", ["dataset", "positive"])
def test_a_name_that_looks_like_a_persons_goes_on_no_card(field: str) -> None:
    with pytest.raises(PrivacyError, match="look like a person's"):
        card_figures(report(**{field: "images of Dr. Smith"}), DIGEST, private=False)


def test_without_a_comparison_there_is_nothing_for_a_card() -> None:
    for values in (report(differences=[]), report(arms=[])):
        assert values.headline is None and values.smallest() is None
        assert values.words() == "No generated images were compared with real ones."
        with pytest.raises(ArtifactError, match="compares no generated images"):
            card_figures(values, DIGEST, private=False)


def test_the_smallest_difference_follows_from_the_interval() -> None:
    assert report().smallest() == pytest.approx(0.025 * 2.801585 / 1.959964)


def test_a_document_is_read_as_it_was_written() -> None:
    once = report()
    assert evaluation.parse(once.to_bytes()) == once


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "cannot be read"),
        (b'{"schema": "embhub.audit/1"}', "is not one of embhub.evaluation/1"),
        (json.dumps(document(patients=["P1"])).encode(), "patients"),
        (json.dumps(document(seeds=1)).encode(), "seeds"),
        (b'{"a": 1, "a": 2}', "cannot be read"),
        (b" " * (evaluation.MAX_BYTES + 1), "cannot be read"),
    ],
)
def test_anything_else_is_refused_in_words(data: bytes, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        evaluation.parse(data)


def test_every_field_is_in_the_reference() -> None:
    told = (Path(__file__).parents[3] / "docs/reference/evaluation-report.md").read_text()
    parts = [getattr(evaluation, name) for name in ("Classifier", "Group", "Arm", "Figure", "Difference", "Fidelity")]
    fields = {field.alias or name for part in (EvaluationReport, *parts) for name, field in part.model_fields.items()}
    assert not {field for field in fields if f"`{field}`" not in told}
