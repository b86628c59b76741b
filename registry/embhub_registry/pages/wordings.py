"""Codes in words for pages: verdicts, facets, roles of keys, and a card's one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from embhub.cards.card_schema import Card
from embhub.cards.vocabulary import MODALITIES


class Badge(NamedTuple):
    """How a verdict is marked: a style, a sign that needs no colour, words, and what they mean for a patient."""

    style: str
    sign: str
    words: str
    short: str
    meaning: str


AUDITS: Mapping[str, Badge] = {
    "leak-detected": Badge("bad", "✗", "Audit: leak detected", "leak detected", "training membership can be inferred"),
    "no-leak-detected": Badge(
        "good", "✓", "Audit: no leak detected", "no leak detected", "none that this audit could detect"
    ),
    "insufficient-evidence": Badge(
        "weak", "?", "Audit: insufficient evidence", "insufficient evidence", "too weak for a conclusion"
    ),
    "bounded-by-claim": Badge(
        "neutral", "=", "Audit: bounded by the claim", "bounded by the claim", "a test of the code, within the claim"
    ),
    "not-audited": Badge("weak", "–", "Not audited", "not audited", "leakage was not measured"),
}
FACETS: Mapping[str, str] = {
    "modality": "Modality",
    "anatomy": "Anatomy",
    "finding": "Finding",
    "base": "Base model",
    "privacy": "Privacy",
    "epsilon": "Claimed epsilon",
    "audit": "Audit verdict",
    "confirmation": "Audit attested by",
    "licence": "Licence",
    "namespace": "Publisher",
}
CONFIRMATIONS: Mapping[str, str] = {
    "countersigned": "an independent auditor",
    "self-declared": "the publisher only",
}
PRIVACY: Mapping[str, str] = {"none": "no guarantee", "claimed": "differential privacy"}
EPSILONS: Mapping[str, str] = {
    "none": "no claim",
    "to-1": "up to 1",
    "to-3": "above 1, up to 3",
    "to-10": "above 3, up to 10",
    "above": "above 10",
    "unbounded": "no bound with the site’s other trainings",
}
NO_PRIVACY = (
    "Trained without differential privacy: no mathematical bound limits what the embedding reveals about a patient."
)
MAY: Mapping[str, str] = {
    "publish": "publish embeddings under {namespace}/",
    "audit": "countersign audits of any embedding here",
    "approve": "approve releases under {namespace}/ before they are published",
    "evaluate": "publish what {namespace} found when it evaluated releases that it pulled",
}
"""What a role permits a key. `withdraw` is reserved and permits nothing."""


def audit_badge(verdict: str, confirmation: str, auditors: Sequence[str]) -> Badge:
    """A verdict with whose word it is. What a publisher says of its own audit is no green tick."""
    badge = AUDITS[verdict]
    if confirmation == "none":
        return badge
    by = f"countersigned by {', '.join(auditors)}" if confirmation == "countersigned" else "self-declared"
    told = badge._replace(words=f"{badge.words}, {by}", short=f"{badge.short}, {by}")
    if confirmation == "self-declared" and badge.style == "good":
        return told._replace(style="weak", sign="–", meaning="according to the publisher only")
    return told


def facet_label(facet: str, value: str) -> str:
    """A facet's value in words."""
    if facet == "modality" and value in MODALITIES:
        return f"{MODALITIES[value]} ({value})"
    if facet == "audit" and value in AUDITS:
        return AUDITS[value].short
    if facet == "confirmation":
        return CONFIRMATIONS.get(value, value)
    if facet == "epsilon":
        return EPSILONS.get(value, value)
    return PRIVACY.get(value, value) if facet == "privacy" else value


def describe(card: Card) -> str:
    """What an embedding is, in one sentence; what only its card states comes after "by the card:"."""
    modalities = " and ".join(MODALITIES[code] for code in card.modality)
    organs = " and ".join(code.display for code in card.anatomy)
    findings = " and ".join(code.display for code in card.finding)
    numbers = sum(vector.count * vector.dim for vector in card.vectors)
    shows = f"with {findings}" if findings else "without a finding"
    if card.kind == "adapter":
        return (
            f"A compact adapter (LoRA) of rank {card.vectors[0].count} for the base model {card.base_model.id}, which"
            f" then generates, by the card: {modalities} images of the {organs} {shows}."
        )
    return (
        f"{numbers:,} numbers that define the placeholder token {card.token} for the base model {card.base_model.id},"
        f" which then generates, by the card: {modalities} images of the {organs} {shows}."
    )
