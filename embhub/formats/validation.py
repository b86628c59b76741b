"""Fields that several pydantic models have, and what a model found wrong, in one line."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ValidationError

from embhub.formats import names
from embhub.formats.plain_text import plain


def _without_fault(text: str, fault: str | None) -> str:
    if fault:
        raise ValueError(fault)
    return text


def _one_line(text: str) -> str:
    return _without_fault(text, None if text.isprintable() and text.strip() else "not one line of printable text")


Namespace = Annotated[str, AfterValidator(lambda text: _without_fault(text, names.namespace_fault(text)))]
Repository = Annotated[str, AfterValidator(lambda text: _without_fault(text, names.repository_fault(text)))]
Version = Annotated[str, AfterValidator(lambda text: _without_fault(text, names.version_fault(text)))]
OneLine = Annotated[str, AfterValidator(_one_line)]


def explain(error: ValidationError) -> str:
    """The first five faults as `place: message`, fit for a terminal: a stranger chose the names of members."""
    faults = []
    for item in error.errors(include_url=False)[:5]:
        place = plain(".".join(str(part) for part in item["loc"]))
        message = plain(item["msg"].removeprefix("Value error, "))
        faults.append(f"{place}: {message}" if place else message)
    return "; ".join(faults)
