"""What must be resolved before sign-off: the checks of `sign`, as sentences instead of errors. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from embhub.audits import version1
from embhub.audits.report import AuditReport
from embhub.cards.personal_data import personal_data_in_release
from embhub.privacy.claim import Claim, PrivacyClaim, plain
from embhub.refusals import ReleaseRefusedError
from embhub.release import files as release_files
from embhub.release.checks import claims, consistency, derivations
from embhub.release.checks.samples import check_samples
from embhub.release.files import Release
from embhub.trust import statement

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # of a statement that is compared and never signed


def list_concerns(release: Release, report: AuditReport, *, card_fault: str | None) -> Iterator[str]:
    """One or a few sentences for each concern; none where signing would succeed and no figure needs an explanation."""
    artifact = release.embedding
    if report.artifact.sha256 != artifact.digest:
        yield "The audit report is about another embedding."
    for contradiction in report.check():
        yield f"The audit report contradicts itself: {contradiction}."
    if refuted := refute(artifact.privacy, report):
        yield f"The privacy claim does not hold: {refuted}."
    if claims.exposed(artifact.privacy, report):
        yield (
            f"This audit is about {report.unit}s, and the privacy claim does not cover it. The audit and this pack stay"
            " at the site. A decision to release that depends on the audit would reveal its result. Decide from the"
            " claim instead."
        )
    if report.is_version1:
        yield f"{version1.WARNING[0].upper()}{version1.WARNING[1:]}. Audit again: registries reject this report."
    if any(
        result.kind == "baseline" and not result.auc_interval[0] <= 0.5 <= result.auc_interval[1]
        for result in report.attacks
    ):
        yield (
            "Members and non-members differ in their images alone, without the embedding. The split is not random, and"
            " the figures may measure that instead of a leak."
        )
    if isinstance(artifact.privacy, PrivacyClaim) and artifact.privacy.is_weak:
        yield (
            "The privacy claim is weak: its epsilon, or that of all private trainings of this site together, is large."
        )
    if card_fault:
        yield f"There is no complete card: {card_fault}."
        return
    yield from _contradictions(release, report)
    found = personal_data_in_release(release.card, readme=release.files[release_files.CARD], training=artifact.training)
    for place in found:
        yield f"The card seems to contain personal data: {place}."


def refute(claim: Claim, report: AuditReport) -> str | None:
    """How an audit contradicts a privacy claim; None where it does not, or there is none."""
    if refuted := claims.refuted(claim, report):
        return refuted
    broken = isinstance(claim, PrivacyClaim) and report.suite == "mechanism" and report.verdict == "leak-detected"
    return "the code that it depends on does not work as claimed" if broken else None


def _contradictions(release: Release, report: AuditReport) -> Iterator[str]:
    artifact, card, shipped = release.embedding, release.card, release.audit
    if shipped is None and claims.exposed(artifact.privacy, report):
        yield "The release would contain no audit: run --suite mechanism as well."
    publish = statement.read_publish(
        statement.build_publish(
            artifact.digest,
            registry="localhost",
            repository=f"site/{card.name}",
            version=card.version,
            card_digest=release_files.digest(release.files[release_files.CARD]),
            audit_digest=release_files.digest(release.files[release_files.AUDIT]) if shipped is not None else None,
            base_digest=consistency.base_digest(artifact),
            privacy=plain(artifact.privacy),
            recipe=artifact.training,
            created=_ANY_TIME,
        )
    )
    checks = (
        lambda: list(consistency.check_card(card, embedding=artifact, publish=publish, report=shipped)),
        lambda: consistency.check_base(card, embedding=artifact, publish=publish),
        lambda: consistency.check_claim(card, embedding=artifact, publish=publish),
        lambda: derivations.check_link(release, artifact, card),
        lambda: list(check_samples(release, card, digest=artifact.digest)),
        lambda: list(consistency.check_report(shipped, embedding=artifact)) if shipped is not None else None,
    )
    for check in checks:
        try:
            check()
        except ReleaseRefusedError as refusal:
            yield f"Signing will be refused: {refusal.message}."
