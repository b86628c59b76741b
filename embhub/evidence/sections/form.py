"""What the sign-off form asks beside the signatures: printed blank, or with what the card answers. Pure.

Nothing is filled in by a guess. A site's defaults answer none of these: they are decisions about one release.
"""

from __future__ import annotations

from embhub.evidence.document import FormField
from embhub.pages.messages import ENGLISH, Day, Language


def list_fields(intended_use: str | None, *, review_by: str, language: Language = ENGLISH) -> tuple[FormField, ...]:
    """The fields in the order of the form.

    Args:
        intended_use: what the complete card says of it, or None without one.
        review_by: the latest date of the next review.
        language: what the fields are in; what the card says stays as it is.
    """
    say = language.say
    return (
        FormField(
            name=say("DPIA reference"),
            asks=say("number or place of the impact assessment (GDPR Article 35), or why none is needed"),
        ),
        FormField(
            name=say("Purpose of the release"),
            asks=say("confirm or correct what the card says"),
            from_card=intended_use,
        ),
        FormField(
            name=say("Recipients"),
            asks=say("who can fetch the files: everyone if the repository is public, otherwise who decides on access"),
        ),
        FormField(
            name=say("Retention"),
            asks=say(
                "how long the release stays available, and how long training record, ledger and this pack are kept"
            ),
        ),
        FormField(
            name=say("Residual risk"),
            asks=say("what remains despite the measures in this pack, and why the controller accepts it"),
        ),
        FormField(name=say("Next review"), asks=say("on {day} at the latest", day=Day(review_by))),
    )
