"""`embhub budget` and the claim in `embhub show`, as a person and a machine see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from embhub.cli import root
from embhub.cli.train_and_audit.budgeting import command
from embhub.errors import PrivacyError, UsageError
from embhub.ledger import budget
from tests.support.claims import make_claim, make_private_release, site_total
from tests.support.releases import make_embedding

PATIENTS = ["p1", "p2", "p3"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMBHUB_REGISTRY", "")
    images = tmp_path / "images"
    images.mkdir()
    rows = [f"{name}.png,{name}" for name in PATIENTS]
    for name in PATIENTS:
        (images / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode())
    (images / "manifest.csv").write_text("path,patient_id\n" + "\n".join(rows) + "\n")
    (tmp_path / "private.safetensors").write_bytes(make_private_release().embedding.data)
    (tmp_path / "other.safetensors").write_bytes(make_embedding(seed=1, privacy=make_claim()).data)
    (tmp_path / "plain.safetensors").write_bytes(make_embedding().data)
    return tmp_path


def call(*words: str) -> Result:
    result = CliRunner().invoke(root, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def shown() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call("budget", "show", "--json").output)
    return found


def reserve(home: Path, file: str) -> Result:
    return call("budget", "reserve", str(home / "images"), "--of", str(home / f"{file}.safetensors"))


def test_an_empty_ledger_shows_nothing() -> None:
    assert shown()["cohorts"] == [] and shown()["caps"] == []
    assert "none" in call("budget", "show").output


def test_a_release_from_elsewhere_is_charged_by_its_claim(home: Path) -> None:
    assert "500 of 500 steps" in reserve(home, "private").output
    (cohort,) = shown()["cohorts"]
    assert cohort["epsilon"] == 2.0 and cohort["units"] == 3 and cohort["units_at_epsilon"] == 3
    (run,) = cohort["runs"]
    assert run["state"] == "settled" and run["epsilon"] == 2.0 and len(run["released"]) == 1
    assert "epsilon 2 at most, by 3 of them" in call("budget", "show").output


def test_a_release_without_a_claim_is_infinite_and_that_is_said(home: Path) -> None:
    assert "infinite" in reserve(home, "plain").output
    text = call("budget", "show").output
    assert "infinite at most" in text and "no longer have any bound" in text
    assert shown()["cohorts"][0]["epsilon"] is None


def test_a_release_is_charged_once(home: Path) -> None:
    reserve(home, "private")
    with pytest.raises(UsageError, match="in the ledger already"):
        reserve(home, "private")


def test_cohorts_hang_together_by_patients(home: Path) -> None:
    for patients in (["a", "b"], ["c"], ["b", "d"], ["x"]):
        with budget.reserve(patients, unit="patient", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=5) as run:
            run.spend(5)
    cohorts = shown()["cohorts"]
    assert [(c["units"], len(c["runs"])) for c in cohorts] == [(3, 2), (1, 1), (1, 1)]
    assert cohorts[0]["units_at_epsilon"] == 1 and cohorts[0]["trainings_of_one"] == 2


@pytest.mark.parametrize(("file", "spent"), [("plain", None), ("other", 2.0)])
def test_what_is_spent_already_is_recorded_above_a_cap_and_warned_of(
    home: Path, file: str, spent: float | None
) -> None:
    """Refused, it would be missing from every later claim."""
    call("budget", "cap", "1.5")
    result = reserve(home, file)
    assert result.exit_code == 0 and "this exceeds the cap" in result.stderr and "charged" in result.stdout
    (cohort,) = shown()["cohorts"]
    assert cohort["epsilon"] == spent
    with pytest.raises(PrivacyError):
        train()


def test_within_a_cap_nothing_is_warned_of(home: Path) -> None:
    call("budget", "cap", "2.5")
    assert reserve(home, "private").stderr == ""


def test_a_release_is_charged_with_all_that_its_own_ledger_counted(home: Path) -> None:
    """Its patients may have lost that much; what this site knows of it already may count twice, never too little."""
    together = site_total(*[make_claim().curve] * 4)
    data = make_embedding(privacy=make_claim(composition=together, tuning_runs=4)).data
    (home / "private.safetensors").write_bytes(data)
    assert f"epsilon {together.epsilon:g}" in reserve(home, "private").output
    (cohort,) = shown()["cohorts"]
    assert cohort["epsilon"] == cohort["runs"][0]["epsilon"] == together.epsilon
    with train() as run:
        stated, spent = run.lineage()["composition"], run.spent()
    assert stated.trainings == spent.trainings == 6 and stated.plain == 0
    assert spent.epsilon is not None and stated.epsilon >= spent.epsilon > together.epsilon
    with pytest.raises(UsageError, match="elsewhere"):
        budget.resume(cohort["runs"][0]["run"], PATIENTS, steps=5)


def test_a_release_whose_own_ledger_had_no_bound_is_infinite(home: Path) -> None:
    """No outsider can tell whether these patients were among those for whom nothing is bounded."""
    endless = site_total(make_claim().curve, plain=3)
    (home / "private.safetensors").write_bytes(make_embedding(privacy=make_claim(composition=endless)).data)
    call("budget", "cap", "4")
    result = reserve(home, "private")
    assert "infinite" in result.stdout and "this exceeds the cap" in result.stderr
    assert shown()["cohorts"][0]["epsilon"] is None
    call("budget", "cap", "none")
    with train() as run:
        stated = run.lineage()["composition"]
    assert (stated.trainings, stated.plain) == (3, 3) and run.spent().epsilon is None


def train() -> budget.Reservation:
    run = budget.reserve(PATIENTS, unit="patient", mechanism="dp-sgd", q=0.1, sigma=4.9327, steps=500)
    run.spend(500)
    return run


def test_a_cap_refuses_with_exit_code_6_and_is_lifted_again(home: Path) -> None:
    assert "epsilon 2.5" in call("budget", "cap", "2.5").output
    reserve(home, "private")
    with pytest.raises(PrivacyError, match=r"the cap is 2\.5") as caught:
        train()
    assert caught.value.exit_code == 6
    assert "epsilon 2.5 for everybody" in call("budget", "show").output
    call("budget", "cap", "none")
    train()
    call("budget", "cap", "1", "--manifest", str(home / "images" / "manifest.csv"))
    assert "epsilon 1 for 3 patients" in call("budget", "show").output


def test_a_run_that_goes_on_and_one_that_stopped(home: Path) -> None:
    run = budget.reserve(PATIENTS, unit="patient", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=5)
    assert shown()["cohorts"][0]["runs"][0]["state"] == "going on"
    run.settle()


@pytest.mark.parametrize(
    "words", [["cap", "0"], ["cap", "--", "-1"], ["cap", "nan"], ["cap", "inf"], ["show", "--delta", "0"]]
)
def test_nonsense_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        call("budget", *words)


def test_a_word_is_no_epsilon() -> None:
    assert call("budget", "cap", "lots").exit_code == 2


def test_patients_are_needed(home: Path) -> None:
    (home / "images" / "manifest.csv").write_text("path\np1.png\n")
    with pytest.raises(PrivacyError, match="no patient ids"):
        reserve(home, "private")
    claim = make_claim(unit="image", max_images_per_unit=1)
    (home / "private.safetensors").write_bytes(make_embedding(privacy=claim).data)
    (home / "images" / "manifest.csv").write_text("path,patient_id\np1.png,p1\n")
    with pytest.raises(PrivacyError, match="protects single images"):
        reserve(home, "private")


def test_show_prints_words_for_people_and_an_object_for_machines(home: Path) -> None:
    text = call("show", str(home / "private.safetensors")).output
    assert "at most 7.4 %" in text and "Not covered" in text
    facts = json.loads(call("show", str(home / "private.safetensors"), "--json").output)
    assert facts["privacy"] == make_claim().to_dict()
    assert json.loads(call("show", str(home / "plain.safetensors"), "--json").output)["privacy"] == "none"


def test_every_command_has_an_example() -> None:
    assert all("Example:" in (sub.help or "") for sub in [command, *command.commands.values()])
