"""What may follow what in a repository: rules over a commit and what was there before. Pure.

Each returns what is wrong, or None.
"""

from __future__ import annotations

from embhub.formats import names
from embhub.release import files as release_files
from embhub.release.files import AUDIT, AUDIT_BUNDLE, EMBEDDING, PUBLISH_BUNDLE, SAMPLES
from embhub.trust import bundle
from embhub_registry.repositories.proposal import AUDIT_FILES, Proposal


def check_weights(proposal: Proposal) -> str | None:
    """What was published keeps its weights, and nothing speaks of weights that are not there."""
    if EMBEDDING in proposal.files:
        return None
    if proposal.versions:
        return f"versions were published here, and there would be no {EMBEDDING}"
    speaking = sorted({AUDIT, AUDIT_BUNDLE, PUBLISH_BUNDLE, SAMPLES} & proposal.files.keys())
    return f"{', '.join(speaking)} without the {EMBEDDING} that they speak of" if speaking else None


def check_audit_kept(proposal: Proposal) -> str | None:
    """Who may remove or replace an audit of the present release."""
    held = {path: proposal.before[path] for path in AUDIT_FILES if path in proposal.before}
    same = all(path in proposal.files and release_files.digest(proposal.files[path]) == held[path] for path in held)
    if same or proposal.admin or proposal.attested is None or not proposal.keeps_embedding_and_card:
        return None
    key = proposal.trust.lookup(bundle.parse(proposal.attested).hint)
    owner = key.namespace if key is not None else "a key that was taken out of the keyring"
    if _by_another_auditor(proposal, owner):
        return None  # what was there stays on record, by the embedding's digest, and is shown beside it
    by_the_publisher = owner == proposal.verified.signer.namespace
    if owner == proposal.caller or (by_the_publisher and proposal.verified.independent):
        return None
    return f"the audit of this release was attested by {owner}, and it would be removed or replaced"


def _by_another_auditor(proposal: Proposal, owner: str) -> bool:
    """Whether an auditor sends an attestation of their own, independent one."""
    auditor = proposal.verified.auditor
    sent = AUDIT_BUNDLE in proposal.files and proposal.verified.independent and auditor is not None
    return sent and auditor is not None and auditor.namespace == proposal.caller != owner


def check_version(proposal: Proposal) -> str | None:
    """Versions grow, over all that was ever published; the present one may be signed anew.

    What rests on a stolen key's signature alone was published by nobody.
    """
    version = proposal.release.card.version
    if proposal.keeps_embedding_and_card:
        return None
    published = [version for version in proposal.versions if version not in proposal.void]
    newest = max(published, key=names.version_order, default=None)
    if newest is not None and names.version_order(version) <= names.version_order(newest):
        return f"version {version} does not follow {newest}, which was published here"
    return None


def check_withdrawn(proposal: Proposal) -> str | None:
    """Bytes that were withdrawn are not published again; to the release that is there, audits may still be added."""
    return None if proposal.is_the_present_release else proposal.withdrawn


def check_replaces(proposal: Proposal) -> str | None:
    """A statement that names its predecessor names the present embedding."""
    if proposal.keeps_embedding_and_card:
        return None
    replaces = proposal.verified.replaces
    if replaces is not None and replaces != proposal.before.get(EMBEDDING):
        return f"the statement says that it replaces {replaces[:12]}…, which is not the present embedding"
    return None


def check_keys(proposal: Proposal) -> str | None:
    """A revoked key signs nothing new, whatever date it writes; what it signed before may stay where it is."""
    verified, signed = proposal.verified, []
    if not proposal.is_the_present_release:
        signed.append(verified.signer)
    bundle_digest = release_files.digest(proposal.files.get(AUDIT_BUNDLE, b""))
    if verified.auditor is not None and proposal.before.get(AUDIT_BUNDLE) != bundle_digest:
        signed.append(verified.auditor)
    for signer in signed:
        if signer.revoked_as is not None:
            who = f"{signer.namespace}'s key {signer.fingerprint}"
            return f"{who} was revoked on {signer.revoked_on}: {signer.revoked_as}"
    return None
