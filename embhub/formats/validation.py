"""What a pydantic model found wrong, in one line."""

from __future__ import annotations

from pydantic import ValidationError

from embhub.formats.plain_text import plain


def explain(error: ValidationError) -> str:
    """The first five faults as `place: message`, fit for a terminal: a stranger chose the names of members."""
    faults = []
    for item in error.errors(include_url=False)[:5]:
        place = plain(".".join(str(part) for part in item["loc"]))
        message = plain(item["msg"].removeprefix("Value error, "))
        faults.append(f"{place}: {message}" if place else message)
    return "; ".join(faults)
