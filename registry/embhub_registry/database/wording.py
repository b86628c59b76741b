"""Text as search compares it: whatever its case and accents, a word is found by its letters."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Sequence

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


def phrase(words: Sequence[str]) -> str:
    """Words as FTS5 reads them: each a quoted string, all of them needed."""
    return " AND ".join('"' + word.replace('"', '""') + '"' for word in words)


def install(connection: sqlite3.Connection) -> None:
    """Make both known to SQL: migrations/003_search.sql calls them."""
    connection.create_function("plain_words", 1, plain, deterministic=True)
    connection.create_function("facet_value", 1, facet_value, deterministic=True)
