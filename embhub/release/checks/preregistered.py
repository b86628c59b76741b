"""Was the audit registered before it ran? What a release's own files say; the log says the rest. Pure.

A design and a result that contradict the report, or each other, are refused: somebody exchanged one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from embhub.refusals import AuditMismatchError, Finding
from embhub.release import files as release_files
from embhub.release.checks import signers
from embhub.release.checks.signers import Signer
from embhub.release.files import Release
from embhub.trust import bundle, kinds

if TYPE_CHECKING:
    from embhub.audits.report import AuditReport
    from embhub.trust.audit_designs import AuditDesign, AuditResult
    from embhub.trust.bundle import Bundle
    from embhub.trust.keyring import Trust

CHECK = "audit-design"
LEAKS = "audit-leak"  # what the demand `no-leak` looks at
_HINT = "fetch the release again; if it stays so, ask the publisher which audit was registered"


def bundles(release: Release) -> tuple[Bundle, Bundle] | None:
    """Design and result of a release, or None where one of them is missing. Raises MalformedBundleError."""
    held = [release.files.get(name) for name in (release_files.AUDIT_DESIGN, release_files.AUDIT_RESULT)]
    design, result = held
    return (bundle.parse(design), bundle.parse(result)) if design is not None and result is not None else None


def check(release: Release, report: AuditReport | None, *, keyring: Trust, publisher: Signer) -> Iterator[Finding]:
    """Whether design, result and report belong together.

    Raises:
        AuditMismatchError: they contradict each other.
        ReleaseRefusedError: another refusal: malformed, or by a key that may not vouch for it.
    """
    found = bundles(release)
    if report is None or found is None:
        return
    from embhub.trust import audit_designs  # its models, where an audit was registered

    design, result = found
    for attestation, kind in zip(found, (kinds.DESIGN, kinds.RESULT), strict=True):
        signers.find(attestation, kind, trusts=(keyring,), registry=None, of=publisher.namespace)
    stated = audit_designs.read_design(design.statement)
    ended = audit_designs.read_result(result.statement)
    digest = release_files.digest(release.files[release_files.AUDIT])
    if fault := _fault(release, report, digest, found, stated, ended):
        raise AuditMismatchError(f"the registered audit is another one: {fault}", _HINT)
    yield Finding(CHECK, "warning", "unknown: the audit's design is here, and the log was not asked about it")


def _fault(
    release: Release, report: AuditReport, digest: str, found: tuple[Bundle, Bundle], design: AuditDesign,
    result: AuditResult,
) -> str | None:  # fmt: skip
    first, second = (one.statement.digest for one in found)
    shadows = report.design.shadows
    compared = (
        ("its design is of another file", first, release.embedding.digest),
        ("its result is of another file", second, release.embedding.digest),
        ("its result is of another design", result.design.sha256, found[0].envelope.identity),
        ("its result names another report", result.report.sha256, digest),
        ("its result says another verdict", result.verdict, report.verdict),
        ("design and result are of two signers", found[0].hint, found[1].hint),
        ("it had another suite", design.suite, report.suite),
        ("it had another number of shadow embeddings", design.shadows, shadows),
        ("it had other bounds", (design.bounds.auc, design.bounds.tpr), _bounds(report)),
        ("it had other sides or seeds", design.commitment, report.commitment),
    )
    return next((what for what, left, right in compared if left != right), None)


def _bounds(report: AuditReport) -> tuple[float, float]:
    return report.design.bounds.auc, report.design.bounds.tpr
