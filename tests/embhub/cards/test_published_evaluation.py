"""What of an evaluation may leave a site, and what somebody who knows all patients but one can compute from it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.cards.evaluation import HARMED, HELPED, NOTHING, EvaluationReport
from embhub.cards.published_evaluation import STEPS, Cohort, Images, coarsen, parse
from embhub.errors import ArtifactError, PrivacyError
from tests.support.evaluations import EMBEDDING, FIGURES, HARM, cohort, report
from tests.support.quick import examples

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
PLACES = [(name,) for name in FIGURES] + [
    ("patients", "positive"), ("real_alone", "auc"), ("real_alone", "interval"), ("gains", 0), ("gains", 1, "gain"),
]  # fmt: skip


def test_what_leaves_is_rounded_and_names_nobody() -> None:
    found = coarsen(report(), cohort(), embedding=EMBEDDING)
    said = json.dumps(found.to_json())
    assert found.step == 0.05 and "0.7012" not in said and "Jansen" not in said and "0.71234" not in said
    assert (found.real, found.patients.training, found.patients.positive) == (200, 120, 40)
    assert [gain.over for gain in found.gains] == ["real images alone", "other generated images"]
    assert found.gains[0].interval == (0.0, 0.2), "0.0321 to 0.1733, never narrower"
    assert parse(json.loads(said)) == found and "nobody" not in found.in_words()


@pytest.mark.parametrize(("people", "images", "step"), [(20, 1, 0.1), (40, 1, 0.05), (100, 1, 0.02), (200, 3, 0.01)])
def test_no_figure_is_finer_than_one_patient(people: int, images: int, step: float) -> None:
    found = coarsen(report(), cohort(test=(people, people), images=images), embedding=EMBEDDING)
    assert found.step == step >= 2 / people


@pytest.mark.parametrize(
    "group",
    [cohort(test=(19, 60)), cohort(test=(40, 19)), cohort(training=(9, 60)), cohort(training=(60, 9))],
)  # fmt: skip
def test_too_few_patients(group: Cohort) -> None:
    with pytest.raises(PrivacyError, match="fewer than"):
        coarsen(report(), group, embedding=EMBEDDING)


def test_a_patient_with_images_of_both_classes_is_one_patient() -> None:
    made = cohort(training=(30, 30))
    both = Cohort((made.training[0], made.training[0]), made.test, 30)
    assert coarsen(report(), made, embedding=EMBEDDING).patients.training == 60
    assert coarsen(report(), both, embedding=EMBEDDING).patients.training == 30


def test_one_patient_with_many_images() -> None:
    made = cohort()
    heavy = Cohort(made.training, ({**made.test[0], "c0": Images(30, "0")}, made.test[1]), 63)
    with pytest.raises(PrivacyError, match="43% of the images"):
        coarsen(report(), heavy, embedding=EMBEDDING)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": "image"}, "name no patients"),
        ({"real": {"images": 9, "positives": 4, "patients": None}}, "name no patients"),
        ({"dataset": "Maria Jansen"}, "names a person"),
        ({"dataset": "exports/2024/scan.png"}, "plain words"),
        ({"arms": [{"name": "s", "images": 9, "positives": 4, "embeddings": [EMBEDDING], "learned_from_real": True}]},
         "was learned from patients"),
    ],
)  # fmt: skip
def test_what_may_not_leave(changes: dict[str, Any], words: str) -> None:
    if "arms" in changes:
        changes["arms"][0]["name"] = "synthetic"
    with pytest.raises(PrivacyError, match=words):
        coarsen(report(**changes), cohort(), embedding=EMBEDDING)


@pytest.mark.parametrize("known", [{"learned_from_real": True}, {"learned_from_test": True}])
@pytest.mark.parametrize("place", [0, 1])
def test_no_arm_was_learned_from_patients_of_the_evaluation(known: dict[str, bool], place: int) -> None:
    """A control arm's figure leaves too: an embedding of the evaluated patients would be measured on them."""
    name = "plain words of Jan Jansen"
    arms: list[dict[str, Any]] = [
        {"name": "synthetic", "images": 500, "positives": 250, "embeddings": [EMBEDDING]},
        {"name": name, "images": 500, "positives": 250, "embeddings": ["b" * 64]},
    ]
    assert len(coarsen(report(arms=arms), cohort(), embedding=EMBEDDING).gains) == 2
    arms[place] |= known
    with pytest.raises(PrivacyError, match="was learned from patients of this evaluation") as refused:
        coarsen(report(arms=arms), cohort(), embedding=EMBEDDING)
    assert "Jansen" not in f"{refused.value}"


@pytest.mark.parametrize("embeddings", [[], ["b" * 64], [EMBEDDING, "b" * 64]])
def test_images_of_other_embeddings(embeddings: list[str]) -> None:
    arm = {"name": "synthetic", "images": 500, "positives": 250, "embeddings": embeddings}
    with pytest.raises(ArtifactError, match="not from this embedding alone"):
        coarsen(report(arms=[arm]), cohort(), embedding=EMBEDDING)


@settings(max_examples=examples(25))
@given(JSON)
def test_the_parser_reads_or_refuses_anything(document: Any) -> None:
    with pytest.raises(ArtifactError):
        parse(document)


@settings(max_examples=examples(80))
@given(st.sampled_from(PLACES), JSON, st.sampled_from([FIGURES, HARM]))
def test_the_parser_refuses_what_breaks_a_rule(place: tuple[Any, ...], value: Any, figures: dict[str, Any]) -> None:
    """One member is another: refused, or as coarse as it was and still in agreement with itself."""
    changed = json.loads(json.dumps(figures))
    inner = changed
    for step in place[:-1]:
        inner = inner[step] if not isinstance(inner, list) or step < len(inner) else {}
    if isinstance(inner, list) and place[-1] >= len(inner):
        return
    inner[place[-1]] = value
    try:
        found = parse(changed)
    except ArtifactError:
        return
    assert found.step in STEPS and found.patients.positive >= 20 and found.patients.positive % 10 == 0
    again = parse(json.loads(json.dumps(found.to_json())))
    assert again == found
    for area in (found.real_alone, found.with_generated):
        assert math.isclose(area.auc / found.step, round(area.auc / found.step), abs_tol=1e-6)


def _auc(sick: np.ndarray[Any, Any], well: np.ndarray[Any, Any]) -> float:
    return float((sick[:, None] > well[None, :]).mean())


def _published(models: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]) -> str:
    """Everything that is published of real images alone, with generated ones, and two controls: DeLong's intervals."""
    wins = [sick[:, None] > well[None, :] for sick, well in models]
    sick, well = len(models[0][0]), len(models[0][1])
    aucs = [float(one.mean()) for one in wins]
    spread = np.cov([one.mean(1) for one in wins]) / sick + np.cov([one.mean(0) for one in wins]) / well

    def around(middle: float, variance: float, least: float) -> list[float]:
        half = 1.96 * variance**0.5
        return [max(least, middle - half), min(1.0, middle + half)]

    made = report().model_dump(mode="json")
    for row, auc, variance in zip(made["aucs"], aucs[:2], np.diag(spread), strict=False):
        row.update(auc=round(auc, 4), interval=around(auc, variance, 0.0))
    rows = []
    for over, number in (("real images alone", 0), ("real images alone, stopped early", 2), ("plain words", 3)):
        gain = aucs[1] - aucs[number]
        interval = around(gain, spread[1, 1] + spread[number, number] - 2 * spread[1, number], -1.0)
        outcome = HELPED if interval[0] > 0 else HARMED if interval[1] < 0 else NOTHING
        rows.append({**made["differences"][0], "over": over, "gain": gain, "interval": interval, "outcome": outcome})
    whole = EvaluationReport.model_validate_json(json.dumps({**made, "differences": rows}))
    return json.dumps(coarsen(whole, cohort(test=(sick, well)), embedding=EMBEDDING).to_json(), sort_keys=True)


def test_who_knows_all_patients_but_one_learns_little_from_the_figures() -> None:
    """The attack: two evaluations, with a patient and without, by somebody who knows every other score.

    From exact figures the count gives the patient's diagnosis, and the difference of AUCs the rank of the patient's
    score. From published figures, all of them together, a change is seen for two in five; and the site refuses the
    second publication (`tests/embhub/site/test_evaluated_patients.py`).
    """
    exact = seen = tried = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sick, well = rng.normal(1.2, 1, 46), rng.normal(0, 1, 67)
        models = [(sick + rng.normal(-0.1 * (i == 0), 0.6, 46), well + rng.normal(0, 0.6, 67)) for i in range(4)]
        whole = _published(models)
        for number in range(20):
            first, others = models[0]
            rest = np.delete(first, number)
            before, after = _auc(rest, others) * len(rest) * len(others), _auc(first, others) * len(first) * len(others)
            exact += round(after - before) == int((first[number] > others).sum())
            seen += _published([(np.delete(one, number), two) for one, two in models]) != whole
            tried += 1
    assert exact == tried, "exact figures give the rank of every one"
    assert seen <= tried * 0.42, f"published ones changed for {seen} of {tried}"


def test_several_other_arms_are_not_published() -> None:
    """Each control is a figure of its own: with eight, a change would be seen for two thirds of patients."""
    made = report()
    several = made.model_copy(update={"differences": (*made.differences, made.differences[1])})
    with pytest.raises(PrivacyError, match="several other arms"):
        coarsen(several, cohort(), embedding=EMBEDDING)
    gains = [*FIGURES["gains"], *[{**FIGURES["gains"][1], "over": "other generated images"}] * 2]
    with pytest.raises(ArtifactError):
        parse({**FIGURES, "gains": gains})
