"""The privacy ledger: whose budget, how much of it, and never less than was spent."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.ledger import budget
from embhub.ledger.books import open_books
from embhub.ledger.budget import BudgetExceededError
from embhub.ledger.chain import Ledger, LedgerTamperedError
from embhub.privacy import epsilon as epsilons
from embhub.privacy.calibration import calibrate_sigma
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import compose, epsilon_of, gaussian_curve, publish_epsilon
from embhub.site.memory.patients import key_patient

PATIENTS = [f"p{number}" for number in range(40)]
DELTA = 1e-5


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    yield tmp_path


def reserve(patients: list[str] = PATIENTS, *, steps: int = 100, sigma: float = 2.0) -> budget.Reservation:
    return budget.reserve(patients, unit="patient", mechanism="dp-sgd", q=0.1, sigma=sigma, steps=steps)


def train(patients: list[str] = PATIENTS, *, steps: int = 100, sigma: float = 2.0) -> budget.Reservation:
    with reserve(patients, steps=steps, sigma=sigma) as run:
        run.spend(steps)
    return run


def charged() -> list[int]:
    with open_books() as books:
        return [item.charged for item in books.account().runs.values()]


def spent(run: budget.Reservation) -> float | None:
    return run.spent(delta=DELTA).epsilon


def epsilon(*steps: int, sigma: float = 2.0) -> float:
    curve = compose(gaussian_curve(q=0.1, sigma=sigma, steps=count) for count in steps)
    return publish_epsilon(epsilon_of(curve, delta=DELTA))


def tight(*steps: int) -> float:
    return epsilons.publish(epsilons.compose([Mechanism(0.1, 2.0, count) for count in steps], delta=DELTA))


def test_a_reservation_counts_in_full_and_then_what_was_announced() -> None:
    run = reserve(steps=100)
    assert charged() == [100]
    run.spend(30)
    assert charged() == [100] and run.steps == 30
    run.settle()
    assert charged() == [30]
    assert spent(run) == pytest.approx(tight(30), abs=2e-4)


def test_an_abort_settles_what_was_announced() -> None:
    with pytest.raises(ZeroDivisionError), reserve() as run:
        run.spend(40)
        raise ZeroDivisionError
    assert charged() == [40]


def test_nothing_announced_costs_nothing() -> None:
    reserve().settle()
    assert charged() == [0]
    assert train().lineage()["composition"].trainings == 1


def test_no_step_without_reservation() -> None:
    with reserve(steps=10) as run:
        run.spend(10)
        with pytest.raises(PrivacyError, match="10 steps were reserved"):
            run.spend(1)
    with pytest.raises(PrivacyError, match="settled"):
        run.spend(1)
    assert charged() == [10]


def test_a_resumed_run_pays_for_the_steps_that_it_replays() -> None:
    with reserve(steps=100) as run:
        run.spend(70)
    with budget.resume(run.run, PATIENTS, steps=50) as again:  # the checkpoint was of step 50
        assert charged() == [120]
        again.spend(50)
        assert again.steps == 120
    assert charged() == [120]
    assert spent(again) == pytest.approx(tight(120), abs=2e-4)


def test_a_resumed_run_is_of_the_same_patients() -> None:
    """Who came into the manifest since would be charged nothing."""
    with reserve() as run:
        run.spend(10)
    for others in (PATIENTS[1:], [*PATIENTS, "one more"], ["regrouped"]):
        with pytest.raises(UsageError, match="other patients"):
            budget.resume(run.run, others, steps=10)
    with pytest.raises(UsageError, match="knows no run"):
        budget.resume("0" * 16, PATIENTS, steps=10)
    budget.resume(run.run, reversed(PATIENTS), steps=10).settle()


def test_a_run_that_goes_on_is_neither_resumed_nor_settled_by_another() -> None:
    run = reserve(steps=100)
    run.spend(10)
    with pytest.raises(PrivacyError, match="still going on"):
        budget.resume(run.run, PATIENTS, steps=10)
    train(["other"])
    assert charged()[0] == 100
    run.settle()


def test_what_is_spent_follows_patients_not_names_or_order() -> None:
    train(PATIENTS[:20])
    again = train([f"  {name} " for name in reversed(PATIENTS[10:30])])
    assert again.spent(delta=DELTA).trainings == 2
    assert spent(again) == pytest.approx(tight(100, 100), abs=3e-4)
    assert train(PATIENTS[30:]).spent(delta=DELTA).trainings == 1


def test_ids_of_another_issuer_or_kind_are_others() -> None:
    train()
    issued = [key_patient(name, issuer="another hospital") for name in PATIENTS]
    other = budget.reserve(issued, unit="patient", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=1)
    images = budget.reserve(PATIENTS, unit="image", mechanism="dp-agg", q=1.0, sigma=5.0, steps=1)
    for run in (other, images):
        assert run.spent().trainings == 1


def test_only_released_trainings_are_no_tuning() -> None:
    train().release("a" * 64)
    train()
    last = train()
    assert last.lineage()["tuning_runs"] == 1
    assert last.lineage()["composition"].trainings == 3
    with pytest.raises(UsageError):
        last.release("not a digest")


def test_a_training_without_privacy_is_infinite() -> None:
    with budget.reserve(PATIENTS[:1], unit="patient", mechanism="none", steps=1) as run:
        run.spend()
        assert "infinite" in run.words
    assert spent(run) is None
    with pytest.raises(PrivacyError, match="claims nothing"):
        run.lineage()
    assert spent(train(PATIENTS[:5])) is None, "one such patient is enough"
    assert spent(train(PATIENTS[5:])) is not None


def test_a_cap_refuses_before_anything_is_spent() -> None:
    budget.set_cap(tight(150))
    train(steps=100)
    with pytest.raises(BudgetExceededError, match="40 patients") as caught:
        reserve(steps=60)
    assert caught.value.exit_code == 6
    with pytest.raises(BudgetExceededError, match="without privacy"):
        budget.reserve(PATIENTS, unit="patient", mechanism="none", steps=1)
    assert charged() == [100]
    train(steps=40)
    train(["somebody else"], steps=140)
    with pytest.raises(BudgetExceededError):
        reserve(steps=40)


def test_a_cap_of_two_lets_a_training_of_epsilon_two_pass_and_no_more() -> None:
    """Cap, calibration and claim count by the same figure."""
    budget.set_cap(2.0)
    sigma = calibrate_sigma(epsilon=2.0, delta=DELTA, q=0.1, steps=100)
    assert epsilon(100, sigma=sigma) > 2.0, "by RDP alone it would be refused"
    train(steps=100, sigma=sigma)
    with pytest.raises(BudgetExceededError):
        reserve(steps=1, sigma=sigma)


def test_a_cap_holds_for_a_resumed_run() -> None:
    budget.set_cap(tight(100))
    with reserve(steps=100) as run:
        run.spend(70)
    with pytest.raises(BudgetExceededError):
        budget.resume(run.run, PATIENTS, steps=40)
    with budget.resume(run.run, PATIENTS, steps=30):
        pass
    assert charged() == [70]


def test_a_cap_of_a_cohort_holds_for_its_patients_alone_and_can_be_lifted() -> None:
    budget.set_cap(0.1, units=PATIENTS[:3])
    with pytest.raises(BudgetExceededError, match="3 patients"):
        reserve()
    train(PATIENTS[3:])
    budget.set_cap(None, units=PATIENTS[:3])
    train()


@pytest.mark.parametrize(
    "change",
    [{"q": 0.0}, {"q": 1.5}, {"sigma": 0.0}, {"sigma": float("nan")}, {"sigma": float("inf")}, {"steps": 0},
     {"q": None}, {"sigma": None}, {"mechanism": "none"},
     {"mechanism": "none", "q": None}, {"delta": 0.0}, {"delta": 1.0}, {"units": []}],
)  # fmt: skip
def test_nonsense_is_refused_and_not_written(change: dict[str, Any]) -> None:
    facts: dict[str, Any] = {
        "units": PATIENTS,
        "unit": "patient",
        "mechanism": "dp-sgd",
        "q": 0.1,
        "sigma": 1.0,
        "steps": 5,
        **change,
    }
    with pytest.raises(UsageError):
        budget.reserve(facts.pop("units"), **facts)
    assert charged() == []


@pytest.mark.parametrize(("cap", "delta"), [(0.0, DELTA), (-1.0, DELTA), (float("inf"), DELTA), (2.0, 0.0), (2.0, 1.0)])
def test_what_is_no_cap_is_not_written(cap: float, delta: float) -> None:
    with pytest.raises(UsageError, match="is no cap"):
        budget.set_cap(cap, delta=delta)
    train()


def test_steps_are_announced_and_resumed_one_at_least() -> None:
    with reserve(steps=2) as run:
        with pytest.raises(UsageError, match="0 steps"):
            run.spend(0)
        assert run.spend() == 1 and run.planned == 2
        assert run.words == "1 of 2 steps of dp-sgd"
    with pytest.raises(UsageError, match="0 steps"):
        budget.resume(run.run, PATIENTS, steps=0)
    with budget.resume(run.run, PATIENTS, steps=1) as again:
        assert again.spend() == 2


def test_the_largest_rate_and_little_noise_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count of trainings that were never released ends where a claim's does."""
    monkeypatch.setattr(budget, "MOST_TRAININGS", 2)
    for _ in range(3):
        run = budget.reserve(PATIENTS, unit="patient", mechanism="dp-sgd", q=1.0, sigma=0.9, steps=1, delta=1e-6)
        with run:
            run.spend()
    assert run.lineage()["tuning_runs"] == 1
    with open_books() as books:
        assert {item.delta for item in books.account().runs.values()} == {1e-6}


def test_what_cannot_be_written_down_is_no_reservation(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ConfigError("no space left on the device")

    train(["somebody else"])
    with monkeypatch.context() as disk:
        disk.setattr(Ledger, "append", full)
        with pytest.raises(ConfigError, match="no space"):
            reserve()
    assert charged() == [100]


def test_settled_twice_is_settled_once() -> None:
    run = reserve()
    run.settle()
    again = budget.resume(run.run, PATIENTS, steps=1)
    run.settle()
    assert charged() == [1], "what goes on again still counts in full"
    again.settle()


def test_no_patient_is_named_in_what_is_kept(home: Path) -> None:
    """The number is too long to stand by chance among the random hexadecimal digits of these files."""
    train(["Mustermann-1970-01-01", "471108150815"]).release("b" * 64)
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"Mustermann" not in kept and b"471108150815" not in kept
    assert all(path.stat().st_mode & 0o077 == 0 for path in home.rglob("*") if path.is_file())


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_set_that_is_gone_or_changed_is_noticed(home: Path, which: int) -> None:
    """Patients, their pictures, and their folded ids."""
    pictures = [("ab" * 16, PATIENTS[0]), ("cd" * 16, PATIENTS[1])]

    def again(patients: list[str] = PATIENTS) -> None:
        with budget.reserve(
            patients, unit="patient", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=9, pictures=pictures
        ) as run:
            run.spend(9)

    again()
    path = sorted((home / "state/budget/sets").iterdir(), key=lambda path: path.stat().st_size)[which]
    path.write_bytes(path.read_bytes()[16:])
    with pytest.raises(LedgerTamperedError, match="changed"):
        reserve()
    path.unlink()
    pictures.clear()
    with pytest.raises(LedgerTamperedError, match="missing"):
        train(["somebody else"])
    pictures += [("ab" * 16, PATIENTS[0]), ("cd" * 16, PATIENTS[1])]
    again()  # the same cohort again is the same set: it is written anew, and nothing is missing
    train(["somebody else"])


def test_another_site_key_is_no_fresh_start(home: Path) -> None:
    train()
    (home / "config/commitment.key").unlink()
    with pytest.raises((LedgerTamperedError, ConfigError)):
        reserve()


def test_a_removed_ledger_is_noticed(home: Path) -> None:
    train()
    shutil.rmtree(home / "state")
    with pytest.raises(LedgerTamperedError):
        reserve()


@pytest.mark.thorough
def test_ten_thousand_patients_in_a_hundred_trainings_stay_quick() -> None:
    """A ratio to reading the same numbers once would be noise here: this is a bound on the order of growth only."""
    patients = [f"p{number}" for number in range(10_000)]
    run = train(patients, steps=3)
    with open_books() as books:
        template = next(iter(books.account().runs.values()))
        everybody = books.sets.load(template.units)
        for number in range(99):
            mixed = everybody[number * 50 :]
            facts = template.opening() | {"run": f"{number:016x}", "units": books.sets.save(mixed), "count": len(mixed)}
            books.ledger.append("reserved", facts)
    start = time.process_time()
    assert run.spent().trainings == run.lineage()["composition"].trainings == 100
    assert time.process_time() - start < 5.0
