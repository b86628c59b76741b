"""A claim's statement about its whole site beside the newest one of the same namespace that was seen here. Pure."""

from __future__ import annotations

from embhub.privacy import wording
from embhub.privacy.claim import Claim, PrivacyClaim
from embhub.privacy.composition import Composition, SiteTotal
from embhub.refusals import Finding


def stated(claim: Claim) -> SiteTotal | None:
    """What a claim states of all private trainings of its site; None where it states nothing of that kind."""
    found = claim.composition if isinstance(claim, PrivacyClaim) else None
    return found.total if isinstance(found, Composition) else None


def say(claim: Claim, namespace: str, newest: SiteTotal | None) -> tuple[Finding, ...]:
    """One note where a newer release of the namespace stated more than this claim does; else nothing."""
    own = stated(claim)
    if not isinstance(claim, PrivacyClaim) or own is None or newest is None or newest.order <= own.order:
        return ()
    return (Finding("site-total", "note", wording.newer_total(newest, unit=claim.unit, namespace=namespace)),)
