"""Text as search compares it: whatever its case and accents, a word is found by its letters."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from embhub.formats.search_words import facet_value as facet_value
from embhub.formats.search_words import plain as plain
from embhub.formats.search_words import words_of as words_of


def phrase(words: Sequence[str]) -> str:
    """Words as FTS5 reads them: each a quoted string, all of them needed."""
    return " AND ".join('"' + word.replace('"', '""') + '"' for word in words)


def install(connection: sqlite3.Connection) -> None:
    """Make both known to SQL: migrations/003_search.sql calls them."""
    connection.create_function("plain_words", 1, plain, deterministic=True)
    connection.create_function("facet_value", 1, facet_value, deterministic=True)
