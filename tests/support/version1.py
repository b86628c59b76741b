"""Audit reports of version 1, as releases of before hold them: scores of patients beside the seed that made them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from embhub.audits.report import AuditReport

Scores = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def to_version1(report: AuditReport, scores: Scores, *, seed: int = 0) -> bytes:
    """What version 1 published of these scores: sorted, six digits, with the noise seed."""
    document = json.loads(report.to_bytes())
    design = {name: value for name, value in document["design"].items() if name != "bounds"}
    attacks = []
    for result in document["attacks"]:
        members, nonmembers = (sorted(float(f"{score:.6g}") for score in side) for side in scores[result["name"]])
        kept = {name: result[name] for name in ("name", "paper", "kind", "models", "auc", "auc_interval", "p_value")}
        attacks.append({**kept, "member_scores": members, "nonmember_scores": nonmembers})
    old = {
        **{name: value for name, value in document.items() if name not in ("deciding", "attempt")},
        "schema": "embhub.audit/1",
        "design": {**design, "noise_seed": seed},
        "attacks": attacks,
    }
    return json.dumps(old).encode()
