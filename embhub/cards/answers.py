"""Answers typed on one line, as the plain data of a card's field: what `card init` asks on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from embhub.cards.card_schema import BaseModelRef, Card
from embhub.cards.vocabulary import CODE_SYSTEMS
from embhub.privacy.claim import UnsupportedClaimError


def _list(typed: str) -> list[str]:
    return [part.strip() for part in typed.split(",") if part.strip()]


def _codes(typed: str) -> list[dict[str, str]]:
    """`SYSTEM CODE words`, several with semicolons between them; RadLex where no system is named."""
    if typed.strip().lower() in ("none", "[]"):
        return []
    return [_code(part.strip()) for part in typed.split(";") if part.strip()]


def _code(part: str) -> dict[str, str]:
    system = next((name for name in CODE_SYSTEMS if part.lower().startswith(f"{name.lower()} ")), "RadLex")
    rest = part[len(system) :] if part.lower().startswith(f"{system.lower()} ") else part
    code, _, display = rest.strip().partition(" ")
    return {"system": system, "code": code, "display": display.strip()}


def _labels(typed: str) -> dict[str, str]:
    source, _, annotators = typed.partition(";")
    return {"source": source.strip(), "annotators": annotators.strip()}


def _deidentification(typed: str) -> dict[str, Any]:
    profile, _, review = typed.partition(";")
    return {"profile": _list(profile), "pixel_review": review.strip()}


def _count(typed: str) -> int | str:
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 10 else typed


_FORMS: Mapping[str, tuple[Callable[[str], Any], str]] = MappingProxyType(
    {
        "authors": (_list, "Department of Radiology, Example Hospital"),
        "modality": (_list, "MR"),
        "anatomy": (_codes, "RadLex RID343 prostate"),
        "finding": (_codes, "RadLex RID5231 mass; none for healthy"),
        "labels": (_labels, "radiology reports; two radiologists"),
        "deidentification": (_deidentification, "113100, 113101; manual"),
        "n_patients": (_count, "50-100"),
        "n_images": (_count, "100"),
        "max_images_per_patient": (_count, "8"),
    }
)


BY_PEOPLE = (
    "description", "authors", "publisher", "contact_role", "licence", "licence_link", "modality", "sequence", "view",
    "anatomy", "finding", "labels", "preprocessing", "deidentification", "legal_basis", "consent_or_waiver",
    "ethics_ref", "intended_use", "out_of_scope", "limitations", "synthetic_data",
)  # fmt: skip
"""Fields that only a person answers, in the order of the card."""


def example(field: str) -> str:
    """How an answer may look, for a field that is not plain text; else empty."""
    return _FORMS[field][1] if field in _FORMS else ""


def read(field: str, typed: str) -> Any:
    """The value of a field from what was typed for it.

    Args:
        field: a field of the card, or `base_model.` and a field of that block.
        typed: one line.

    Raises:
        ValueError: not an answer to this field, with the reason.
    """
    value = _FORMS[field][0](typed) if field in _FORMS else typed.strip()
    inner = field.removeprefix("base_model.")
    model = BaseModelRef if inner != field else Card
    about = next(item for name, item in model.model_fields.items() if inner in (name, item.alias))
    try:
        TypeAdapter(about.rebuild_annotation()).validate_json(json.dumps(value))
    except (ValidationError, UnsupportedClaimError) as error:
        raise ValueError(_reason(error)) from error
    return value


def write(field: str, value: Any) -> str | None:
    """The words from which `read` makes this value of a field; None where no line of words does."""
    try:
        typed: str = _WORDS.get(field, str)(value)
        return typed if read(field, typed) == value else None
    except (ValueError, LookupError, TypeError, AttributeError):  # a card that somebody wrote by hand
        return None


def _write_codes(codes: Any) -> str:
    return "; ".join(f"{code.get('system', 'RadLex')} {code['code']} {code['display']}" for code in codes) or "none"


_WORDS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "authors": ", ".join,
        "modality": ", ".join,
        "anatomy": _write_codes,
        "finding": _write_codes,
        "labels": lambda value: f"{value['source']}; {value['annotators']}",
        "deidentification": lambda value: f"{', '.join(value['profile'])}; {value['pixel_review']}",
    }
)


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(
        str(part) for part in first["loc"] if isinstance(part, str) and "-" not in part and "[" not in part
    )
    reason = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason
