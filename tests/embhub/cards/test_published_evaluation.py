"""What of an evaluation may leave a site, and what somebody who knows all patients but one can compute from it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.cards.published_evaluation import STEPS, Cohort, Images, coarsen, parse
from embhub.errors import ArtifactError, PrivacyError
from tests.support.evaluations import EMBEDDING, FIGURES, HARM, cohort, report

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
    both = Cohort((made.training[0], made.training[0]), made.test)
    assert coarsen(report(), made, embedding=EMBEDDING).patients.training == 60
    assert coarsen(report(), both, embedding=EMBEDDING).patients.training == 30


def test_one_patient_with_many_images() -> None:
    made = cohort()
    heavy = Cohort(made.training, ({**made.test[0], "c0": Images(30, "0")}, made.test[1]))
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


@pytest.mark.parametrize("embeddings", [[], ["b" * 64], [EMBEDDING, "b" * 64]])
def test_images_of_other_embeddings(embeddings: list[str]) -> None:
    arm = {"name": "synthetic", "images": 500, "positives": 250, "embeddings": embeddings}
    with pytest.raises(ArtifactError, match="not from this embedding alone"):
        coarsen(report(arms=[arm]), cohort(), embedding=EMBEDDING)


@settings(max_examples=25)
@given(JSON)
def test_the_parser_reads_or_refuses_anything(document: Any) -> None:
    with pytest.raises(ArtifactError):
        parse(document)


@settings(max_examples=80)
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


def _published(auc: float, sick: int, well: int) -> str:
    made = report(auc=round(auc, 4), both=0.8034)
    low = made.model_copy(update={"aucs": tuple(
        one.model_copy(update={"interval": (max(0.0, one.auc - 0.08), min(1.0, one.auc + 0.08))}) for one in made.aucs
    )})  # fmt: skip
    return json.dumps(coarsen(low, cohort(test=(sick, well)), embedding=EMBEDDING).to_json(), sort_keys=True)


def test_who_knows_all_patients_but_one_learns_little_from_the_figures() -> None:
    """The attack: two evaluations, with a patient and without, by somebody who knows every other score.

    From exact figures the count gives the patient's diagnosis, and the difference of AUCs the rank of the patient's
    score. From published figures a change is seen at all for few patients; and the site refuses the second publication
    (`tests/embhub/site/test_evaluated_patients.py`).
    """
    exact = seen = tried = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sick, well = rng.normal(1, 1, 46), rng.normal(0, 1, 67)
        whole = _published(_auc(sick, well), 46, 67)
        for number in range(20):
            rest = np.delete(sick, number)
            before, after = _auc(rest, well) * len(rest) * len(well), _auc(sick, well) * len(sick) * len(well)
            exact += round(after - before) == int((sick[number] > well).sum())
            seen += _published(_auc(rest, well), 45, 67) != whole
            tried += 1
    assert exact == tried, "exact figures give the rank of every one"
    assert seen <= tried * 0.15, f"published ones changed for {seen} of {tried}"
