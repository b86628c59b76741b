"""What a signature is worth whose key was revoked since. Pure.

Without a transparency log nobody can tell when a signature was made: a statement carries the date that its signer
wrote. So a stolen key's statements count for nothing, whatever their date; a key that was lost or replaced has no enemy
behind it, and what it signed before stays good, with a word on back-dating.
"""

from __future__ import annotations

from embhub.formats import instants
from embhub.refusals import Finding, Outcome, RevokedKeyError
from embhub.release.checks.signers import Signer

PUBLISHER, AUDITOR = "revocation", "auditor-revocation"  # names of the findings
_SIGN_ANEW = "the publisher signs the release anew with another key (`embhub sign --key NAME`), and pushes it again"
_BACK_DATING = (
    "no transparency log dates signatures, so a back-dated signature cannot be distinguished from an honest one"
)


def check_publisher(signer: Signer, *, created: str, auditor: Signer | None, countersigned_suffices: bool) -> Finding:
    """What the publisher's revoked key means for a release that says it was signed at `created`.

    A stolen key's release may be used only where an independent auditor vouches for the same embedding under the same
    name and version, and the policy is content with that.

    Raises:
        RevokedKeyError: it may not be used.
    """
    who = f"{signer.namespace}'s publishing key {signer.fingerprint}"
    if signer.revoked_as != "stolen":
        return _date(PUBLISHER, signer, who, created=created, hint=_SIGN_ANEW)
    if auditor is not None and auditor.is_independent_of(signer) and countersigned_suffices:
        text = (
            f"{who} was reported stolen on {signer.revoked_on}. {auditor.namespace} countersigned: that vouches for "
            "the embedding, its name, version and audit report, not for the card. Ask the publisher to sign anew"
        )
        return Finding(PUBLISHER, "warning", text)
    raise RevokedKeyError(_stolen(who, signer), _SIGN_ANEW)


def check_auditor(auditor: Signer, *, created: str) -> Finding:
    """What the auditor's revoked key means for an attestation that says it was made at `created`.

    Raises:
        RevokedKeyError: it vouches for nothing.
    """
    who = f"{auditor.namespace}'s key {auditor.fingerprint}, which signed the audit attestation,"
    hint = "the auditor must sign its attestation anew with another key"
    if auditor.revoked_as == "stolen":
        raise RevokedKeyError(_stolen(who, auditor), hint)
    return _date(AUDITOR, auditor, who, created=created, hint=hint)


def _stolen(who: str, signer: Signer) -> str:
    return (
        f"{who} was reported stolen on {signer.revoked_on}: its thief can sign anything, under any date, "
        "so what it signed is not to be trusted"
    )


def _date(check: str, signer: Signer, who: str, *, created: str, hint: str) -> Finding:
    revoked_on, what = signer.revoked_on or created, "was replaced" if signer.revoked_as == "superseded" else "was lost"
    if instants.read(created) > instants.read(revoked_on):
        raise RevokedKeyError(f"{who} {what} on {revoked_on}, and signed this on {created}, by its own word", hint)
    outcome: Outcome = "note" if signer.revoked_as == "superseded" else "warning"
    return Finding(
        check,
        outcome,
        f"{who} {what} on {revoked_on}; what it signed before stays good. "
        f"This was signed on {created}, by its own word: {_BACK_DATING}",
    )
