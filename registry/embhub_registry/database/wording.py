"""Text as search compares it: whatever its case and accents, a word is found by its letters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from embhub.formats.search_words import facet_value as facet_value
from embhub.formats.search_words import plain as plain
from embhub.formats.search_words import words_of as words_of

BETWEEN, INSIDE = "\x1e", "\x1f"  # between labels in one text, and between a label's kind and its value
_ESCAPED = str.maketrans({"\x1d": "\x1d0", BETWEEN: "\x1d1", INSIDE: "\x1d2"})
_PRIVATE, _PRIVATE_LETTERS = 0xE000, 6400  # of Unicode's first plane


def letter_pairs(text: str) -> str:
    """Every two neighbouring letters of a text's words, and words of one letter, each once, between spaces."""
    words = text.split(" ")
    found = {word[place : place + 2] for word in words for place in range(max(len(word) - 1, 1))}
    return " ".join(sorted(found - {""}))


def label_key(kind: str, value: str) -> str:
    """A label as `wording.labels` has it; a value that holds one of the separators is still one label."""
    return f"{kind}{INSIDE}{value.translate(_ESCAPED)}"


def joined_labels(labels: Iterable[tuple[str, str]]) -> str:
    """Labels in one text, each between two separators."""
    return "".join(f"{BETWEEN}{key}" for key in sorted(label_key(*label) for label in labels)) + BETWEEN


def split_labels(joined: str) -> list[str]:
    """The keys of `joined_labels`."""
    return joined.split(BETWEEN)[1:-1]


def value_in(key: str) -> str:
    """The value of a label's key."""
    value = key.partition(INSIDE)[2]
    return value.replace("\x1d2", INSIDE).replace("\x1d1", BETWEEN).replace("\x1d0", "\x1d")


@lru_cache(maxsize=4096)
def label_code(key: str) -> str:
    """Three letters for private use, by which FTS5 knows a label; another one may have the same three.

    `plain` leaves no such letter in a text, so a code is never found as a part of a word.
    """
    digest = hashlib.sha256(key.encode()).digest()
    return "".join(chr(_PRIVATE + int.from_bytes(digest[at : at + 2]) % _PRIVATE_LETTERS) for at in (0, 2, 4))


def indexed_text(words: str, labels: str) -> str:
    """What FTS5 is told of a row."""
    return " ".join([words, *map(label_code, split_labels(labels))])
