"""Searching a list that nobody searched before it was sent: that of a registry which is files alone.

Each of its rows says under `static` what a search compares. Rows of a registry that runs say no such thing, and stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from embhub.formats.search_words import facet_value, words_of

MARK = "static"


def choose(rows: Any, query: str, facets: Mapping[str, Sequence[str]]) -> list[Any]:
    """The rows with all words of `query` and all values of `facets`.

    Raises:
        TypeError, AttributeError: the rows have another form.
    """
    if not isinstance(rows, list):
        raise TypeError("no list")
    words = words_of(query)
    wanted = {(kind, facet_value(value)) for kind, values in facets.items() for value in values}
    return [row for row in rows if MARK not in row or _fits(row[MARK], words, wanted)]


def mark(words: str, facets: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What a row says under `MARK`."""
    return {"words": words, "facets": [list(facet) for facet in facets]}


def _fits(said: Mapping[str, Any], words: Sequence[str], wanted: set[tuple[str, str]]) -> bool:
    text, held = str(said["words"]), {(str(kind), facet_value(str(value))) for kind, value in said["facets"]}
    return all(word in text for word in words) and wanted <= held
