"""What the sign-off form asks beside the signatures: printed blank, or with what the card answers. Pure.

Nothing is filled in by a guess. A site's defaults answer none of these: they are decisions about one release.
"""

from __future__ import annotations

from embhub.cards.card_schema import Card
from embhub.evidence.document import FormField


def list_fields(card: Card | None, *, review_by: str) -> tuple[FormField, ...]:
    """The fields in the order of the form.

    Args:
        card: the complete card, or None.
        review_by: the latest date of the next review.
    """
    return (
        FormField(
            name="DPIA reference",
            asks="number or place of the impact assessment (GDPR Article 35), or why none is needed",
        ),
        FormField(
            name="Purpose of the release",
            asks="confirm or correct what the card says",
            from_card=card.intended_use if card else None,
        ),
        FormField(
            name="Recipients",
            asks="who can fetch the files: everyone if the repository is public, otherwise who decides on access",
        ),
        FormField(
            name="Retention",
            asks="how long the release stays available, and how long training record, ledger and this pack are kept",
        ),
        FormField(
            name="Residual risk",
            asks="what remains despite the measures in this pack, and why the controller accepts it",
        ),
        FormField(name="Next review", asks=f"on {review_by} at the latest"),
    )
