"""Answers typed on one line, as the plain data of a card's field: what `card init` asks on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from embhub.cards import radlex
from embhub.cards.card_schema import BaseModelRef, Card
from embhub.cards.vocabulary import CODE_SYSTEMS, check_code
from embhub.privacy.claim import UnsupportedClaimError

_ANY_SYSTEM = "SNOMED CT 399068003 prostate cancer"


def _list(typed: str) -> list[str]:
    return [part.strip() for part in typed.split(",") if part.strip()]


def _codes(field: str, typed: str) -> list[dict[str, str]]:
    """`SYSTEM CODE words`, or a word that RadLex has; several with semicolons between them."""
    if typed.strip().lower() in ("none", "[]"):
        return []
    return [_code(field, part.strip()) for part in typed.split(";") if part.strip()]


def _code(field: str, part: str) -> dict[str, str]:
    named = next((name for name in CODE_SYSTEMS if part.lower().startswith(f"{name.lower()} ")), "")
    rest, system = part[len(named) :].strip(), named or "RadLex"
    code, _, display = rest.partition(" ")
    if system == "RadLex" and not re.fullmatch(CODE_SYSTEMS[system], code):
        code, display = _look_up(field, rest)
    check_code(system, code)
    if not display and system == "RadLex":
        display = radlex.find_name(code)
    if not display:
        raise ValueError(f"say in words what {code} of {system} means, after the code")
    return {"system": system, "code": code, "display": display.strip()}


def _look_up(field: str, word: str) -> tuple[str, str]:
    """Code and name of a concept by its word; raises ValueError with those that are near."""
    if (term := radlex.find(field, word)) is not None:
        return term.code, term.name
    near = "; ".join(f"{one.code} {one.name}" for one in radlex.propose(field, word))
    raise ValueError(
        f"no {field} is known here by the word {word[:60]!r}: "
        + (f"near are {near}; type one of them, or" if near else "type")
        + f" a code and its words, such as {_ANY_SYSTEM}"
    )


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
        "anatomy": (partial(_codes, "anatomy"), "prostate; RID1301 lung"),
        "finding": (partial(_codes, "finding"), f"pneumonia; {_ANY_SYSTEM}; none for healthy"),
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
