"""Text as search compares it: whatever its case and accents, a word is found by its letters. Pure."""

from __future__ import annotations

import unicodedata

MOST_WORDS = 8
LONGEST_VALUE = 150


def plain(text: str) -> str:
    """Letters without case, accents or control characters, single spaces between words."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(c if c.isprintable() else " " for c in letters if not unicodedata.combining(c))
    return " ".join(kept.casefold().split())


def facet_value(text: str) -> str:
    """What a card calls a finding or an organ, in one spelling: lower case, single spaces."""
    return " ".join(text.split()).casefold()[:LONGEST_VALUE]


def words_of(text: str) -> tuple[str, ...]:
    """The words of a search box, each once, at most eight."""
    return tuple(dict.fromkeys(plain(text).split()))[:MOST_WORDS]
