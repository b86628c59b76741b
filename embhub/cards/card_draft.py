"""A card begun by the machine: everything computed filled in, everything else asked for, one line each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from embhub.artifact import base_identity
from embhub.artifact.embedding import Embedding
from embhub.cards import confirmation
from embhub.cards.card_schema import FIELDS, REQUIRED, SCHEMA, BaseModelRef
from embhub.formats import safe_yaml
from embhub.privacy.claim_or_none import is_claim, plain

if TYPE_CHECKING:
    from embhub.privacy.claim import Claim

NOT_AUDITED = {"verdict": "not-audited", "suite": "none", "power": "no audit was run"}


def draft(
    embedding: Embedding, *, defaults: Mapping[str, Any], facts: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Begin a card for an embedding.

    Args:
        embedding: what the file's header tells: token, vectors, base.
        defaults: card fields that the site answers once for all (`Settings.site`), or an earlier card's.
        facts: card fields that the caller computed (n_patients, audit, parts of base_model); win over defaults.

    Returns:
        The fields known so far, in the card's order, and `field: what to say` for each that a person must still answer.
    """
    base: dict[str, Any] = {"id": embedding.base_name}
    base["fingerprint"] = base_identity.digest(embedding.base) if embedding.base is not None else "unknown"
    computed: dict[str, Any] = {
        "schema": SCHEMA,
        "token": embedding.token,
        "vectors": [{"encoder": item.encoder, "count": item.count, "dim": item.dim} for item in embedding.vectors],
        "kind": "adapter" if embedding.kind == "adapter" else None,
        "target_modules": "attention" if embedding.target_modules == "attention" else None,
        "privacy": plain(embedding.privacy),
        "derived_from": embedding.derived_from.to_dict() if embedding.derived_from else None,
    }
    values = (
        {"name": embedding.token.strip("<>"), "version": "1.0.0", "audit": NOT_AUDITED} | dict(defaults) | dict(facts)
    )
    values |= computed | _declared(embedding.privacy, values)
    values["base_model"] = {**_mapping(defaults.get("base_model")), **_mapping(facts.get("base_model")), **base}
    known = {name: values[name] for name in FIELDS if values.get(name) is not None}
    return known, find_questions(known)


def find_questions(known: Mapping[str, Any]) -> list[str]:
    """`field: what to say` for each field of a draft that a person must still answer."""
    base = _mapping(known.get("base_model"))
    return [f"{name}: {FIELDS[name]}" for name in REQUIRED if known.get(name) is None] + [
        f"base_model.{name}: {field.description or name}"
        for name, field in BaseModelRef.model_fields.items()
        if base.get(name) is None
    ]


def _declared(claim: Claim, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a card with a privacy claim tells of the training set: public bounds in place of exact numbers.

    The exact count moves none of them, not even by which round number lies above it. Counts of an earlier card of a
    training without privacy go.
    """
    if not is_claim(claim):
        return {}
    from embhub.privacy.contradictions import is_declared

    if claim.unit == "image":
        asked = ("n_patients", "max_images_per_patient")
        kept = {name: values.get(name) if is_declared(values.get(name), lowest=1) else None for name in asked}
        return {"n_images": claim.n_public, **kept}
    told: dict[str, Any] = {"n_patients": claim.n_public, "max_images_per_patient": claim.max_images_per_unit}
    if not is_declared(values.get("n_images"), lowest=claim.n_public):
        most = claim.n_public * claim.max_images_per_unit
        rounds = (digit * 10**power for power in range(1, 16) for digit in (1, 2, 5))
        upper = next(number for number in rounds if number >= most and number > claim.n_public)
        told["n_images"] = f"{claim.n_public}-{upper}"
    return told


def write_draft(
    values: Mapping[str, Any], questions: list[str], to_confirm: Sequence[str] = (),
    proposed: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:  # fmt: skip
    """The draft as YAML: known fields first, then one empty `field:` under its question for a person to answer.

    What is `proposed` for a field is a comment, for a person to copy. Last comes the list of the site's answers that
    are `to_confirm` for this release.
    """
    lines = [safe_yaml.dump(dict(values)).decode("utf-8")]
    asked = dict(question.split(": ", 1) for question in questions)
    open_fields = asked | {name: FIELDS[name] for name in proposed if name not in asked}
    if open_fields:
        lines.append("# Still to be said by a person. Fields inside base_model go into the block above.\n")
    for name, meaning in open_fields.items():
        if name in proposed:
            meaning += f"\n# Caption and base say, for you to check: {json.dumps(proposed[name])}"
        lines.append(f"# {name}: {meaning}\n" if "." in name else f"# {meaning}\n{name}:\n")
    if to_confirm:
        lines.append(
            "# These answers are from `site:` of config.yaml. Check each for this release, then remove its name.\n"
        )
        lines.append(f"{confirmation.KEY}: [{', '.join(to_confirm)}]\n")
    return "".join(lines).encode("utf-8")


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
