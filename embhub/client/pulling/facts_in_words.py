"""Facts of an embedding and its training, which `--json` gives as data, as a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from embhub.artifact.derivation import parse_derivation
from embhub.formats.plain_text import join_alike
from embhub.privacy.claim import PrivacyClaim, parse_claim


def spell_out(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Every fact that is data as words; the others as they are."""
    told = {name: SPELLED[name](value) if name in SPELLED else value for name, value in facts.items()}
    if facts.get("kind") != "adapter":
        return told
    told |= {name: ADAPTERS[name](facts[name]) for name in ADAPTERS if name in facts}
    return {("rank" if name == "vectors" else name): value for name, value in told.items()}


def _privacy(value: Any) -> str:
    claim = parse_claim(value)
    if isinstance(claim, PrivacyClaim):
        return "\n  ".join(claim.words())
    return "none: trained without differential privacy"


def _derivation(value: Any) -> str:
    return parse_derivation(value).sentence.removeprefix("ported from ")


def _vectors(value: Any) -> str:
    return join_alike(f"{one['count']} x {one['dim']} {one['dtype']} for {one['encoder']}" for one in value)


def _people(value: Any) -> str:
    return f"{value['images']} images of {value['patients']} patients" if value["images"] else "none"


def _held_out_loss(value: Any, kind: str = "embedding") -> str:
    return f"{value['without']:.4f} without the {kind}, {value['with']:.4f} with it"


def _rank(value: Any) -> str:
    return join_alike(f"{one['count']}, for text of width {one['dim']}, {one['dtype']}" for one in value)


SPELLED: dict[str, Callable[[Any], str]] = {
    "privacy": _privacy,
    "vectors": _vectors,
    "bytes": lambda value: f"{value:,}",
    "trained on": _people,
    "held out": _people,
    "held-out loss": _held_out_loss,
    "rounding": lambda value: f"numbers changed by at most {value:.2g}" if value else "none",
    "second opinion": lambda value: value["sentence"],
    "ported from": _derivation,
}

ADAPTERS: dict[str, Callable[[Any], str]] = {
    "vectors": _rank,
    "held-out loss": lambda value: _held_out_loss(value, "adapter"),
}
"""What is said otherwise of a compact adapter."""
