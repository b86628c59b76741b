"""The commonest organs and findings of RadLex, found by word. `radlex.tsv` holds them, and says whose they are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple, TypeVar

MOST = 8
"""Codes that are proposed for a word at most."""

T = TypeVar("T")


class Term(NamedTuple):
    """A concept of RadLex, and other words for it."""

    code: str
    name: str
    others: str


@cache
def terms(field: str) -> tuple[Term, ...]:
    """What may stand in a field of the card, `anatomy` or `finding`, by name; nothing for any other field."""
    lines = resources.files("embhub.cards").joinpath("radlex.tsv").read_text("utf-8").splitlines()
    parts = [line.split("\t") for line in lines if not line.startswith("#")]
    return tuple(Term(code, name, "".join(others)) for known, code, name, *others in parts if known == field)


def find(field: str, typed: str) -> Term | None:
    """The concept of which this is the name, or another word for it."""
    return _words(field).get(fold(typed))


def find_name(code: str) -> str:
    """The name of a code; empty where it is not among the commonest."""
    return next((term.name for field in ("anatomy", "finding") for term in terms(field) if term.code == code), "")


def propose(field: str, typed: str) -> tuple[Term, ...]:
    """Concepts that may be meant: their words contain what was typed, or are spelled like it, or are in it."""
    known, word = _words(field), fold(typed)
    near = sorted((one for one in known if word in one), key=len) if word else []
    near = near or difflib.get_close_matches(word, known, n=MOST, cutoff=0.75)
    found = [known[one] for one in near] or mentioned(typed, known)
    return tuple(dict.fromkeys(found))[:MOST]


def mentioned(text: str, known: Mapping[str, T]) -> list[T]:
    """What the words in a text stand for, in the order of the text; of words that overlap the longest counts."""
    longest = "|".join(re.escape(word) for word in sorted(known, key=len, reverse=True))
    found = re.findall(rf"(?<!\w)(?:{longest})(?!\w)", fold(text)) if known else []
    return list(dict.fromkeys(known[word] for word in found))


def mentioned_organs(text: str) -> list[Term]:
    """The organs that a text names."""
    return mentioned(text, _words("anatomy"))


def fold(text: str) -> str:
    """A text in which only words count: no upper case, and one blank between them."""
    return " ".join(text.casefold().split())


@cache
def _words(field: str) -> Mapping[str, Term]:
    return {fold(word): term for term in terms(field) for word in (term.name, *filter(None, term.others.split(", ")))}
