"""Facts of an embedding and its training, which `--json` gives as data, as a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from embhub.artifact.derivation import parse_derivation
from embhub.formats.repetition import join_alike
from embhub.privacy.claim import PrivacyClaim, parse_claim


def spell_out(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Every fact that is data as words; the others as they are."""
    return {name: SPELLED[name](value) if name in SPELLED else value for name, value in facts.items()}


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


def _held_out_loss(value: Any) -> str:
    return f"{value['without']:.4f} without the embedding, {value['with']:.4f} with it"


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
