"""Captions of single images, the column `caption` of a manifest: short, printable, and naming nobody."""

from __future__ import annotations

from embhub.cards.personal_data import looks_like_patient, personal_data
from embhub.errors import PrivacyError, UsageError

MOST = 300
"""Characters."""


def check_caption(text: str, row: int) -> str:
    """The caption in one line; empty where the row has none. Messages name the row and never repeat the text.

    Raises:
        UsageError: too long, or characters that no prompt has.
        PrivacyError: it looks like personal data.
    """
    caption = " ".join(text.split())
    if len(caption) > MOST or not caption.isprintable():
        raise UsageError(
            f"the caption of row {row} is longer than {MOST} characters or not printable",
            "describe side, view and device in a few words",
        )
    if personal_data(caption) or looks_like_patient(caption):
        raise PrivacyError(
            f"the caption of row {row} looks like personal data",
            "describe side, view and device, never a person; the text is not repeated here",
        )
    return caption
