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
from pydantic import ValidationError

from embhub.audits.attack_figures import CANARIES, IN_TURN, ON_COINS, PAPERS, AttackResult
from embhub.audits.report import MAX_BYTES, SUITES, Attempt, AuditReport, Bounds, Design, Group, build, recompute
from embhub.errors import ArtifactError, EmbhubError
from tests.support.made_up_scores import make_guesses
from tests.support.quick import examples, others_thorough

PAIR = ("loss-difference", "loss")

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


KEPT = "by patient, held out before training"


def coins(units: int, models: int, shift: float, name: str) -> Pair:
    """Coins of 2 `units` patients under each of `models` shadows."""
    return (
        normal(shift, units * models, units * models, seed=len(name)) if shift else even(units * models, units * models)
    )


def standard(shift: float, units: int, *, shadows: int = 8, split: Any = KEPT, **more: Any) -> AuditReport:
    """`units` patients a class, shadows that are attacked in turn, and a blind baseline that sees nothing.

    Only the headline sees a leak.
    """
    in_turn = [name for name in SUITES["standard"] if name.endswith(IN_TURN)]
    given = {
        **{name: coins(units, shadows, shift if name == "lira-shadows" else 0, name) for name in in_turn},
        **{name: even(units, units) for name in SUITES["standard"] if name not in in_turn},
        "blind": even(units, units),
        **more.pop("scores", {}),
    }
    scores = {name: pair for name, pair in given.items() if pair is not None}
    return build(
        artifact_digest="a" * 64,
        base_digest=None,
        suite="standard",
        scores=scores,
        guesses=more.pop("guesses", make_guesses(scores)),
        members=Group(units=units),
        nonmembers=Group(units=units),
        design=Design(shadows=shadows, subject="algorithm", split=split, bounds=more.pop("bounds", Bounds())),
        **more,
    )


def edit(report: AuditReport, change: Any) -> AuditReport:
    document = json.loads(report.to_bytes())
    change(document)
    return AuditReport.parse(json.dumps(document).encode())


def test_a_count_that_canonical_json_cannot_write_is_refused() -> None:
    with pytest.raises(EmbhubError):
        edit(quick(1.5), lambda document: document["members"].update(images=2**53))


def test_a_planted_leak_is_detected() -> None:
    for report in (quick(1.5), standard(0.6, 60)):
        assert report.verdict == "leak-detected"
        assert "Leak detected" in report.statement
        assert report.deciding.attack == report.headline
        assert report.headline_result.p_value < 0.001
        assert recompute(report) == []


def test_quick_that_finds_nothing_never_reads_as_safe() -> None:
    report = quick(0, 2000, 2000)
    assert report.verdict == "insufficient-evidence"
    assert "not evidence of safety" in report.statement


def test_finding_nothing_is_an_equivalence_result() -> None:
    report = standard(0, 400)
    assert report.verdict == "no-leak-detected"
    highest = max(result.upper_limits.auc for result in report.attacks if result.upper_limits is not None)
    assert highest < report.design.bounds.auc
    assert f"an AUC above {highest:.2f}" in report.statement
    assert "fixed beforehand, were 0.60 and 10%" in report.statement
    assert recompute(report) == []


NOTHING_SHOWN: list[tuple[str, dict[str, Any], str]] = [
    ("shadows", {"shadows": 7}, "fewer than 8 shadows were trained"),
    ("four shadows", {"shadows": 4}, "fewer than 8 shadows were trained"),
    ("named by the caller", {"split": "named by the caller"}, "the caller named members"),
    ("given by the caller", {"split": "given by the caller"}, "the caller named members"),
    ("below chance", {"scores": {"loss-shadows": normal(-1.0, 3200, 3200)}}, "worse than guessing"),
    ("headline below chance", {"scores": {"lira-shadows": normal(-1.0, 3200, 3200)}}, "worse than guessing"),
    ("a bit below chance", {"scores": {"loss-shadows": normal(-0.1, 3200, 3200)}}, "worse than guessing"),
    ("AUC not ruled out", {"bounds": Bounds(auc=0.51)}, "an AUC of 0.51 is not ruled out for"),
    ("rate not ruled out", {"bounds": Bounds(tpr=0.011)}, "finding 1% at 1 % false alarms is not ruled out for"),
]


@pytest.mark.parametrize(
    ("more", "reason"),
    others_thorough([row[1:] for row in NOTHING_SHOWN], [row[1:] for row in NOTHING_SHOWN[::2]]),
    ids=[row[0] for row in NOTHING_SHOWN],
)
def test_finding_nothing_shows_nothing_where(more: dict[str, Any], reason: str) -> None:
    report = standard(0, 400, **more)
    assert report.verdict == "insufficient-evidence"
    assert reason in report.statement
    assert recompute(report) == []


def test_an_attack_on_the_file_rules_nothing_out_and_hinders_nothing() -> None:
    for name, pair in (("loss", normal(-1.0, 400, 400)), ("loss", ([0.0] * 400, [0.0] * 400)),
                       ("blind", normal(1.0, 400, 400)), ("blind", None)):  # fmt: skip
        report = standard(0, 400, scores={name: pair})
        assert (report.verdict, recompute(report)) == ("no-leak-detected", [])


def test_a_leak_needs_no_minimum_of_units() -> None:
    scores = {name: ([float(v) for v in range(10, 22)], [float(v) / 10 for v in range(40)]) for name in PAIR}
    few = build(artifact_digest="a" * 64, base_digest=None, suite="quick", scores=scores)
    assert few.verdict == "leak-detected"
    assert few.headline_result.p_value < 1e-4


def test_too_few_kept_out_bound_no_rate() -> None:
    report = standard(0, 12)  # 12 patients a side times 8 shadows: 96 coins out
    assert report.verdict == "insufficient-evidence"
    assert "too few coins fell out to bound what" in report.statement


def test_the_attack_that_decided_is_named_with_its_limit() -> None:
    found = standard(0, 400, scores={"loss": normal(1.5, 400, 400)})
    assert found.verdict == "leak-detected"
    assert "the attack loss " in found.statement
    assert (found.deciding.attack, found.headline) == ("loss", "lira-shadows")
    assert found.deciding.limit == pytest.approx(0.025 / (len(SUITES["standard"]) - 1))
    assert found.deciding.p_value == found.attack("loss").p_value
    assert found.deciding.false_alarms == 0.05
    assert recompute(found) == []


def test_a_leak_beside_a_split_that_is_not_random_says_both() -> None:
    report = standard(0.6, 60, scores={"blind": normal(1.5, 60, 60)})
    assert report.attack("blind").kind == "baseline"
    assert report.verdict == "leak-detected"
    assert "differ by pixels alone" in report.statement


def test_rates_without_enough_coins_are_null_with_a_reason() -> None:
    rates = {rate.fpr: rate for rate in standard(0, 12).headline_result.tpr_at_fpr}  # 80 coins of 20 patients
    assert rates[0.1].tpr is not None
    assert rates[0.01].reason == "needs 100 non-members, there are 96"
    enough = {rate.fpr: rate for rate in standard(0, 50).headline_result.tpr_at_fpr}  # every coin counts
    assert enough[0.01].tpr is not None
    assert enough[0.001].tpr is None


def test_a_report_holds_no_score() -> None:
    """Whoever can compute a patient's score finds nothing to compare it with."""
    members, nonmembers = normal(0.3, 60, 60)
    scores = {"loss-difference": (members, nonmembers), "loss": (members, nonmembers)}
    data = build(artifact_digest="a" * 64, base_digest=None, suite="quick", scores=scores).to_bytes().decode()
    for score in members + nonmembers:
        assert f"{abs(score):.4f}" not in data
        assert f"{score:.6g}" not in data
    assert "seed" not in data


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_no_attack_publishes_a_function_of_public_bytes_and_one_image(name: str) -> None:
    """Of every attack in the table: an order of labels where they are coins of the audit, else two digits."""
    document = json.loads(standard(0.6, 60).to_bytes())
    coin, on_file = document["attacks"][0], next(row for row in document["attacks"] if row["order"] is None)
    assert coin["order"] and on_file["order"] is None
    for result in ({**coin, "name": name}, {**on_file, "name": name}):
        told = AttackResult.model_validate_json(json.dumps(result)) if (result["order"] is None) != (
            name in ON_COINS) else None  # fmt: skip
        if told is None:
            with pytest.raises(ValidationError):
                AttackResult.model_validate_json(json.dumps(result))
        elif name in ON_COINS:
            assert told.name.endswith(IN_TURN) or told.name in CANARIES
        else:
            kept = {field for field, value in told.model_dump().items() if value not in (None, ())}
            assert kept == {"name", "paper", "kind", "models", "auc", "auc_interval", "p_value"}
    for more in ({"auc": 0.512}, {"p_value": 0.12}, {"p_value": 0.024}, {"upper_limits": coin["upper_limits"]},
                 {"coins": coin["coins"]}, {"tpr_at_fpr": coin["tpr_at_fpr"]},
                 {"epsilon": coin["epsilon"]}):  # fmt: skip
        if name not in ON_COINS:
            with pytest.raises(ValidationError, match="list who was trained on"):
                AttackResult.model_validate_json(json.dumps({**on_file, "name": name, **more}))


def test_only_one_attack_on_the_file_shows_figures_that_found_nothing() -> None:
    """Thirteen figures together would tell who was trained on, where the labels are random."""
    report = standard(0, 400)
    assert [result.name for result in report.attacks if not result.on_coins] == ["loss-difference"]
    assert set(report.found_nothing) == {"lira", "loss", "rmia", "lira-online", "dataset-inference", "blind"}
    assert set(report.tried) == {*SUITES["standard"], "blind"}
    shown = quick(0).attack("loss-difference").model_dump(mode="json")
    told = edit(report, lambda d: (d["attacks"].append({**shown, "name": "rmia"}), d["found_nothing"].remove("rmia")))
    assert any("rmia: it found nothing" in line for line in recompute(told))
    hidden = edit(report, lambda d: d.update(
        attacks=[row for row in d["attacks"] if row["name"] != "loss-difference"],
        found_nothing=[*d["found_nothing"], "loss-difference"],
    ))  # fmt: skip
    assert any("whatever they are" in line for line in recompute(hidden))


def test_counts_of_patients_are_published_in_fives() -> None:
    scores = {name: normal(0.3, 63, 58) for name in PAIR}
    report = build(
        artifact_digest="a" * 64, base_digest=None, suite="quick", scores=scores,
        members=Group(units=63, images=127), nonmembers=Group(units=58, images=58),
    )  # fmt: skip
    assert report.members == Group(units=60, images=125)
    assert report.nonmembers == Group(units=55, images=55)
    assert b"127" not in report.to_bytes() and recompute(report) == []
    with pytest.raises(ValueError, match="in fives"):
        quick(0.3, 4, 60)
    for exact in ({"units": 63, "images": 125}, {"units": 60, "images": 127}, {"units": 0, "images": None}):
        assert "in fives" in recompute(edit(report, lambda d, exact=exact: d.update(members=exact)))[0]


def test_stricter_bounds_can_be_fixed_and_laxer_ones_cannot() -> None:
    assert Bounds(auc=0.55, tpr=0.05).auc == 0.55
    for lax in ({"auc": 0.61}, {"tpr": 0.11}, {"auc": 0.5}, {"tpr": 0.01}):
        with pytest.raises(ValidationError):
            Bounds(**lax)


def test_bytes_are_canonical_and_come_back_equal() -> None:
    report = quick(0.4, commitment="c" * 64, attempt=Attempt(number=2, count=2))
    data = report.to_bytes()
    assert AuditReport.parse(data) == report
    assert AuditReport.parse(json.dumps(json.loads(data), indent=2).encode()).to_bytes() == data
    assert json.loads(data)["schema"] == "embhub.audit/3"


@settings(max_examples=examples(25), deadline=None)
@given(
    st.lists(st.floats(-1e12, 1e12), min_size=5, max_size=40), st.lists(st.floats(-1e12, 1e12), min_size=5, max_size=40)
)
def test_every_report_agrees_with_itself(members: list[float], nonmembers: list[float]) -> None:
    pair = (members, nonmembers)
    scores = {"loss-difference": pair, "loss": pair}
    report = build(artifact_digest="a" * 64, base_digest=None, suite="quick", scores=scores)
    assert recompute(report) == []
    assert recompute(AuditReport.parse(report.to_bytes())) == []


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
    ("a leaking attack dropped", lambda d: d["found_nothing"].remove("loss"), "also runs loss"),
    ("attack called a baseline", lambda d: d["attacks"][0].update(kind="baseline"), "kind"),
    ("headline chosen afterwards", lambda d: d.update(headline="loss-difference"), "the headline of the suite"),
    ("suite", lambda d: d.update(suite="thorough"), "also runs"),
    ("a label more", lambda d: d["attacks"][0].update(order=d["attacks"][0]["order"] + "n"), "do not fit"),
    ("labels moved", lambda d: d["attacks"][0].update(order=d["attacks"][0]["order"][::-1]), "auc is"),
    ("interval on the file", lambda d: d["attacks"][-1].update(auc_interval=[0.4, 0.6]), "auc_interval"),
    ("AUC on the file", lambda d: d["attacks"][-1].update(auc=0.99), "auc_interval"),
    ("paper", lambda d: d["attacks"][0].update(paper="Certified free of patient data."), "paper"),
    ("attack of another name", lambda d: d["found_nothing"].append("john-smith"), "john-smith"),
    ("upper limit", lambda d: d["attacks"][0]["upper_limits"].update(auc=0.5), "upper_limits"),
    ("another one decided", lambda d: d["deciding"].update(attack="loss-difference"), "the attack that decided"),
    ("limit", lambda d: d["deciding"].update(limit=0.5), "the attack that decided"),
    ("false alarms", lambda d: d["deciding"].update(false_alarms=0.0), "the attack that decided"),
    ("attempt", lambda d: d.update(attempt={"number": 3, "count": 2}), "audit 3 of 2"),
    ("pooled", lambda d: d["attacks"][0].update(models=30), "8 are stated"),
    ("joint p-value left out", lambda d: d.update(below_chance=None), "belong to attacks on shadows"),
    ("guesses left out", lambda d: d.update(guesses=None), "belong to attacks on shadows"),
    ("joint p-value", lambda d: d.update(below_chance=0.9991), "the guesses give"),
    ("guesses of one left out", lambda d: d["guesses"]["by"].pop("loss-shadows"), "guesses of other attacks"),
    ("a guess more", lambda d: d["guesses"]["by"].update({"loss-shadows": "mn"}), "another number of coins"),
    (
        "coins of another audit",
        lambda d: d["guesses"].update(coins="m" * len(d["guesses"]["coins"])),
        "its coins are not",
    ),
    ("attempt of a cohort", lambda d: d.update(attempt={"number": 1, "count": 1, "cohort": 2}), "upper_limits"),
]


@pytest.mark.parametrize(("change", "complaint"), [row[1:] for row in FORGERIES], ids=[row[0] for row in FORGERIES])
def test_a_forged_figure_is_contradicted(change: Any, complaint: str) -> None:
    found = recompute(edit(standard(0.6, 60), change))
    assert any(complaint in line for line in found), found


def test_forged_coins_are_contradicted() -> None:
    forged = edit(standard(0.6, 60), lambda d: d["attacks"][0]["coins"].update(correct=1, lower_bound=0.0))
    assert any("lira-shadows: coins is" in line for line in recompute(forged))


def test_malformed_reports_are_refused() -> None:
    good = quick(0).to_bytes()
    document, coins = json.loads(good), json.loads(standard(0, 60).to_bytes())["attacks"][0]
    cases = [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        good[:-1],
        good + b" x",
        good.replace(b'"suite":"quick"', b'"suite":"quick","suite":"standard"'),
        json.dumps({**document, "path": "/home/x"}).encode(),
        json.dumps({**document, "schema": "embhub.audit/4"}).encode(),
        json.dumps({**document, "schema": "embhub.audit/2"}).encode(),
        json.dumps({**document, "schema_": "embhub.audit/3"}).encode(),
        json.dumps({**document, "headline": "other"}).encode(),
        json.dumps({**document, "attacks": [*document["attacks"], document["attacks"][0]]}).encode(),
        json.dumps({**document, "artifact": {"sha256": "A" * 64}}).encode(),
        json.dumps({**document, "design": {**document["design"], "split": "Mr. Smith"}}).encode(),
        json.dumps({**document, "design": {**document["design"], "timesteps": "certified safe"}}).encode(),
        json.dumps({**document, "tool": {"name": "embhub", "version": "1.0 certified"}}).encode(),
        json.dumps({**document, "members": {"units": "60", "images": None}}).encode(),
        good.replace(b'"p_value":', b'"p_value":NaN,"x":'),
        json.dumps({**document, "attacks": [{**document["attacks"][0], "order": "mn"}]}).encode(),
        json.dumps({**document, "attacks": [{**coins, "order": "m(n"}]}).encode(),
        json.dumps({**document, "attacks": [{**coins, "coins": None}]}).encode(),
        json.dumps({**document, "attacks": [{**coins, "name": "john-smith"}]}).encode(),
        json.dumps({**document, "attacks": [{**document["attacks"][0], "member_scores": [0.1234]}]}).encode(),
        json.dumps({**document, "design": {**document["design"], "noise_seed": 0}}).encode(),
        json.dumps({**document, "deciding": {**document["deciding"], "attack": "other"}}).encode(),
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
        lambda d: d["attacks"][0].update(bins=["x"] * 290_000),
        lambda d: d["attacks"][0].update(bins=[[]] * 600_000),
        lambda d: d["attacks"][0].update(tpr_at_fpr=[0] * 900_000),
    ],
    ids=["attacks", "attacks with a member", "members", "members of an attack", "bins", "lists", "rates"],
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
    audit = import_module("embhub.audits.report")
    derive = audit.on_file

    def count(name: str, **facts: Any) -> Any:
        asked.append(name)
        return derive(name, **facts)

    monkeypatch.setattr(audit, "on_file", count)
    assert recompute(report) == recompute(AuditReport.parse(report.to_bytes())) == []
    assert asked == ["loss-difference"]
    changed = report.model_copy(update={"statement": "All is well."})
    assert recompute(changed) == ["the statement is not the one that belongs to the verdict and its figures"]
    assert len(asked) == 2
