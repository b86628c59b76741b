"""Text as search compares it: whatever its case and accents, a word is found by its letters."""

from __future__ import annotations

import hashlib

from embhub.formats.search_words import facet_value as facet_value
from embhub.formats.search_words import plain as plain
from embhub.formats.search_words import words_of as words_of

_PRIVATE, _PRIVATE_LETTERS = 0xE000, 6400  # of Unicode's first plane; also in migrations/postgresql/024


def letter_pairs(text: str) -> str:
    """Every two neighbouring letters of a text's words, and words of one letter, each once, between spaces."""
    words = text.split(" ")
    found = {word[place : place + 2] for word in words for place in range(max(len(word) - 1, 1))}
    return " ".join(sorted(found - {""}))


def label_code(kind: str, value: str) -> str:
    """Three letters for private use, by which the index of words knows a label; another one may have the same three.

    `plain` leaves no such letter in a text, so a code is never found as a part of a word.
    """
    digest = hashlib.sha256(f"{kind}\x1f{value}".encode()).digest()
    return "".join(chr(_PRIVATE + int.from_bytes(digest[at : at + 2]) % _PRIVATE_LETTERS) for at in (0, 2, 4))
