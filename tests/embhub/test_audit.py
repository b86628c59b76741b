"""The audit report: what `build` says, what `parse` refuses, what `recompute` notices."""

from __future__ import annotations

import json
import time
import tracemalloc
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.audit import MAX_BYTES, SUITES, AuditReport, Design, Group, build, recompute
from embhub.errors import ArtifactError

Pair = tuple[list[float], list[float]]


def normal(shift: float, members: int, nonmembers: int, seed: int = 0) -> Pair:
    generator = np.random.default_rng(seed)
    return list(generator.normal(shift, 1, members)), list(generator.normal(0, 1, nonmembers))


def even(members: int, nonmembers: int) -> Pair:
    """Scores that show nothing whatever the seed."""
    return list(np.linspace(-1, 1, members)), list(np.linspace(-1.001, 1.001, nonmembers))


def quick(shift: float, members: int = 60, nonmembers: int = 60, seed: int = 0, **more: Any) -> AuditReport:
    scores = {
        "loss-difference": normal(shift, members, nonmembers, seed),
        "loss": normal(0, members, nonmembers, seed + 10_000),
    }
    return build(artifact_digest="a" * 64, base_digest="b" * 64, suite="quick", scores=scores, **more)


def standard(shift: float, units: int, **more: Any) -> AuditReport:
    """`units` patients a class, four target shadows."""
    scores = {
        "lira-shadows": normal(shift, 4 * units, 4 * units) if shift else even(4 * units, 4 * units),
        **{name: even(units, units) for name in SUITES["standard"] if name != "lira-shadows"},
        **more.pop("scores", {}),
    }
    return build(
        artifact_digest="a" * 64,
        base_digest=None,
        suite="standard",
        scores=scores,
        models={"lira-shadows": 4},
        members=Group(units=units),
        nonmembers=Group(units=units),
        design=Design(reference_shadows=4, target_shadows=4, subject="algorithm"),
        **more,
    )


def edit(report: AuditReport, change: Any) -> AuditReport:
    document = json.loads(report.to_bytes())
    change(document)
    return AuditReport.parse(json.dumps(document).encode())


def test_a_planted_leak_is_detected() -> None:
    for report in (quick(1.5), standard(0.6, 60)):
        assert report.verdict == "leak-detected"
        assert "Leak detected" in report.statement
        assert report.headline_result.epsilon.lower_bound > 0
        assert recompute(report) == []


def test_quick_that_finds_nothing_never_reads_as_safe() -> None:
    report = quick(0, 2000, 2000)
    assert report.verdict == "insufficient-evidence"
    assert "not evidence of safety" in report.statement


def test_standard_that_finds_nothing_says_what_it_would_have_seen() -> None:
    report = standard(0, 50)
    assert report.verdict == "no-leak-detected"
    assert f"an AUC of {report.power.smallest_auc:.2f}" in report.statement
    assert f"an epsilon of {report.power.largest_epsilon:.2f}" in report.statement
    assert recompute(report) == []


def test_too_few_units_find_nothing_but_can_show_a_leak() -> None:
    assert standard(0, 49).verdict == "insufficient-evidence"
    scores = {name: ([5.0, 6, 7, 8, 9, 10], [float(v) / 10 for v in range(40)]) for name in ("loss", "loss-difference")}
    few = build(artifact_digest="a" * 64, base_digest=None, suite="quick", scores=scores)
    assert few.verdict == "leak-detected"
    assert few.headline_result.p_value < 1e-5


def test_another_attack_counts_with_its_correction() -> None:
    found = standard(0, 60, scores={"loss": normal(1.5, 60, 60)})
    assert found.verdict == "leak-detected"
    assert "the attack loss " in found.statement


def test_the_blind_baseline_decides_nothing_but_is_told() -> None:
    report = standard(0, 60, scores={"blind": normal(1.5, 60, 60)})
    assert report.attack("blind").kind == "baseline"
    assert report.verdict == "no-leak-detected"
    assert "differ by pixels alone" in report.statement


def test_false_alarms_come_at_their_nominal_rate() -> None:
    alarms = [quick(0, seed=seed).verdict == "leak-detected" for seed in range(400)]
    assert 0.02 <= np.mean(alarms) <= 0.085  # 2.5 % headline and 2.5 % for the other attack


def test_rates_without_enough_non_members_are_null_with_a_reason() -> None:
    rates = {rate.fpr: rate for rate in quick(0, 60, 60).headline_result.tpr_at_fpr}
    assert rates[0.1].tpr is not None
    assert rates[0.01].tpr is None
    assert rates[0.01].reason == "needs 100 non-members, there are 60"
    enough = {rate.fpr: rate for rate in quick(0, 60, 100).headline_result.tpr_at_fpr}
    assert enough[0.01].tpr is not None
    assert enough[0.001].tpr is None


def test_bytes_are_canonical_and_come_back_equal() -> None:
    report = quick(0.4, commitment="c" * 64, patient_intervals={"loss": (0.4, 0.6)})
    data = report.to_bytes()
    assert AuditReport.parse(data) == report
    assert AuditReport.parse(json.dumps(json.loads(data), indent=2).encode()).to_bytes() == data
    assert json.loads(data)["schema"] == "embhub.audit/1"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40), st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40)
)
def test_every_report_agrees_with_itself(members: list[float], nonmembers: list[float]) -> None:
    pair = (members, nonmembers)
    scores = {"loss-difference": pair, "loss": pair}
    report = build(artifact_digest="a" * 64, base_digest=None, suite="quick", scores=scores)
    assert recompute(report) == []
    assert recompute(AuditReport.parse(report.to_bytes())) == []


def test_scores_are_sorted_so_that_nobody_stands_at_a_place() -> None:
    report = quick(0.3)
    for result in report.attacks:
        assert list(result.member_scores) == sorted(result.member_scores)
        assert all(float(f"{score:.6g}") == score for score in result.nonmember_scores)


FORGERIES: list[tuple[str, Any, str]] = [
    ("verdict", lambda d: d.update(verdict="no-leak-detected"), "the verdict is"),
    ("words", lambda d: d.update(statement="This is safe."), "the statement"),
    ("auc", lambda d: d["attacks"][0].update(auc=0.5), "auc is 0.5"),
    ("interval", lambda d: d["attacks"][0].update(auc_interval=[0.4, 0.6]), "auc_interval"),
    ("p", lambda d: d["attacks"][0].update(p_value=0.5), "p_value"),
    ("rate", lambda d: d["attacks"][0]["tpr_at_fpr"][0].update(tpr=0.0), "tpr_at_fpr"),
    ("fewer rates", lambda d: d["attacks"][0]["tpr_at_fpr"].pop(0), "tpr_at_fpr"),
    ("epsilon", lambda d: d["attacks"][0]["epsilon"].update(lower_bound=0.0), "epsilon"),
    ("delta", lambda d: d["attacks"][0]["epsilon"].update(delta=0.5), "epsilon"),
    ("power", lambda d: d["power"].update(smallest_auc=0.51), "the power"),
    ("count", lambda d: d["members"].update(units=1000), "do not fit"),
    ("a leaking attack dropped", lambda d: d["attacks"].pop(1), "also runs loss"),
    ("attack called a baseline", lambda d: d["attacks"][0].update(kind="baseline"), "kind"),
    ("headline chosen afterwards", lambda d: d.update(headline="loss"), "the headline of the suite"),
    ("suite", lambda d: d.update(suite="standard"), "also runs"),
    ("score moved", lambda d: d["attacks"][0]["member_scores"].insert(0, -99), "do not fit"),
    ("order", lambda d: d["attacks"][0]["member_scores"].reverse(), "not sorted"),
    ("digits", lambda d: d["attacks"][0]["member_scores"].__setitem__(0, -9.87654321), "not sorted and rounded"),
    ("paper", lambda d: d["attacks"][0].update(paper="Certified free of patient data."), "paper"),
    ("attack of another name", lambda d: d["attacks"].append({**d["attacks"][0], "name": "john-smith"}), "john-smith"),
    ("interval elsewhere", lambda d: d["attacks"][0].update(auc_interval_by_patient=[0.5, 0.5]), "by_patient"),
    ("interval upside down", lambda d: d["attacks"][0].update(auc_interval_by_patient=[1.0, 0.5]), "by_patient"),
    ("pooled", lambda d: d["attacks"][0].update(models=30), "embeddings are stated"),
]


@pytest.mark.parametrize(("change", "complaint"), [row[1:] for row in FORGERIES], ids=[row[0] for row in FORGERIES])
def test_a_forged_figure_is_contradicted(change: Any, complaint: str) -> None:
    found = recompute(edit(quick(1.5), change))
    assert any(complaint in line for line in found), found


def test_malformed_reports_are_refused() -> None:
    good = quick(0).to_bytes()
    document = json.loads(good)
    cases = [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        good[:-1],
        good + b" x",
        good.replace(b'"suite":"quick"', b'"suite":"quick","suite":"standard"'),
        json.dumps({**document, "path": "/home/x"}).encode(),
        json.dumps({**document, "schema": "embhub.audit/2"}).encode(),
        json.dumps({**document, "schema_": "embhub.audit/1"}).encode(),
        json.dumps({**document, "headline": "other"}).encode(),
        json.dumps({**document, "attacks": [*document["attacks"], document["attacks"][0]]}).encode(),
        json.dumps({**document, "artifact": {"sha256": "A" * 64}}).encode(),
        json.dumps({**document, "design": {**document["design"], "split": "Mr. Smith"}}).encode(),
        json.dumps({**document, "design": {**document["design"], "timesteps": "certified safe"}}).encode(),
        json.dumps({**document, "tool": {"name": "embhub", "version": "1.0 certified"}}).encode(),
        json.dumps({**document, "members": {"units": "60", "images": None}}).encode(),
        good.replace(b'"p_value":', b'"p_value":NaN,"x":'),
        good.replace(b'"member_scores":[', b'"member_scores":[1e999,'),
        good + b" " * MAX_BYTES,
    ]
    for data in cases:
        with pytest.raises(ArtifactError) as caught:
            AuditReport.parse(data)
        assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(attacks=[{}] * 600_000),
        lambda d: d.update(attacks=[{"a": 0}] * 250_000),
        lambda d: d.update({f"{number:x}": 0 for number in range(170_000)}),
        lambda d: d["attacks"].append({f"{number:x}": 0 for number in range(170_000)}),
        lambda d: d["attacks"][0].update(member_scores=["x"] * 290_000),
        lambda d: d["attacks"][0].update(member_scores=[[]] * 600_000),
        lambda d: d["attacks"][0].update(tpr_at_fpr=[0] * 900_000),
    ],
    ids=["attacks", "attacks with a member", "members", "members of an attack", "scores", "lists", "rates"],
)
def test_a_report_made_to_be_costly_costs_little(change: Any) -> None:
    """A validator's list of all that is wrong took gigabytes and most of a minute here."""
    document = json.loads(quick(0.3).to_bytes())
    change(document)
    data = json.dumps(document, separators=(",", ":")).encode()
    assert len(data) > 900_000
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(ArtifactError):
            AuditReport.parse(data)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
        assert time.process_time() - started < 5
    finally:
        tracemalloc.stop()


def test_a_headline_without_scores_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="no scores"):
        build(artifact_digest="a" * 64, base_digest=None, suite="quick", scores={"loss": ([1.0], [0.0])})


def test_figures_are_derived_once_for_a_report_and_anew_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    report = quick(0.1, members=61, seed=20_261_120)  # of this test alone: nothing of it is remembered yet
    asked = []
    audit = import_module("embhub.audit")  # `embhub.audit` itself is the function of that name
    derive = audit.measure

    def count(**facts: Any) -> Any:
        asked.append(facts["name"])
        return derive(**facts)

    monkeypatch.setattr(audit, "measure", count)
    assert recompute(report) == recompute(AuditReport.parse(report.to_bytes())) == []
    assert len(asked) == len(report.attacks)
    changed = report.model_copy(update={"statement": "All is well."})
    assert recompute(changed) == ["the statement is not the one that belongs to the verdict and its figures"]
    assert len(asked) == 2 * len(report.attacks)
