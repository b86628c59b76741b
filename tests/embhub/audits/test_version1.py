"""Reports of version 1 are read with a warning, and no registry takes them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from embhub.audits.report import AuditReport, build
from embhub.errors import ArtifactError
from embhub.release import verification
from embhub.release.checks import consistency
from embhub.release.files import AUDIT, Release
from tests.support import releases
from tests.support.version1 import to_version1

RNG = np.random.default_rng(4)
SCORES = {
    name: (RNG.normal(0.4, 1, 60).tolist(), RNG.normal(0, 1, 60).tolist()) for name in ("loss-difference", "loss")
}


def old_report(digest: str = "a" * 64, base: str | None = None) -> bytes:
    report = build(artifact_digest=digest, base_digest=base, suite="quick", scores=SCORES)
    return to_version1(report, SCORES)


def test_scores_become_an_order_as_soon_as_they_are_read() -> None:
    report = AuditReport.parse(old_report())
    assert report.is_version1
    assert "score" not in report.to_bytes().decode()
    assert (
        report.attack("loss").auc
        == build(artifact_digest="a" * 64, base_digest=None, suite="quick", scores=SCORES).attack("loss").auc
    )


def test_it_keeps_the_verdict_that_was_stated() -> None:
    document = {**json.loads(old_report()), "verdict": "no-leak-detected", "statement": "No leak was detected."}
    report = AuditReport.parse(json.dumps(document).encode())
    assert (report.verdict, report.statement) == ("no-leak-detected", "No leak was detected.")
    assert report.check() == []


@pytest.mark.parametrize(
    "change",
    [
        {"attacks": []},
        {"headline": "pia"},
        {"verdict": "safe"},
        {"design": {"split": "Mr. Smith"}},
        {"members": {"units": "60"}},
        {"attacks": [{"name": "loss", "member_scores": [], "nonmember_scores": [1.0]}]},
        {"attacks": [{"name": "loss", "member_scores": ["x"] * 290_000, "nonmember_scores": [1.0]}]},
    ],
)
def test_a_malformed_one_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ArtifactError):
        AuditReport.parse(json.dumps({**json.loads(old_report()), **change}).encode())


def old_release() -> Release:
    """A release that was signed with a report of version 1."""
    good = releases.make_release()
    old = old_report(good.embedding.digest, consistency.base_digest(good.embedding))
    report = AuditReport.parse(old)
    summary = {"verdict": report.verdict, "suite": report.suite, "power": consistency.power(report)}
    card = releases.edited_card(good, audit=summary)
    return releases.resigned(releases.replaced(good, audit=old, card=card))


def test_a_release_that_carries_one_verifies_with_a_warning() -> None:
    release = old_release()
    verified = verification.verify(
        release, trust=releases.make_trust(), repository=releases.REPOSITORY, now=releases.NOW
    )
    warning = next(finding for finding in verified.findings if finding.check == "audit")
    assert warning.outcome == "warning"
    assert "whoever holds a patient's image can find out" in warning.text
    assert "yank" in warning.text
    assert json.loads(release.files[AUDIT])["schema"] == "embhub.audit/1"
