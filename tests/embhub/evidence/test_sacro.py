"""Exports for output checkers: the shape of `sacroml` 2, one attack a file, figures as in the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embhub.audits.report import SUITES, Suite
from embhub.evidence.pack import read_report, write_pack
from tests.support.claims import make_claim
from tests.support.packs import NOW, make_site
from tests.support.quick import others_thorough


@pytest.mark.parametrize("suite", others_thorough(SUITES, ("quick", "standard", "mechanism")))
def test_one_attack_a_file_in_the_shape_that_checkers_know(tmp_path: Path, suite: Suite) -> None:
    file = make_site(tmp_path, suite, claim=make_claim())
    write_pack(file, tmp_path / "pack", now=NOW)
    report = read_report(file, None)[0]
    shown_there = {path.stem for path in (tmp_path / "pack" / "sacro").glob("*.json")}
    assert shown_there == {result.name for result in report.attacks if result.on_coins}
    for result in report.attacks:
        if not result.on_coins:
            continue
        document = json.loads((tmp_path / "pack" / "sacro" / f"{result.name}.json").read_text())
        ((key, found),) = document.items()
        assert set(found) == {"log_id", "log_time", "metadata", "attack_experiment_logger"}
        assert key == f"{found['metadata']['attack_name']}_{found['log_id']}"
        ((name, instance),) = found["attack_experiment_logger"]["attack_instance_logger"].items()
        assert name == "instance_0"
        assert (instance["AUC"], instance["P_HIGHER_AUC"]) == (result.auc, result.p_value)
        counts = (len(result.ranks.members), len(result.ranks.nonmembers))
        assert (instance["n_pos_test_examples"], instance["n_neg_test_examples"]) == counts
        shown = {f"TPR@{rate.fpr * 100:g}%": rate.tpr for rate in result.tpr_at_fpr if rate.tpr is not None}
        assert shown and {name: value for name, value in instance.items() if name.startswith("TPR@")} == shown
        assert instance["fpr"][0] == instance["tpr"][0] == 0 and instance["fpr"][-1] == instance["tpr"][-1] == 1


def test_the_same_report_exports_the_same_ids(tmp_path: Path) -> None:
    file = make_site(tmp_path, "standard")
    for place in ("a", "b"):
        write_pack(file, tmp_path / place, now=NOW)
    a, b = (sorted(path.read_bytes() for path in (tmp_path / place / "sacro").iterdir()) for place in ("a", "b"))
    assert a == b and len({next(iter(json.loads(text))) for text in a}) == len(a)
