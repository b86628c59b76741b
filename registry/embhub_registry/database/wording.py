"""Text as search compares it: whatever its case and accents, a word is found by its letters."""

from __future__ import annotations

from embhub.formats.search_words import facet_value as facet_value
from embhub.formats.search_words import plain as plain
from embhub.formats.search_words import words_of as words_of
