"""Pictures without ids are their patients' pictures; and ids that look alike are pointed out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embhub.ledger import budget
from embhub.ledger.balance import balance
from embhub.ledger.budget import BudgetExceededError
from embhub.privacy import epsilon as epsilons
from embhub.privacy.choices import Unit
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import compose, epsilon_of, gaussian_curve, group_curve, publish_epsilon
from embhub.site.memory.patients import key_patient, likeness
from tests.support.quick import examples

DELTA = 1e-5
PATIENTS = ["p1", "p2", "p3"]
PICTURES = {"p1": ["a1"], "p2": ["b1", "b2"], "p3": ["c1", "c2", "c3"]}
PAIRS = [(picture, patient) for patient, pictures in PICTURES.items() for picture in pictures]
ALL = [picture for picture, _ in PAIRS]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    return tmp_path


def plain(
    units: list[str], *, unit: str = "image", pictures: list[tuple[str, str]] | None = None
) -> budget.Reservation:
    with budget.reserve(units, unit=unit, mechanism="none", steps=1, pictures=pictures or []) as run:  # type: ignore[arg-type]
        run.spend()
    return run


def private(
    units: list[str], *, unit: Unit = "patient", pictures: list[tuple[str, str]] | None = None, steps: int = 10
) -> budget.Reservation:
    with budget.reserve(
        units,
        unit=unit,
        mechanism="dp-sgd",
        q=0.1,
        sigma=2.0,
        steps=steps,
        pictures=pictures or [],
    ) as run:
        run.spend(steps)
    return run


def own(steps: int = 10) -> tuple[float, ...]:
    return gaussian_curve(q=0.1, sigma=2.0, steps=steps)


def test_a_picture_that_was_learned_from_without_an_id_counts_for_its_patient() -> None:
    """A folder without manifest first; then the same pictures with patient ids and differential privacy."""
    plain(["c2", "of nobody"])
    run = private(PATIENTS, pictures=PAIRS)
    assert run.spent(delta=DELTA).epsilon is None and run.spent(delta=DELTA).trainings == 2
    assert run.lineage(delta=DELTA)["composition"].plain == 1
    assert private(["p1", "p2"]).spent(delta=DELTA).epsilon is not None, "p3 alone was in it"
    assert private(["p3"]).spent(delta=DELTA).epsilon is None, "known from then on, whatever pictures come"


def test_the_other_order_counts_too() -> None:
    private(PATIENTS, pictures=PAIRS)
    assert private(ALL[:1], unit="image").spent(delta=DELTA).trainings == 2
    plain(["b1"])
    assert private(["p2"]).spent(delta=DELTA).epsilon is None


def test_a_cap_for_patients_holds_for_their_pictures() -> None:
    private(PATIENTS, pictures=PAIRS)
    budget.set_cap(4.0, units=["p3"])
    plain(["a1"])
    with pytest.raises(BudgetExceededError):
        plain(["c1"])


def test_a_cap_is_compared_with_patients_where_their_pictures_are_known() -> None:
    """One picture alone is bounded less tightly than its patient, and a cap speaks of patients."""
    one = epsilons.compute(Mechanism(0.1, 2.0, 10), delta=DELTA).epsilon
    budget.set_cap(one * 1.01)
    private(PATIENTS, pictures=PAIRS)
    with pytest.raises(BudgetExceededError, match="3 patients"):
        private(PATIENTS, pictures=PAIRS)
    with pytest.raises(BudgetExceededError, match="1 patient comes"):
        private(["c1"], unit="image", steps=1)
    with pytest.raises(BudgetExceededError, match="1 image comes"):
        private(["of nobody"], unit="image", steps=40)
    private(["of nobody"], unit="image")


def test_claims_for_images_cost_a_patient_as_a_group_of_them() -> None:
    private(ALL, unit="image")
    run = private(PATIENTS, pictures=PAIRS)
    three = compose([own(), group_curve(own(), size=4)])
    assert run.spent(delta=DELTA).epsilon == pytest.approx(publish_epsilon(epsilon_of(three, delta=DELTA)), abs=2e-4)
    one = private(["p1"], steps=1)
    alone = epsilons.compose([Mechanism(0.1, 2.0, steps) for steps in (10, 10, 1)], delta=DELTA)
    assert one.spent(delta=DELTA).epsilon == pytest.approx(publish_epsilon(alone), abs=2e-4)


def test_cohorts_show_what_read_their_pictures() -> None:
    image_run = plain(ALL)
    patient_run = private(PATIENTS, pictures=PAIRS)
    patients, pictures = balance(delta=DELTA)["cohorts"]
    assert (patients["unit"], patients["epsilon"], patients["linked"]) == ("patient", None, [image_run.run])
    assert (pictures["unit"], pictures["linked"]) == ("image", [patient_run.run])


def test_neither_pictures_nor_ids_stand_in_the_ledger(home: Path) -> None:
    private(["Miller-1950"], pictures=[("ab" * 32, "Miller-1950")])
    for path in home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"Miller" not in data and b"miller" not in data and b"ab" * 32 not in data
            assert bytes.fromhex("ab" * 32) not in data


def noted(first: list[str], second: list[str]) -> list[str]:
    private(first)
    said: list[str] = []
    budget.reserve(second, unit="patient", mechanism="none", steps=1, on_note=said.append)
    return said


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("PAT-0017", "pat-0017"),
        ("0017", "17"),
        ("PAT-0017", "PAT-17"),
        ("17", key_patient),
        (key_patient, "017"),
    ],
)
def test_ids_that_differ_in_case_zeros_or_issuer_are_pointed_out(first: object, second: object) -> None:
    ids = [key_patient("17", issuer="another hospital") if callable(item) else str(item) for item in (first, second)]
    (note,) = noted([ids[0], "x"], [ids[1], "y"])
    assert "1 patient has an id that differs only in case, leading zeros or issuer" in note
    assert ids[0] not in note and ids[1] not in note


def test_two_such_ids_in_one_cohort_are_pointed_out() -> None:
    (note,) = noted(["z"], ["a7", "A7", "b"])
    assert "2 patients have ids that differ" in note


@pytest.mark.parametrize("second", [["a7"], ["a70"], ["b7"], ["a07b", "a7c"]])
def test_the_same_and_other_ids_are_not_pointed_out(second: list[str]) -> None:
    assert noted(["a7"], second) == []


def test_what_an_id_keyed_elsewhere_looked_like_is_not_known() -> None:
    assert likeness(f"keyed-{'0' * 64}") is None
    assert noted(["a7"], [f"keyed-{'0' * 64}"]) == []


@given(
    st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 7), min_size=1), st.booleans()), min_size=1, max_size=6)
)
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_charges_are_those_of_a_slow_loop(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[bool, set[int], bool]]
) -> None:
    """Eight pictures of four patients; each training takes some, by patient or without ids, private or not."""
    owner = {f"i{number}": f"p{number % 4}" for number in range(8)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))
        for named, chosen, is_plain in history:
            images = [f"i{number}" for number in chosen]
            units = [owner[image] for image in images] if named else images
            pairs = [(image, owner[image]) for image in images] if named else []
            (plain if is_plain else private)(units, unit="patient" if named else "image", pictures=pairs)
        last = private(sorted(set(owner.values())), pictures=list(owner.items()))
        worst = 0.0
        for patient in set(owner.values()):
            curves = [own()]
            for named, chosen, is_plain in history:
                mine = sum(owner[f"i{number}"] == patient for number in chosen)
                if mine:
                    cost = (np.inf,) * len(own()) if is_plain else group_curve(own(), size=1 if named else mine)
                    curves.append(tuple(cost))
            found = epsilon_of(compose(curves), delta=DELTA)
            if all(curve == own() for curve in curves):  # known mechanisms are composed by losses too
                found = epsilons.compose([Mechanism(0.1, 2.0, 10)] * len(curves), delta=DELTA)
            worst = max(worst, found)
        spent = last.spent(delta=DELTA).epsilon
        if np.isinf(worst):
            assert spent is None
        else:
            assert spent is not None and worst <= spent <= worst + 3e-4
