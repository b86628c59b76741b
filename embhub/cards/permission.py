"""May images drawn with an embedding be put together as a data set? Read off its card by rules that are written down.

The card's own answer (`synthetic_data`) comes first, then its licence, then what `out_of_scope` mentions. Where words
of a card's author would have to be understood, the answer is that a person must read them: nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from embhub.cards.card_schema import Card

Standing = Literal["allowed", "ask", "forbidden"]
_RANK: dict[Standing, int] = {"forbidden": 0, "ask": 1, "allowed": 2}

NO_DERIVATIVES = re.compile(r"(?:^|-)ND(?:-|$)", re.IGNORECASE)
"""Images are drawn with the numbers of the embedding: a licence without derivatives gives no right to hand them on."""
NON_COMMERCIAL = re.compile(r"(?:^|-)(?:NC|NonCommercial)(?:-|$)", re.IGNORECASE)
KNOWN_OWN = frozenset({"licenseref-creativeml-openrail-m"})
"""Of the licences that SPDX does not list: those whose text is known to leave what is drawn to who draws it."""
MENTIONS = ("synthe", "generat", "augment", "data set", "dataset", "training data", "training set")
"""Words in `out_of_scope` that may speak of data sets of drawn images."""
_TOKENS = re.compile(r"\(|\)|[^\s()]+")


@dataclass(frozen=True)
class Permission:
    """Whether a data set may be made, why, and what binds those who get it."""

    standing: Standing
    reason: str
    conditions: tuple[str, ...] = ()


def judge(card: Card) -> Permission:
    """What a card allows.

    `forbidden`: its `synthetic_data` says so, or its licence has no branch without NoDerivatives. `ask`: the licence is
    one's own (`LicenseRef-…`), or `out_of_scope` mentions drawn images or data sets: a person must read it. `allowed`:
    everything else, also where `synthetic_data` says so against the words of `out_of_scope`.
    """
    conditions = _conditions(card)
    if card.synthetic_data == "forbidden":
        return Permission("forbidden", "its card says synthetic_data: forbidden", conditions)
    by_licence = judge_licence(card.licence)
    if by_licence == "forbidden":
        return Permission("forbidden", f"its licence, {card.licence}, allows no derivatives", conditions)
    if by_licence == "ask":
        return Permission("ask", f"its licence, {card.licence}, is not one that embhub knows", conditions)
    if card.synthetic_data is None and (word := mentioned(card.out_of_scope)):
        return Permission("ask", f"its card's out_of_scope mentions “{word}…”", conditions)
    return Permission("allowed", "its licence and card allow it", conditions)


def judge_licence(expression: str) -> Standing:
    """The best branch of an SPDX expression: of `A OR B` the freer, of `A AND B` the stricter."""
    tokens = _TOKENS.findall(expression)
    standing, rest = _either(tokens)
    return standing if not rest else "ask"


def mentioned(text: str) -> str | None:
    """The first of `MENTIONS` in a text, or None."""
    plain = " ".join(text.lower().split())
    return next((word for word in MENTIONS if word in plain), None)


def _conditions(card: Card) -> tuple[str, ...]:
    found = []
    if card.synthetic_data == "research-only":
        found.append("for research only, as the card of the embedding says")
    if NON_COMMERCIAL.search(card.licence):
        found.append(f"not for commercial use, as the licence {card.licence} says")
    if re.search(r"(?:^|-)SA(?:-|$)", card.licence):
        found.append(f"to be passed on under the same licence, as {card.licence} says")
    return tuple(found)


def _either(tokens: list[str]) -> tuple[Standing, list[str]]:
    standing, tokens = _both(tokens)
    while tokens and tokens[0] == "OR":
        other, tokens = _both(tokens[1:])
        standing = max(standing, other, key=_RANK.__getitem__)
    return standing, tokens


def _both(tokens: list[str]) -> tuple[Standing, list[str]]:
    standing, tokens = _one(tokens)
    while tokens and tokens[0] == "AND":
        other, tokens = _one(tokens[1:])
        standing = min(standing, other, key=_RANK.__getitem__)
    return standing, tokens


def _one(tokens: list[str]) -> tuple[Standing, list[str]]:
    if not tokens:
        return "ask", []
    if tokens[0] == "(":
        standing, rest = _either(tokens[1:])
        return standing, rest[1:] if rest[:1] == [")"] else ["("]
    return _judge_name(tokens[0]), tokens[3:] if tokens[1:2] == ["WITH"] else tokens[1:]


def _judge_name(name: str) -> Standing:
    if name in ("AND", "OR", "WITH", ")"):
        return "ask"  # no expression: the card's own check refuses it
    if name.lower().startswith("licenseref-"):
        return "allowed" if name.lower() in KNOWN_OWN else "ask"
    return "forbidden" if NO_DERIVATIVES.search(name) else "allowed"
