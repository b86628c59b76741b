"""Text as search compares it: whatever its case and accents, a word is found by its letters."""

from __future__ import annotations

from embhub.formats.search_words import facet_value as facet_value
from embhub.formats.search_words import plain as plain
from embhub.formats.search_words import words_of as words_of


def letter_pairs(text: str) -> str:
    """Every two neighbouring letters of a text's words, and words of one letter, each once, between spaces."""
    words = text.split(" ")
    found = {word[place : place + 2] for word in words for place in range(max(len(word) - 1, 1))}
    return " ".join(sorted(found - {""}))
