"""Audits in the sealed ledger: written down before they run, counted for each file, and none can be taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embhub.cli import root
from embhub.errors import UsageError
from embhub.ledger import budget
from embhub.ledger.audit_attempts import AuditAttempt, audits_of, begin_audit, finish_audit
from embhub.ledger.chain import LedgerTamperedError
from embhub.site import config
from tests.support.quick import examples

FILE, OTHER, SIDES, OTHERS = "a" * 64, "b" * 64, "c" * 64, "d" * 64


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    return tmp_path


def begin(
    file: str = FILE, *, suite: str = "standard", shadows: int = 8, sides: str = SIDES, cohort: str = ""
) -> AuditAttempt:
    return begin_audit(file, suite=suite, shadows=shadows, sides=sides, cohort=cohort)


def test_audits_of_a_file_are_counted_from_one() -> None:
    for number in (1, 2, 3):
        attempt = begin()
        assert (attempt.number, attempt.count) == (number, number)
        finish_audit(attempt, "no-leak-detected")
    begin(OTHER)
    assert [(item.number, item.count) for item in audits_of(FILE)] == [(1, 3), (2, 3), (3, 3)]
    assert [(item.number, item.count) for item in audits_of(OTHER)] == [(1, 1)]
    assert audits_of("e" * 64) == ()


def test_training_anew_on_the_same_patients_is_another_attempt_and_a_quick_audit_is_none() -> None:
    """A clean verdict costs more each time, and a new file does not start the count again."""
    assert begin(FILE, suite="quick", shadows=0, cohort=SIDES).cohort_number == 1
    assert begin(FILE, cohort=SIDES).cohort_number == 1
    again = begin(OTHER, cohort=SIDES)
    assert (again.number, again.cohort_number) == (1, 2)
    assert begin(OTHER, shadows=16, cohort=OTHERS).cohort_number == 2, "the same file, other patients named"
    assert begin("e" * 64, cohort="f" * 64).cohort_number == 1
    assert audits_of(OTHER)[0] == AuditAttempt(**{**vars(again), "count": 2})


def test_it_is_on_disk_before_it_runs_and_ends_with_its_verdict() -> None:
    attempt = begin()
    assert audits_of(FILE) == (attempt,) and attempt.verdict is None
    finish_audit(attempt, "leak-detected")
    assert audits_of(FILE)[0].verdict == "leak-detected"


def test_an_interrupted_audit_goes_on_and_counts_once() -> None:
    first = begin()
    again = begin()
    assert again == first
    finish_audit(again, "insufficient-evidence")
    assert begin().id != first.id


@pytest.mark.parametrize("changed", [{"suite": "quick"}, {"shadows": 9}, {"sides": OTHERS}])
def test_another_way_of_asking_is_another_try(changed: dict[str, str]) -> None:
    first = begin()
    second = begin(**changed)  # type: ignore[arg-type]
    assert second.id != first.id and (second.number, second.count) == (2, 2)
    assert begin() == AuditAttempt(**{**vars(first), "count": 2})


def test_an_end_stands() -> None:
    attempt = begin()
    finish_audit(attempt, "leak-detected")
    finish_audit(attempt, "leak-detected")
    with pytest.raises(UsageError, match="ended already, with leak-detected"):
        finish_audit(attempt, "no-leak-detected")
    with pytest.raises(UsageError, match="knows no audit"):
        finish_audit(AuditAttempt(**{**vars(attempt), "id": "0" * 32}), "leak-detected")


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_try_that_somebody_takes_out_is_noticed(line: int) -> None:
    finish_audit(begin(), "leak-detected")
    begin()
    path = config.paths().state / "budget" / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    del lines[line]
    path.write_bytes(b"".join(lines))
    with pytest.raises(LedgerTamperedError):
        audits_of(FILE)
    with pytest.raises(LedgerTamperedError):
        begin()


def test_a_ledger_without_audits_is_read_and_budgets_stay_as_they_are() -> None:
    with budget.reserve(["p1"], unit="patient", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=5) as run:
        run.spend(5)
    before = run.lineage()
    assert audits_of(FILE) == ()
    finish_audit(begin(), "no-leak-detected")
    assert run.lineage() == before


def test_an_auditor_on_site_sees_every_try() -> None:
    assert json.loads(CliRunner().invoke(root, ["budget", "show", "--json"]).output)["audits"] == []
    finish_audit(begin(), "leak-detected")
    begin()
    (first, second) = json.loads(CliRunner().invoke(root, ["budget", "show", "--json"]).output)["audits"]
    assert (first["number"], first["count"], first["verdict"]) == (1, 2, "leak-detected")
    assert (second["number"], second["verdict"]) == (2, None)
    text = CliRunner().invoke(root, ["budget", "show"]).output
    assert "1 of 2" in text and "leak-detected" in text and "not finished" in text


@given(
    file=st.text(max_size=70),
    suite=st.text(max_size=70),
    shadows=st.integers(-5, 2_000_000),
    sides=st.text(max_size=70),
)
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nonsense_is_refused_and_nothing_is_written(file: str, suite: str, shadows: int, sides: str) -> None:
    with pytest.raises(UsageError):
        begin_audit(file, suite=suite, shadows=shadows, sides=sides)
    assert not (config.paths().state / "budget" / "ledger.jsonl").exists()


@given(st.lists(st.sampled_from("abAB"), max_size=12))
@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_are_those_of_a_slow_count(tmp_path_factory: pytest.TempPathFactory, events: list[str]) -> None:
    """`a` and `b` begin an audit of a file, capitals end the open one; any order gives the same as counting by hand."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(home))
        slow: dict[str, list[str | None]] = {"a": [], "b": []}
        for event in events:
            name = event.lower()
            ends = slow[name]
            if event == name:
                if not ends or ends[-1] is not None:
                    ends.append(None)
                assert begin(name * 64).number == len(ends)
            elif ends and ends[-1] is None:
                finish_audit(audits_of(name * 64)[-1], "leak-detected")
                ends[-1] = "leak-detected"
        for name, ends in slow.items():
            assert [(item.number, item.verdict) for item in audits_of(name * 64)] == list(enumerate(ends, start=1))
