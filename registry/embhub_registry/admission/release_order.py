"""What may follow what in a repository: rules over a commit and what was there before. Pure.

Each returns what is wrong, or None.
"""

from __future__ import annotations

from collections.abc import Mapping

from embhub.formats import names
from embhub.release import files as release_files
from embhub.release.files import AUDIT, AUDIT_BUNDLE, EMBEDDING, PUBLISH_BUNDLE, SAMPLES, STUDY
from embhub.trust import bundle, statement
from embhub_registry.repositories.proposal import Proposal


def check_weights(proposal: Proposal) -> str | None:
    """What was published keeps its weights, and nothing speaks of weights that are not there."""
    if EMBEDDING in proposal.files:
        return None
    if proposal.versions:
        return f"versions were published here, and there would be no {EMBEDDING}"
    others = (AUDIT, SAMPLES, STUDY)
    speaking = sorted(path for path in proposal.files if path in others or path.startswith("attestations/"))
    return f"{', '.join(speaking)} without the {EMBEDDING} that they speak of" if speaking else None


def check_audit_kept(proposal: Proposal) -> str | None:
    """Audits of the present release stay, side by side: its publisher's own, and every auditor's but the caller's."""
    if proposal.admin or not proposal.keeps_embedding_and_card:
        return None
    before, after = proposal.attested, proposal.files
    if _report_signed_along(before) not in (None, _report_signed_along(after)):
        return "this version was signed together with its audit report, and its new statement names another or none"
    held: set[str] = set()  # who attested the report that would go
    for path in before:
        auditor = release_files.auditor_in(path)
        if path != AUDIT_BUNDLE and (auditor is None or auditor == proposal.caller):
            continue
        owner = auditor or "its publisher"
        report = statement.read_audit(bundle.parse(before[path]).statement).report.sha256
        if path not in after or (auditor is not None and after[path] != before[path]):
            return f"the audit of this release was attested by {owner}, and it would be removed or replaced"
        if report == proposal.before.get(AUDIT):
            held.add(owner)
    changed = AUDIT in proposal.before and release_files.digest(after.get(AUDIT, b"")) != proposal.before[AUDIT]
    if changed and held:
        return f"the audit report was attested by {' and '.join(sorted(held))}, and it would be removed or replaced"
    return None


def _report_signed_along(files: Mapping[str, bytes]) -> str | None:
    """Digest of the audit report that the publish statement names; None where it names none or there is none."""
    if PUBLISH_BUNDLE not in files:
        return None
    audit = statement.read_publish(bundle.parse(files[PUBLISH_BUNDLE]).statement).audit
    return audit.sha256 if audit else None


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
    signed += [
        item.signer
        for item in verified.audit_files
        if proposal.before.get(item.path) != release_files.digest(proposal.files[item.path])
    ]
    for signer in signed:
        if signer.revoked_as is not None:
            who = f"{signer.namespace}'s key {signer.fingerprint}"
            return f"{who} was revoked on {signer.revoked_on}: {signer.revoked_as}"
    return None


def check_study(proposal: Proposal) -> str | None:
    """A release of a study that was proposed here for this repository, and that nobody left."""
    if (digest := proposal.study) is None:
        return None
    if digest not in proposal.studies:
        return f"no study with the digest {digest} was proposed here for {proposal.repository}"
    who = proposal.studies[digest]
    return f"{who} withdrew from the study before a release of it was published" if who else None
