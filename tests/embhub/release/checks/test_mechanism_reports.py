"""With a privacy claim only canaries' scores leave the site: patients' are refused by who signs, publishes or reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from embhub.artifact.embedding import Embedding
from embhub.artifact.fingerprint import digest
from embhub.audits import audit_page
from embhub.audits.report import AuditReport, Claimed, Design, build
from embhub.cards import card
from embhub.errors import ArtifactError
from embhub.privacy.claim import PrivacyClaim
from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.checks.claims import exposed, refuted
from embhub.release.checks.consistency import power
from embhub.release.files import Release
from embhub_registry.admission import rules as admission
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.repositories.proposal import Proposal
from tests.support.claims import make_claim, make_private_release, private_files, sign
from tests.support.releases import NOW, REPOSITORY, make_embedding, make_report, make_trust

CLAIM = make_claim()


def report_of(artifact: Embedding, *, claim: PrivacyClaim = CLAIM, shift: float = 0.0) -> AuditReport:
    """A report of the mechanism suite; `shift` is what canaries that took part score more, in standard deviations."""
    rng = np.random.default_rng(3)
    return build(
        artifact_digest=artifact.digest,
        base_digest=digest(artifact.base) if artifact.base else None,
        suite="mechanism",
        scores={"mechanism-canaries": ((rng.normal(size=500) + shift).tolist(), rng.normal(size=500).tolist())},
        unit="canary",
        design=Design(split="made up, in or out by a coin each", subject="mechanism"),
        claim=Claimed(epsilon=claim.epsilon, delta=claim.delta),
    )


def release_with(report: AuditReport) -> dict[str, bytes]:
    files = private_files()
    files[release_files.AUDIT] = report.to_bytes()
    summary = {"verdict": report.verdict, "suite": report.suite, "power": power(report)}
    told = card.parse({**card.from_readme(files[release_files.CARD]).to_dict(), "audit": summary})
    return {**files, release_files.CARD: card.to_readme(told)}


def admit(files: Mapping[str, bytes]) -> None:
    admission.admit(
        Proposal(REPOSITORY, files, before={}, versions=(), audit_required=True, trust=make_trust(), now=NOW)
    )


ARTIFACT = make_embedding(privacy=CLAIM)


def test_canaries_may_go_out() -> None:
    report = report_of(ARTIFACT)
    assert (report.verdict, report.check()) == ("bounded-by-claim", [])
    assert "no patient's image was looked at" in report.statement
    release = sign(release_with(report))
    verified = verification.verify(release, trust=make_trust(), now=NOW, repository=REPOSITORY)
    assert any(finding.check == "verdict" and "mechanism" in finding.text for finding in verified.findings)
    admit(release.files)
    page = audit_page.render(report)
    assert "reveals nothing about a patient" in page and "canarys" not in page


def test_patients_scores_may_not() -> None:
    report = make_report(ARTIFACT)
    assert "keep it" in (exposed(CLAIM, report) or "") and exposed("none", report) is None
    files = release_with(report)
    with pytest.raises(ArtifactError, match="figures of the patients themselves"):
        sign(files)
    with pytest.raises(RequestDeniedError) as caught:
        admit({**make_private_release().files, **files})
    assert caught.value.rule == "privacy-claim" and "mechanism" in caught.value.message


def test_canaries_that_can_be_told_refute_the_claim() -> None:
    report = report_of(ARTIFACT, shift=4.0)
    assert report.verdict == "leak-detected" and report.check() == []
    assert report.coins is not None and report.coins.lower_bound > CLAIM.epsilon
    assert "gives such a result in at most 2.5 % of audits" in report.statement
    assert "with a confidence of 95 %" in (refuted(CLAIM, report) or "")
    with pytest.raises(ArtifactError, match="the audit shows an epsilon"):
        sign(release_with(report))


def test_the_mechanism_of_another_claim_says_nothing() -> None:
    report = report_of(ARTIFACT, claim=make_claim(sigma=1.0), shift=2.0)
    assert report.verdict == "bounded-by-claim"  # within that weaker claim
    assert "another privacy claim" in (refuted(CLAIM, report) or "")
    with pytest.raises(ArtifactError, match="another privacy claim"):
        sign(release_with(report))
    assert "another privacy claim" in (refuted("none", report) or "")


@pytest.mark.parametrize("forged", [{"claim": None}, {"unit": "patient"}, {"verdict": "no-leak-detected"}])
def test_a_report_that_pretends_is_found_out(forged: dict[str, object]) -> None:
    assert report_of(ARTIFACT).model_copy(update=forged).check()


def test_of_a_leak_no_other_suite_makes_a_claim() -> None:
    pretends = make_report(ARTIFACT).model_copy(update={"claim": Claimed(epsilon=9.0, delta=1e-5)})
    assert any("belong to the suite mechanism" in found for found in pretends.check())


def test_a_release_is_signed_without_any_report_too() -> None:
    assert Release.from_files(private_files()).audit is None
