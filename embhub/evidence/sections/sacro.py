"""Figures of one attack in the report shape of `sacroml` 2, which output checkers of trusted environments read.

One attack a file: its readers carry what they found from one attack of a file to the next. A rate is named by its
false-positive rate in per cent, as `sacroml` names it. P_HIGHER_AUC is our exact rank test, `sacroml` has a normal
approximation; what it computes from a classifier (ACC, FDIF…) has no counterpart here and is left out.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from embhub.audits import statistics
from embhub.audits.attack_figures import AttackResult
from embhub.audits.report import AuditReport
from embhub.version import __version__

_REMARKS = {
    "mechanism-canaries": "made-up vectors: an AUC above 0.5 is what the privacy claim allows",
    "mechanism-patients": "made-up patients: an AUC above 0.5 is what the privacy claim allows",
}


def export(report: AuditReport, result: AttackResult, *, now: datetime) -> dict[str, Any]:
    """The file of one attack on coins; `report` must hold `result`. Curves are shares, ascending from 0 to 1."""
    name, log_id = f"embhub {result.name}", _identify(report, result)
    alarms, hits = statistics.roc(*result.ranks)
    low, high = result.auc_interval
    instance = {
        "AUC": result.auc,
        "AUC_interval_95": [low, high],
        "P_HIGHER_AUC": result.p_value,
        **{f"TPR@{rate.fpr * 100:g}%": rate.tpr for rate in result.tpr_at_fpr if rate.tpr is not None},
        "n_pos_test_examples": len(result.ranks.members),
        "n_neg_test_examples": len(result.ranks.nonmembers),
        "fpr": alarms.tolist(),
        "tpr": hits.tolist(),
    }
    metadata = {
        "attack_name": name,
        "attack": name,
        "written_by": f"embhub {__version__}",
        "attack_params": {
            "suite": report.suite,
            "unit": report.unit,
            "headline": result.name == report.headline,
            "deciding": result.name == report.deciding.attack,
            "kind": result.kind,
            "embeddings": result.models,
            "paper": result.paper,
            "report_verdict": report.verdict,
            "remark": _REMARKS.get(result.name, ""),
        },
        "global_metrics": {},
        "target_model": f"embhub embedding {report.artifact.sha256}",
    }
    return {
        f"{name}_{log_id}": {
            "log_id": log_id,
            "log_time": now.strftime("%d/%m/%Y %H:%M:%S"),
            "metadata": metadata,
            "attack_experiment_logger": {"attack_instance_logger": {"instance_0": instance}},
        }
    }


def _identify(report: AuditReport, result: AttackResult) -> str:
    """The same attack on the same file by the same report has the same id."""
    text = f"{report.artifact.sha256} {report.suite} {result.name} {result.auc} {result.models}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
