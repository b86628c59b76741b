"""A claim's statement about its whole site beside the newest one of the same namespace that was seen here. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embhub.artifact.embedding import Embedding
from embhub.cards.card_schema import Card
from embhub.privacy.claim_or_none import NONE, is_claim
from embhub.refusals import Finding

if TYPE_CHECKING:
    from embhub.privacy.claim import Claim
    from embhub.privacy.composition import SiteTotal


def of_this_site(subject: Embedding | Card) -> Claim:
    """The claim of an embedding or a card, as far as it speaks of its own publisher's site: a port's does not, whose
    claim is about the site that trained the source."""
    return subject.privacy if subject.derived_from is None else NONE


def stated(claim: Claim) -> SiteTotal | None:
    """What a claim states of all private trainings of its site; None where it states nothing of that kind."""
    if not is_claim(claim):
        return None
    from embhub.privacy.composition import Composition

    found = claim.composition
    return found.total if isinstance(found, Composition) else None


def say(claim: Claim, namespace: str, newest: SiteTotal | None) -> tuple[Finding, ...]:
    """One note where a newer release of the namespace stated more than this claim does; else nothing."""
    own = stated(claim)
    if not is_claim(claim) or own is None or newest is None or newest.order <= own.order:
        return ()
    from embhub.privacy import wording

    return (Finding("site-total", "note", wording.newer_total(newest, unit=claim.unit, namespace=namespace)),)
