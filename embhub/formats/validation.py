"""What a pydantic model found wrong, in one line."""

from __future__ import annotations

from pydantic import ValidationError


def explain(error: ValidationError) -> str:
    """The first five faults as `place: message`."""
    faults = []
    for item in error.errors(include_url=False)[:5]:
        place = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        faults.append(f"{place}: {message}" if place else message)
    return "; ".join(faults)
