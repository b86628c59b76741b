"""A study of several sites in a site's ledger: charged once, in full, before the first step, and never given back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from embhub.cli import root
from embhub.client.member import evaluating
from embhub.errors import PrivacyError, UsageError
from embhub.ledger import budget, elsewhere, studies
from embhub.ledger.balance import balance
from embhub.ledger.books import open_books
from embhub.ledger.budget import BudgetExceededError
from embhub.ledger.spending import Spending
from embhub.ledger.spent import spent_on
from embhub.privacy import epsilon as epsilons
from embhub.privacy.mechanisms import Mechanism
from embhub.release import verification
from embhub.site.memory import runs as records
from tests.embhub.ledger.test_budget_crash import die_at_call
from tests.support import study_records
from tests.support.claims import make_study, make_study_claim
from tests.support.releases import NOW, REPOSITORY, make_embedding

PATIENTS = ["p1", "p2", "p3"]
STUDY = make_study()
FILE = "ab" * 32


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    yield tmp_path


def runs() -> list[Spending]:
    with open_books() as books:
        return list(books.settle_dead().runs.values())


def test_all_attempts_are_charged_at_the_larger_figure_before_the_first_step() -> None:
    run = studies.charge(STUDY, PATIENTS)
    (found,) = runs()
    assert (found.run, found.study, found.charged, found.settled) == (run, STUDY.digest, STUDY.attempts, True)
    assert found.parameters == (STUDY.noise.against_sites,)
    assert balance(delta=STUDY.delta)["cohorts"][0]["epsilon"] == STUDY.epsilon_against_sites > STUDY.epsilon


def test_nothing_is_given_back() -> None:
    run = studies.charge(STUDY, PATIENTS)
    reservation = budget.Reservation(runs()[0], -1)
    with pytest.raises(PrivacyError, match="50 steps were reserved"):
        reservation.spend()
    with open_books() as books:
        books.ledger.append("settled", {"run": run})
    assert [item.charged for item in runs()] == [STUDY.attempts]
    with pytest.raises(UsageError, match="study of several sites"):
        budget.resume(run, PATIENTS, steps=1)


def test_a_site_joins_once() -> None:
    run = studies.charge(STUDY, PATIENTS)
    with pytest.raises(UsageError, match=f"before, as the run {run}"):
        studies.charge(STUDY, ["p9"])
    studies.charge(make_study(caption="another"), PATIENTS)
    assert len(runs()) == 2 and studies.find(STUDY.digest) == run and studies.find(FILE) is None


def join_and_die() -> None:
    studies.charge(STUDY, PATIENTS)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("number", range(1, 60))
def test_killed_at_any_moment_it_is_charged_in_full_or_nobody_was_told_that_it_was(number: int, tmp_path: Path) -> None:
    def work() -> None:
        studies.charge(STUDY, PATIENTS)
        (tmp_path / "joined").touch()

    die_at_call(number, work)
    charged = [item.charged for item in runs()]
    assert charged in ([], [STUDY.attempts])
    assert charged or not (tmp_path / "joined").exists()


def test_a_crash_right_after_joining_leaves_all_attempts_spent() -> None:
    die_at_call(10**9, join_and_die)
    assert [item.charged for item in runs()] == [STUDY.attempts]


def test_a_cap_refuses_before_anything_is_charged() -> None:
    budget.set_cap(4.2)
    with pytest.raises(BudgetExceededError, match=r"the cap is 4\.2"):
        studies.charge(STUDY, PATIENTS)
    assert runs() == [] and STUDY.epsilon < 4.2 < STUDY.epsilon_against_sites
    budget.set_cap(4.6)
    studies.charge(STUDY, PATIENTS)
    with pytest.raises(BudgetExceededError):
        studies.charge(make_study(caption="another"), PATIENTS[:1])


def test_the_file_of_a_study_is_noted_once() -> None:
    run = studies.charge(STUDY, PATIENTS)
    with pytest.raises(UsageError, match="no such study"):
        studies.note_release("cd" * 32, FILE)
    with pytest.raises(UsageError, match="no SHA-256"):
        studies.note_release(STUDY.digest, "file")
    for _ in range(2):
        studies.note_release(STUDY.digest, FILE)
    assert [(item.run, item.released) for item in runs()] == [(run, (FILE,))]
    found = spent_on(FILE, delta=STUDY.delta)
    assert found is not None and found.epsilon == pytest.approx(STUDY.epsilon_against_sites, abs=1e-4)


def test_only_the_patients_and_pictures_that_were_charged_are_the_members() -> None:
    pictures = [("a" * 64, "p1"), ("b" * 64, "p2"), ("c" * 64, "p3")]
    studies.charge(STUDY, PATIENTS, pictures=pictures)
    studies.check_members(STUDY.digest, reversed(PATIENTS), pictures=reversed(pictures))
    others = [
        (STUDY.digest, PATIENTS[:2], pictures), (STUDY.digest, [*PATIENTS, "p4"], pictures),
        (STUDY.digest, PATIENTS, pictures[:2]), (STUDY.digest, PATIENTS, []), (FILE, PATIENTS, pictures),
        (STUDY.digest, PATIENTS, [("a" * 64, "p2"), ("b" * 64, "p1"), ("c" * 64, "p3")]),
    ]  # fmt: skip
    for digest, patients, seen in others:
        with pytest.raises(PrivacyError, match="not those that were charged"):
            studies.check_members(digest, patients, pictures=seen)


def test_later_claims_of_the_site_count_it() -> None:
    studies.charge(STUDY, PATIENTS)
    with budget.reserve(PATIENTS, unit="patient", mechanism="dp-sgd", q=0.1, sigma=4.0, steps=100) as run:
        run.spend(100)
        total = run.lineage(delta=1e-5)["composition"]
    both = epsilons.compose([STUDY.noise.against_sites, Mechanism(0.1, 4.0, 100)], delta=1e-5)
    assert total.trainings == 2 and total.epsilon == epsilons.publish(both)


def test_what_joining_costs_is_said_and_weak_totals_are_asked_about() -> None:
    said: list[str] = []
    warned: list[str] = []
    studies.tell(STUDY, say=said.append, warn=warned.append, confirm=None)
    assert "all 50 steps at once: epsilon 4.5008 with delta 1e-05" in said[0] and "Nothing is given back" in said[0]
    assert "first private training" in said[1] and not warned and runs() == []
    studies.charge(STUDY, PATIENTS)
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(PrivacyError, match="nothing was trained or charged"):
        studies.tell(make_study(caption="another"), say=said.append, warn=warned.append, confirm=refuse)
    assert asked and asked[0].endswith("Join nevertheless?") and len(runs()) == 1


def test_budget_shows_the_study_and_what_it_counts() -> None:
    studies.charge(STUDY, PATIENTS)
    shown = CliRunner().invoke(root, ["budget", "show"]).output
    assert f"dp-sgd, study {STUDY.digest[:16]}" in shown and "50 of 50" in shown
    assert "charged for all its steps when this site joined" in shown and f"{STUDY.epsilon_against_sites:g}" in shown


def test_a_study_elsewhere_is_charged_by_its_larger_figure_and_not_twice() -> None:
    release = make_embedding(privacy=make_study_claim())
    run = studies.charge(STUDY, PATIENTS)
    with pytest.raises(UsageError, match=f"in the ledger already, as the run {run}"):
        elsewhere.count(PATIENTS, release)


def test_a_site_that_did_not_join_counts_a_study_elsewhere() -> None:
    elsewhere.count(PATIENTS, make_embedding(privacy=make_study_claim()))
    (found,) = runs()
    assert found.parameters == (STUDY.noise.against_sites,) and found.study == STUDY.digest
    assert studies.find(STUDY.digest) is None, "other patients may have been charged, and by other figures"
    with pytest.raises(UsageError, match="no such study"):
        studies.note_release(STUDY.digest, FILE)
    with pytest.raises(UsageError, match="joins a study once"):
        studies.charge(STUDY, PATIENTS)


def test_a_site_that_did_not_sign_evaluates_no_file_that_its_patients_are_in() -> None:
    """It has no record of the training, by which test patients could be told from those trained on."""
    release = study_records.release()
    verified = verification.verify(release, trust=study_records.trust(), now=NOW, repository=REPOSITORY)
    evaluating.check_study(verified)  # not joined
    studies.charge(study_records.plan(), [f"p{number}" for number in range(60)])
    with pytest.raises(PrivacyError, match="did not sign it"):
        evaluating.check_study(verified)
    member = records.Sample(path="x.png", patient_id="p1")
    records.save(records.Run(embedding_digest=verified.digest, base="b", caption="{}", token="<a>", vectors=8,
                             members=(member,)))  # fmt: skip
    evaluating.check_study(verified)  # signed, so it has a record, and its patients are refused one by one
