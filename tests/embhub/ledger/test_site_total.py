"""What a signed claim says of the whole site: the same whoever the patients are, dated, and never less than before."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embhub.errors import ConfigError
from embhub.ledger import budget, elsewhere
from embhub.ledger import site_total as site_totals
from embhub.ledger.balance import balance
from embhub.ledger.books import open_books
from embhub.privacy.claim import UncheckableClaimError, UnsupportedClaimError, parse_claim, read_claim
from embhub.privacy.composition import Composition
from embhub.privacy.epsilon import compute
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import compose, epsilon_of, gaussian_curve
from embhub.privacy.wording import site_total as in_words
from tests.support.claims import altered, make_claim, site_total
from tests.support.quick import examples
from tests.support.releases import make_embedding

EARLIER = [f"old{number}" for number in range(30)]
NEW = [f"new{number}" for number in range(50)]
DELTA = 1e-5


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter(tmp_path / "site", monkeypatch)


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(folder))
    return folder


def train(patients: list[str], *, steps: int = 100, mechanism: str = "dp-sgd") -> budget.Reservation:
    private = {"q": 0.1, "sigma": 2.0} if mechanism != "none" else {}
    with budget.reserve(patients, unit="patient", mechanism=mechanism, steps=steps, **private) as run:  # type: ignore[arg-type]
        run.spend(steps)
    run.release(f"{len(patients):064x}")
    return run


def stated(run: budget.Reservation) -> Composition:
    return run.lineage(delta=DELTA)["composition"]


def claim(run: budget.Reservation) -> bytes:
    lineage = run.lineage(delta=DELTA)
    return rfc8785.dumps({"tuning_runs": lineage["tuning_runs"], "composition": lineage["composition"].model_dump()})


def test_two_cohorts_that_differ_by_one_earlier_patient_state_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header of a private file must not tell whether somebody was in an earlier release."""
    said = []
    for name, cohort in (("apart", NEW), ("overlapping", [*NEW[1:], EARLIER[0]])):
        enter(tmp_path / name, monkeypatch)
        train(EARLIER)
        train(EARLIER[:20], mechanism="none")
        run = train(cohort)
        said.append(claim(run))
        assert run.spent(delta=DELTA).trainings == (1 if name == "apart" else 3), "at home it is seen"
    assert said[0] == said[1]


def test_it_covers_every_private_training_and_counts_the_others(home: Path) -> None:
    assert (first := stated(train(NEW))).trainings == 1 and first.plain == 0
    train(EARLIER, steps=50)
    train(["somebody else"], mechanism="none")
    last = stated(train(EARLIER[:3], steps=20))
    assert (last.trainings, last.plain) == (3, 1)
    truth = compose(gaussian_curve(q=0.1, sigma=2.0, steps=steps) for steps in (100, 50, 20))
    assert last.epsilon == compute(Mechanism(0.1, 2.0, 170), delta=DELTA).epsilon
    assert all(said is None or said >= value for said, value in zip(last.rdp, truth, strict=True))


def test_budget_claim_and_file_come_to_one_epsilon(home: Path) -> None:
    """One training, then several of other settings on the same patients: one accountant, one figure."""
    run = train(NEW)
    alone = compute(Mechanism(0.1, 2.0, 100), delta=DELTA).epsilon
    for more in (None, ("dp-agg", 1.0, 3.0, 1), ("dp-sgd", 0.2, 4.0, 70)):
        if more is not None:
            mechanism, q, sigma, steps = more
            with budget.reserve(NEW, unit="patient", mechanism=mechanism, q=q, sigma=sigma, steps=steps) as run:  # type: ignore[arg-type]
                run.spend(steps)
        said = stated(run).epsilon
        assert said == balance(delta=DELTA)["cohorts"][0]["epsilon"] == run.spent(delta=DELTA).epsilon
        assert more is not None or said == alone
    curves = [gaussian_curve(q=q, sigma=sigma, steps=steps) for q, sigma, steps in stated(run).mechanisms or ()]
    assert len(curves) == 3
    assert alone < stated(run).epsilon < epsilon_of(compose(curves), delta=DELTA)


def test_a_release_from_elsewhere_costs_what_its_claim_says(home: Path) -> None:
    claim = make_claim(composition=site_total())
    assert claim.composition and claim.composition.epsilon == claim.epsilon
    elsewhere.count(NEW, make_embedding(privacy=claim))
    assert balance(delta=DELTA)["cohorts"][0]["epsilon"] == claim.epsilon


def test_more_kinds_of_trainings_than_a_claim_lists_are_bounded_by_their_curve(home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_totals, "MOST_MECHANISMS", 1)
        train(NEW)
        with budget.reserve(NEW, unit="patient", mechanism="dp-agg", q=1.0, sigma=3.0, steps=1) as run:
            run.spend()
        total = stated(run)
    truth = compose([gaussian_curve(q=0.1, sigma=2.0, steps=100), gaussian_curve(q=1.0, sigma=3.0, steps=1)])
    assert total.mechanisms is None and total.epsilon == pytest.approx(epsilon_of(truth, delta=DELTA), abs=2e-4)


def test_trainings_that_were_never_released_count_too(home: Path) -> None:
    with budget.reserve(EARLIER, unit="patient", mechanism="none", steps=1) as run:
        run.spend()
    with budget.reserve(EARLIER, unit="patient", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=5) as tried:
        tried.spend(5)
    lineage = train(NEW).lineage(delta=DELTA)
    assert (lineage["composition"].trainings, lineage["composition"].plain, lineage["tuning_runs"]) == (2, 1, 1)


def test_it_never_falls_when_a_training_turns_out_shorter(home: Path) -> None:
    running = budget.reserve(EARLIER, unit="patient", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=1000)
    before = stated(train(NEW))
    running.settle()
    after = stated(train(NEW, steps=1))
    assert after.epsilon >= before.epsilon and after.trainings >= before.trainings


def test_what_is_stated_again_is_the_same_and_writes_nothing(home: Path) -> None:
    run = train(NEW)
    first = stated(run)
    with open_books() as books:
        entries = books.ledger.tip
    assert stated(run) == first
    with open_books() as books:
        assert books.ledger.tip == entries


def test_trainings_on_images_bound_nobody_and_patients_bound_images(home: Path) -> None:
    with budget.reserve(NEW, unit="image", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=10) as images:
        images.spend(10)
    patients = train(EARLIER, steps=10)
    assert (stated(patients).trainings, stated(patients).plain) == (1, 1)
    of_images = stated(images)
    assert (of_images.trainings, of_images.plain) == (2, 0)
    assert of_images.epsilon > stated(patients).epsilon, "one image more or less may be two patients' worth"


def test_a_ledger_that_was_opened_today_says_so(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing ledger and head, or another EMBHUB_HOME, is not noticed; the date in the claim shows it."""
    train(EARLIER)
    (home / "state/budget/ledger.jsonl").unlink()
    (home / "config/budget.head").unlink()
    for place in (home, tmp_path / "another home"):
        enter(place, monkeypatch)
        total = stated(train(EARLIER))
        assert total.trainings == 1 and total.since == total.as_of
        words = in_words(total, unit="patient")
        assert "first private training" in words
        assert f"The ledger was opened on {total.since} and knows of nothing before that day." in words


@given(
    st.lists(
        st.tuples(st.sampled_from(["dp-sgd", "none"]), st.integers(1, 40), st.sets(st.integers(0, 5), min_size=1)),
        max_size=6,
    ),
    st.sets(st.integers(0, 9), min_size=1),
    st.sets(st.integers(0, 9), min_size=1),
)
@settings(max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_went_before_the_cohort_changes_no_byte(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[str, int, set[int]]],
    one: set[int],
    other: set[int],
) -> None:
    said = []
    for cohort in (one, other):
        with pytest.MonkeyPatch.context() as patch:
            enter(tmp_path_factory.mktemp("site"), patch)
            for mechanism, steps, patients in history:
                train([f"p{number}" for number in patients], steps=steps, mechanism=mechanism)
            run = train([f"p{number}" for number in cohort])
            said.append(claim(run))
            spent = run.spent(delta=DELTA)
            assert stated(run).plain or (spent.epsilon or 0) <= stated(run).epsilon, "it bounds what was really spent"
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "change",
    [
        {"mechanisms": [[0.1, 4.578, 400]]},
        {"mechanisms": [[0.1, 5.0, 500]]},
        {"mechanisms": [[0.1, 4.578, 500], [0.2, 4.0, 70]]},
        {"mechanisms": []},
        {"mechanisms": [[0.1, 4.578, 500], [0.1, 4.578, 500]]},
        {"mechanisms": [[0.1, 4.578, 500]] * 17},
        {"mechanisms": None},
        {"epsilon": 1.9},
        {"epsilon": 2.3431},
    ],
)
def test_a_total_that_does_not_follow_from_its_trainings_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((UnsupportedClaimError, UncheckableClaimError)):
        read_claim(altered(make_claim(composition=site_total()), composition={**DATED, **change}))


DATED = json.loads(make_claim(composition=site_total()).to_text())["composition"]


@pytest.mark.parametrize(
    "change",
    [
        {"since": "2026-11-21"},
        {"as_of": "2026-02-30"},
        {"as_of": "20261120"},
        {"as_of": 20261120},
        {"plain": -1},
        {"trainings": 0},
        {"epsilon": None},
        {"rdp": None},
        {"more": 1},
    ],
)
def test_a_statement_of_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((UnsupportedClaimError, UncheckableClaimError)):
        read_claim(altered(make_claim(composition=site_total()), composition={**DATED, **change}))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*DATED, "more"]), inner, max_size=7)
        ),
        max_leaves=12,
    )
)
def test_nothing_but_a_claim_is_read_from_anything(value: object) -> None:
    facts = make_claim(composition=site_total()).to_dict() | {"composition": value}
    with pytest.raises((UnsupportedClaimError, UncheckableClaimError)):
        parse_claim(facts)


def test_a_count_for_one_cohort_is_not_read() -> None:
    """It would tell of an overlap, and has no date."""
    curve = compose([make_claim().curve] * 2)
    cohort = {"trainings": 2, "epsilon": 2.9263, "rdp": [None if math.isinf(v) else v for v in curve]}
    with pytest.raises(UnsupportedClaimError, match="composition"):
        read_claim(altered(make_claim(composition=site_total()), composition=cohort))


def test_the_newest_statement_is_the_latest_and_largest_of_its_day() -> None:
    curve = make_claim().curve
    first = site_total(as_of="2026-11-19")
    second = site_total(curve, as_of="2026-11-20")
    third = site_total(curve, curve, as_of="2026-11-20")
    assert first.order < second.order < third.order
    assert third.total.order == third.order and "rdp" not in third.total.model_dump()


def test_an_unknown_entry_of_a_newer_version_is_not_passed_over(home: Path) -> None:
    with open_books() as books:
        books.account()
        books.ledger.append("stated", {"unit": "patient", "trainings": 1, "plain": 0, "rdp": [], "weather": "fine"})
    with pytest.raises(ConfigError, match="weather"):
        train(NEW)
