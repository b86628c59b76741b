"""The decision whether a release may be used: pure, no file, no socket, no clock; docs/explanation/trust.md in code.

Every check leaves a finding in plain words; the first that fails raises its own `ReleaseRefusedError`, with the
findings so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from embhub.artifact.embedding import Embedding
from embhub.audits.report import AuditReport
from embhub.cards.card_schema import Card
from embhub.errors import ArtifactError, PrivacyError
from embhub.formats import instants
from embhub.privacy.claim_or_none import UnsupportedClaimError, is_claim
from embhub.refusals import (
    AuditMismatchError,
    BrokenClaimError,
    CardMismatchError,
    Finding,
    MissingAuditError,
    Outcome,
    ReleaseRefusedError,
    WrongRepositoryError,
)
from embhub.release import demands
from embhub.release import files as release_files
from embhub.release.checks import (
    artifact,
    attested,
    audit_files,
    consistency,
    derivations,
    further_attestations,
    model_signature,
    preregistered,
    samples,
    signers,
    versions,
    withdrawals,
)  # fmt: skip
from embhub.release.checks.signers import Signer as Signer
from embhub.release.files import Release
from embhub.release.policy import STANDARD as STANDARD
from embhub.release.policy import STRICT as STRICT
from embhub.release.policy import Policy as Policy
from embhub.release.verified import Verified as Verified
from embhub.trust import freshness, statement
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Trust
from embhub.trust.statement import Publish

if TYPE_CHECKING:
    from embhub.release.checks.approvals import Approved
    from embhub.site.memory.seen import Sighting

_CLOCK_SKEW = timedelta(hours=1)


def verify(
    release: Release,
    *,
    trust: Trust | Sequence[Trust],
    now: datetime,
    policy: Policy = STANDARD,
    repository: str | None = None,
    seen: Mapping[tuple[str, str], Sighting] | None = None,
    requested: str | None = None,
    pinned: bool = False,
    source_trust: Sequence[Trust] | None = None,
) -> Verified:
    """Decide whether `release` may be used.

    Args:
        trust: the keyring of the registry that it came from, or several where it came from nowhere (a USB stick).
        now: the present, with its time zone; for remarks on dates, and for the demand `fresh` of a policy.
        repository: the `namespace/name` that was asked for; None where the release came as files, then the name in
            the signed statement is reported.
        seen: what this site accepted before, by (registry, repository); an older version is refused, and so is
            another release under the same one. The registry is the one whose keyring vouches for the signer, not the
            place that the bytes came from. Where `repository` is None, an older version that was accepted is taken.
        requested: the version that was asked for by its number; it may be older than what was seen.
        pinned: whether this very release was asked for, by a commit or a lock file; it may be older, too.
        source_trust: keyrings that may vouch for the source of a port; by default `trust`.

    Raises:
        ReleaseRefusedError: the first check that failed, with its own class; `.findings` lists every check up to it.
        PolicyRefusedError: every check passed, and the release does not meet a demand of the policy.
    """
    findings: list[Finding] = []
    try:
        digest = artifact.check_structure(release, findings)
        attestation = release.publish_bundle
        signed = attestation.statement
        artifact.check_digest(signed, digest, findings)
        artifact.check_copies(release, digest)
        publish = statement.read_publish(signed)
        trusts = keyrings.as_sequence(trust)
        keyring, signer = signers.find_publisher(
            attestation, registry=publish.registry, repository=publish.repository, trusts=trusts, findings=findings
        )
        _check_name(publish, repository, findings)
        embedding = artifact.open_embedding(release, findings)
        artifact.check_numbers(signed, embedding)
        before = (seen or {}).get((signer.registry, publish.repository))
        finding = versions.check_version(
            publish, embedding, seen=before, keyring=keyring, requested=requested, pinned=pinned,
            local=repository is None,
        )  # fmt: skip
        findings.append(finding)
        card = _open_card(release, publish)
        report = _open_report(release, publish, findings)
        audits = audit_files.check(
            release, report, publish=publish, keyring=keyring, publisher=signer, findings=findings
        )
        if report is not None:
            findings.extend(consistency.check_report(report, embedding=embedding))
        findings.extend(preregistered.check(release, report, keyring=keyring, publisher=signer))
        auditor = next((item.signer for item in audits if item.countersigns), None)
        if signer.revoked_as is not None:
            finding = signers.check_publishers_key(
                signer, created=publish.created, auditor=auditor, countersigned_suffices=policy.countersigned_suffices
            )
            findings.append(finding)
        _compare(card, embedding, publish, report, findings)
        findings.extend(signers.check_publisher(signer, card.publisher))
        findings.extend(samples.check_samples(release, card, digest=embedding.digest))
        findings.extend(_check_study(release, embedding, publish, keyring))
        withdrawn, said = withdrawals.find(
            trusts, signed_for=keyring, namespace=signer.namespace, repository=publish.repository,
            version=publish.version, digest=digest, numbers=embedding.numbers,
        )  # fmt: skip
        findings.extend(said)
        of_source, of_link = derivations.check(
            release, embedding, card, trusts=trusts if source_trust is None else source_trust
        )
        findings.extend(of_link)
        model_signature.check(release, publisher=signers.public_key_of(signer, keyring), findings=findings)
        findings.extend(further_attestations.check(release))
        approved, of_approvals = _find_approvals(release, publish, keyring=keyring, publisher=signer)
        findings.extend(of_approvals)
        others = tuple(item.audit for item in audits if not item.of_report and not item.left_out)
        findings.extend(attested.say(others, ()))
        findings.extend(_say_what_is_not_known(release, publish, keyring, now))
    except ReleaseRefusedError as refusal:
        refusal.findings = (*findings, Finding(refusal.rule, "failed", refusal.message))
        raise
    verified = Verified(
        embedding=embedding,
        card=card,
        report=report,
        repository=publish.repository,
        version=publish.version,
        replaces=publish.replaces,
        created=publish.created,
        signer=signer,
        audit_files=audits,
        others=others,
        policy=policy,
        findings=tuple(findings),
        withdrawn=(*withdrawn, *of_source),
        approvals=approved,
        keyring=keyring.keyring.version,
        freshness=freshness.judge(keyring, now).state,
    )
    return demands.hold(verified, policy)


def _find_approvals(
    release: Release, publish: Publish, *, keyring: Trust, publisher: Signer
) -> tuple[tuple[Approved, ...], list[Finding]]:
    """As `approvals.find`, which is imported where there are any."""
    if not any(map(release_files.is_approval, release.files)):
        return (), []
    from embhub.release.checks import approvals

    return approvals.find(release, publish, keyring=keyring, publisher=publisher)


def _check_study(release: Release, embedding: Embedding, publish: Publish, keyring: Trust) -> Iterator[Finding]:
    """As `study.check`, which is imported where there is a study."""
    claim = embedding.privacy
    if release_files.STUDY in release.files or (is_claim(claim) and claim.study is not None):
        from embhub.release.checks import study

        yield from study.check(release, embedding, repository=publish.repository, keyring=keyring)


def _check_name(publish: Publish, repository: str | None, findings: list[Finding]) -> None:
    if repository is None:
        findings.append(Finding("repository", "note", f"published as {publish.repository}; no name was asked for"))
        return
    if publish.repository != repository:
        raise WrongRepositoryError(
            f"{repository} was asked for, this was signed for {publish.repository}",
            "the registry returned another repository's release: inform its operator",
        )
    findings.append(Finding("repository", "ok", f"signed for {repository}"))


def _open_card(release: Release, publish: Publish) -> Card:
    data = release.files.get(release_files.CARD)
    if data is None or release_files.digest(data) != publish.card.sha256:
        fault = "missing" if data is None else "not the one that was signed"
        raise CardMismatchError(
            f"the card ({release_files.CARD}) is {fault}", "it was changed after signing: fetch it again"
        )
    try:
        card = release.card
    except UnsupportedClaimError as error:
        raise BrokenClaimError(f"on the card: {error.message}", artifact.BROKEN_CLAIM) from error
    except (ArtifactError, PrivacyError) as error:
        raise CardMismatchError(f"the card cannot be read: {error.message}", error.hint) from error
    consistency.check_readme(card, data)
    return card


def _open_report(release: Release, publish: Publish, findings: list[Finding]) -> AuditReport | None:
    data = release.files.get(release_files.AUDIT)
    if data is None:
        if publish.audit is not None or release_files.AUDIT_BUNDLE in release.files:
            raise MissingAuditError(
                "the release was signed with an audit report, and the report is not there",
                "an audit was dropped on the way: fetch the release again, and ask the publisher",
            )
        findings.append(Finding("audit", "warning", "there is no audit, so membership leakage was not measured"))
        return None
    if publish.audit is not None and publish.audit.sha256 != release_files.digest(data):
        raise AuditMismatchError(
            "the audit report is not the signed one", "it was changed after signing: fetch it again"
        )
    try:
        return release.audit
    except ArtifactError as error:
        raise AuditMismatchError(f"the audit report cannot be read: {error.message}", error.hint) from error


def _compare(
    card: Card, embedding: Embedding, publish: Publish, report: AuditReport | None, findings: list[Finding]
) -> None:
    findings.extend(consistency.check_card(card, embedding=embedding, publish=publish, report=report))
    findings.append(consistency.check_base(card, embedding=embedding, publish=publish))
    findings.append(consistency.check_claim(card, embedding=embedding, publish=publish))
    consistency.check_recipe(embedding, publish=publish)


def _say_what_is_not_known(release: Release, publish: Publish, keyring: Trust, now: datetime) -> Iterator[Finding]:
    if others := [name for name in release.others if name not in release.copies]:
        listed = ", ".join(ascii(name)[1:-1][:60] for name in others[:5])
        yield Finding("others", "note", f"no signature covers {_count(len(others), 'further file')}: {listed}")
    if instants.read(publish.created) > now + _CLOCK_SKEW:
        yield Finding(
            "created", "warning", f"signed at {publish.created}, which is in the future here: check the clocks"
        )
    fresh = freshness.judge(keyring, now)
    outcome: Outcome = "ok" if fresh.state == "fresh" else "warning" if fresh.expected else "note"
    yield Finding(freshness.CHECK, outcome, fresh.text)
    yield Finding("log", "note", "unknown: the transparency log was not asked")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
