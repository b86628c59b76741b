"""What a release changes in this site's memory, and what the memory has to say about a release."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from embhub.client.statements import reports
from embhub.formats import instants, names
from embhub.privacy.claim_or_none import is_claim
from embhub.refusals import Finding
from embhub.release.checks import claims, ledger_heads, site_totals
from embhub.release.files import Release
from embhub.release.verification import Verified
from embhub.site.memory import ledger_heads as seen_heads
from embhub.site.memory import seen
from embhub.trust import statement

if TYPE_CHECKING:
    from embhub.privacy.claim import Claim

CHECK = "signer"


def remember(verified: Verified, release: Release, *, commit: str | None) -> None:
    """Note an accepted release: its commit, bytes and statement with card and audit, who signed, and today.

    `commit` is None where it came from a copy that has commits of its own.

    Raises:
        ConfigError: the memory cannot be read or written.
    """
    envelope = release.publish_bundle.envelope
    publish = statement.read_publish(statement.parse(envelope.payload))
    seen.remember(
        verified.signer.registry,
        verified.repository,
        version=verified.version,
        digest=verified.digest,
        commit=commit,
        statement=envelope.identity,
        card=publish.card.sha256,
        audit=publish.audit.sha256 if publish.audit is not None else None,
        signer=verified.signer.fingerprint,
        keyring=verified.keyring,
        on=instants.write(datetime.now(UTC)),
        unexpected=verified.unexpected is not None,
    )
    if publish.ledger is not None and not ledger_heads.fault(publish.ledger):
        place = verified.signer.registry, verified.signer.namespace
        seen_heads.remember(*place, publish.ledger.id, ledger_heads.numbered(publish.ledger))
    unexpected = {change.fingerprint for _, change in verified.unexpected_auditors}
    known = [(who.namespace, who.fingerprint) for who in verified.countersigners]
    seen.remember_auditors(verified.signer.registry, [key for key in known if key[1] not in unexpected])


def recall(verified: Verified) -> Verified:
    """A release from this disk with what this site heard of it when a registry was asked last; no network is asked."""
    told = verified.told(yanked=None, others=(), remembered=reports.audits(verified.digest), asked=False)
    return say_signer(say_claim(say_yank(told)))


def say_yank(verified: Verified) -> Verified:
    """Add that its registry called the release yanked when it was asked last, where it did.

    Raises:
        ConfigError: the memory cannot be read.
    """
    registry = verified.signer.registry
    yanked = reports.yank(registry, verified.repository, verified.version)
    if yanked is None:
        return verified
    first = yanked.as_finding(f"{registry}, when it was asked last,")
    return replace(verified, yanked=verified.yanked or yanked, findings=(first, *verified.findings))


def with_ledger_findings(verified: Verified, release: Release) -> Verified:
    """Add whether the publisher's privacy ledger goes on from where this site saw it.

    Raises:
        ConfigError: the memory cannot be read.
    """
    shown = statement.read_publish(release.publish_bundle.statement).ledger
    signer = verified.signer
    known = seen_heads.known(signer.registry, signer.namespace)
    found = ledger_heads.compare(shown, known, namespace=signer.namespace)
    return replace(verified, findings=(*verified.findings, *found))


def say_claim(verified: Verified) -> Verified:
    """Add what stands beside a privacy claim: a newer total of its site, and whether the build that it states is known.

    Raises:
        ConfigError: the memory cannot be read.
    """
    newest = reports.site_total(verified.signer.registry, names.namespace_of(verified.repository))
    of_this_site = site_totals.of_this_site(verified.embedding)
    totals = site_totals.say(of_this_site, verified.signer.namespace, newest)
    claim = verified.embedding.privacy
    return replace(verified, findings=(*verified.findings, *totals, *_say_build(claim)))


def _say_build(claim: Claim) -> tuple[Finding, ...]:
    if not is_claim(claim) or claim.build is None:
        return claims.say_build(claim, known={}, running=None)
    from embhub.site import builds  # here, not above: few releases state one, and every file of embhub is read

    return claims.say_build(claim, known=builds.KNOWN, running=builds.installed())


def say_signer(verified: Verified) -> Verified:
    """Add whether the keys that signed, the publisher's and each auditor's, are those that this site expects.

    A policy may refuse where one is not.

    Raises:
        ConfigError: the memory cannot be read.
    """
    verified, signer = _say_auditors(verified), verified.signer
    change = seen.signer_change(signer.registry, verified.repository, fingerprint=signer.fingerprint)
    if change is None:
        return verified
    finding = Finding(CHECK, "warning", f"{change.in_words()}; ask {signer.namespace} whether it is theirs")
    return replace(verified, unexpected=change, findings=(*verified.findings, finding))


def _say_auditors(verified: Verified) -> Verified:
    registry, found, said = verified.signer.registry, [], []
    for auditor in verified.countersigners:
        change = seen.auditor_change(registry, auditor.namespace, fingerprint=auditor.fingerprint)
        if change is not None:
            found.append((auditor.namespace, change))
            text = f"the auditor {auditor.namespace}: {change.in_words()}; ask {auditor.namespace} whether it is theirs"
            said.append(Finding(CHECK, "warning", text))
    return replace(verified, unexpected_auditors=tuple(found), findings=(*verified.findings, *said))
