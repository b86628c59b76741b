"""The attestations of audits in a release: the publisher's own, and each independent auditor's beside it. Pure.

None takes the place of another. An auditor's is about `audit.json`, or about a report that stays with the auditor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from embhub.audits.report import AuditReport
from embhub.refusals import AuditMismatchError, Finding, MissingAuditError, RevokedKeyError, WrongNamespaceError
from embhub.release import files as release_files
from embhub.release.checks import artifact, attested, consistency, signers
from embhub.release.checks.attested import Attested
from embhub.release.checks.signers import Signer
from embhub.release.files import Release
from embhub.trust import bundle, dsse, statement
from embhub.trust.keyring import Trust
from embhub.trust.statement import MiaAudit, Publish

_HINT = "fetch the release again, and ask the publisher"


@dataclass(frozen=True)
class AuditFile:
    """An audit attestation in the file `path`, who signed it, and what it says. `of_report`: it is about audit.json.

    Its `envelope` is kept: where a registry shows the same one again, it was checked already.

    `left_out`: the auditor's key was revoked, so that it vouches for nothing.
    """

    path: str
    signer: Signer
    audit: Attested
    of_report: bool
    envelope: dsse.Envelope
    left_out: bool = False

    @property
    def countersigns(self) -> bool:
        """Whether an independent auditor vouches for audit.json here."""
        return self.of_report and not self.audit.own and not self.left_out


def check(
    release: Release, report: AuditReport | None, *, publish: Publish, keyring: Trust, publisher: Signer,
    findings: list[Finding],
) -> tuple[AuditFile, ...]:  # fmt: skip
    """Every audit attestation of a release, the publisher's own first.

    One by an auditor's revoked key is left out with a warning; what the publisher signed stays as good as it was.

    Raises:
        ReleaseRefusedError: one does not hold, or nobody vouches for the report.
    """
    paths = [path for path in release.files if path == release_files.AUDIT_BUNDLE or release_files.auditor_in(path)]
    digest = release_files.digest(release.files[release_files.AUDIT]) if report is not None else None
    notes: list[tuple[AuditFile, list[Finding]]] = []
    for path in paths:
        said: list[Finding] = []
        facts, signer, envelope = _read(release, path, keyring=keyring, publisher=publisher, findings=said)
        _check_release(facts, publish)
        of_report = facts.report.sha256 == digest
        if report is not None and digest is not None and (of_report or path == release_files.AUDIT_BUNDLE):
            consistency.check_attestation(facts, publish=publish, report=report, report_digest=digest)
        item = AuditFile(path, signer, attested.stated(facts, signer, publisher.namespace), of_report, envelope)
        if signer.revoked_as is not None and signer != publisher:  # the publisher's own is judged once, by the caller
            try:
                said.append(signers.check_auditors_key(signer, created=facts.created))
            except RevokedKeyError as refusal:
                if item.audit.own:
                    raise
                item, said = replace(item, left_out=True), [_left_out(item, refusal)]
        notes.append((item, said))
    found = tuple(item for item, _ in notes)
    if report is not None:
        own = any(item.path == release_files.AUDIT_BUNDLE for item in found)
        if not any(item.of_report and not item.left_out for item in found) or (publish.audit is not None and not own):
            raise MissingAuditError("the audit report has no attestation", _HINT)
    countersigned = any(item.countersigns for item in found)
    for item, said in notes:
        findings.extend(
            finding for finding in said if not (item.audit.own and countersigned and finding.check == "auditor")
        )
    return found


def _left_out(item: AuditFile, refusal: RevokedKeyError) -> Finding:
    text = (
        f"{refusal.message}. Its attestation ({item.path}), which says {item.audit.verdict}, is left out and vouches"
        f" for nothing; {refusal.hint}"
    )
    return Finding(signers.AUDITOR, "warning", text)


def _read(
    release: Release, path: str, *, keyring: Trust, publisher: Signer, findings: list[Finding]
) -> tuple[MiaAudit, Signer, dsse.Envelope]:
    kept = release.audit_bundle if path == release_files.AUDIT_BUNDLE else None
    attestation = kept or bundle.parse(release.files[path])
    signed = attestation.statement
    if signed.digest != release.embedding.digest:
        raise AuditMismatchError("the audit attestation is about another embedding", "fetch the release again")
    artifact.check_numbers(signed, release.embedding)
    facts = statement.read_audit(signed)
    signer = signers.find_auditor(
        attestation, registry=facts.registry, trusts=(keyring,), publisher=publisher.namespace, findings=findings
    )
    if path == release_files.AUDIT_BUNDLE:
        if signer.is_independent_of(publisher.namespace):
            raise WrongNamespaceError(
                f"{path} is the publisher's own, and {signer.namespace} signed it",
                f"an auditor's attestation stands in {release_files.audit_bundle_of(signer.namespace)}",
            )
    elif not signer.is_independent_of(publisher.namespace) or signer.namespace != release_files.auditor_in(path):
        raise WrongNamespaceError(
            f"{path} is signed by {signer.namespace}'s key, which is not that auditor's",
            "an independent auditor's attestation stands under the auditor's own namespace",
        )
    return facts, signer, attestation.envelope


def _check_release(facts: MiaAudit, publish: Publish) -> None:
    if (facts.repository, facts.version) != (publish.repository, publish.version):
        raise AuditMismatchError(
            f"the audit attestation is for {facts.repository} {facts.version}, "
            f"the release is {publish.repository} {publish.version}",
            _HINT,
        )
