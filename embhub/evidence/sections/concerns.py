"""What must be resolved before sign-off: the checks of `sign`, as sentences instead of errors. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from embhub.audits.report import AuditReport
from embhub.cards.personal_data import personal_data_in_release
from embhub.evidence.document import Ledger
from embhub.pages.messages import ENGLISH, Message, figure, mark, message
from embhub.privacy.claim import Claim, PrivacyClaim, plain
from embhub.privacy.fields import MAX_DELTA
from embhub.privacy.wording import is_large
from embhub.refusals import ReleaseRefusedError
from embhub.release import files as release_files
from embhub.release.checks import claims, consistency, derivations
from embhub.release.checks.samples import check_samples
from embhub.release.files import Release
from embhub.trust import statement

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # of a statement that is compared and never signed
_EXPOSED_PATIENTS = message(
    "This audit is about patients, and the privacy claim does not cover it. The audit and this pack stay at the site. A"
    " decision to release that depends on the audit would reveal its result. Decide from the claim instead."
)
_EXPOSED_IMAGES = message(
    "This audit is about images, and the privacy claim does not cover it. The audit and this pack stay at the site. A"
    " decision to release that depends on the audit would reveal its result. Decide from the claim instead."
)
_UNBOUND_PATIENTS = message(
    "According to the site's ledger, a training or a published audit without differential privacy also used some of"
    " these patients. There is no bound on what all of them together reveal."
)
_UNBOUND_IMAGES = message(
    "According to the site's ledger, a training or a published audit without differential privacy also used some of"
    " these images. There is no bound on what all of them together reveal."
)
_WEAK_FOR_PATIENTS = mark(
    "The privacy claim is weak for some of these patients: with the site's other trainings on them, epsilon is"
    " {epsilon}."
)
_WEAK_FOR_IMAGES = mark(
    "The privacy claim is weak for some of these images: with the site's other trainings on them, epsilon is {epsilon}."
)


class Concern(NamedTuple):
    """A concern in a sentence or a few. `detail` is what a check says: in English, whatever the page's language."""

    message: Message
    detail: str = ""

    @property
    def in_english(self) -> str:
        """All of it."""
        text = ENGLISH.say(self.message)
        return f"{text} {self.detail}." if self.detail else text


def list_concerns(
    release: Release, report: AuditReport, *, card_fault: str | None, ledger: Ledger | None = None
) -> tuple[Concern, ...]:
    """What must be resolved; empty where signing would succeed and no figure needs an explanation.

    Args:
        release: the embedding with what lies beside it.
        report: the audit report that the pack is about.
        card_fault: why there is no complete card; None where there is one.
        ledger: what the site's ledger counts for those who were in the training; None where it knows nothing of it.
    """
    return (
        *_about_audit(release, report),
        *_about_card(release, report, card_fault),
        *_about_ledger(release.embedding.privacy, ledger),
    )


def _about_audit(release: Release, report: AuditReport) -> Iterator[Concern]:
    artifact = release.embedding
    if report.artifact.sha256 != artifact.digest:
        yield Concern(message("The audit report is about another embedding."))
    for contradiction in report.check():
        yield Concern(message("The audit report contradicts itself:"), contradiction)
    if refuted := refute(artifact.privacy, report):
        yield Concern(message("The privacy claim does not hold:"), refuted)
    if claims.exposed(artifact.privacy, report):
        yield Concern(_EXPOSED_IMAGES if report.unit == "image" else _EXPOSED_PATIENTS)
    if any(
        result.kind == "baseline" and not result.auc_interval[0] <= 0.5 <= result.auc_interval[1]
        for result in report.attacks
    ):
        yield Concern(
            message(
                "Members and non-members differ in their images alone, without the embedding. The split is not random,"
                " and the figures may measure that instead of a leak."
            )
        )
    if isinstance(artifact.privacy, PrivacyClaim) and artifact.privacy.is_weak:
        yield Concern(
            message(
                "The privacy claim is weak: its epsilon, or that of all private trainings of this site together, is"
                " large."
            )
        )


def _about_card(release: Release, report: AuditReport, card_fault: str | None) -> Iterator[Concern]:
    if card_fault:
        yield Concern(message("There is no complete card:"), card_fault)
        return
    yield from _contradictions(release, report)
    found = personal_data_in_release(
        release.card, readme=release.files[release_files.CARD], training=release.embedding.training
    )
    for place in found:
        yield Concern(message("The card seems to contain personal data:"), place)


def _about_ledger(claim: Claim, ledger: Ledger | None) -> Iterator[Concern]:
    if not isinstance(claim, PrivacyClaim) or ledger is None:
        return
    of_images = claim.unit == "image"
    if ledger.epsilon is None:
        yield Concern(_UNBOUND_IMAGES if of_images else _UNBOUND_PATIENTS)
    elif is_large(ledger.epsilon, delta=MAX_DELTA) and not claim.is_weak:
        values = {"epsilon": figure(ledger.epsilon, "g")}
        yield Concern(Message(_WEAK_FOR_IMAGES if of_images else _WEAK_FOR_PATIENTS, values))


def refute(claim: Claim, report: AuditReport) -> str | None:
    """How an audit contradicts a privacy claim; None where it does not, or there is none."""
    if refuted := claims.refuted(claim, report):
        return refuted
    broken = isinstance(claim, PrivacyClaim) and report.suite == "mechanism" and report.verdict == "leak-detected"
    return "the code that it depends on does not work as claimed" if broken else None


def _contradictions(release: Release, report: AuditReport) -> Iterator[Concern]:
    artifact, card, shipped = release.embedding, release.card, release.audit
    if shipped is None and claims.exposed(artifact.privacy, report):
        yield Concern(message("The release would contain no audit: run --suite mechanism as well."))
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
            yield Concern(message("Signing will be refused:"), refusal.message)
