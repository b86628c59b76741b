"""Points in time as they stand in signed documents: UTC, whole seconds, `2026-11-20T10:22:33Z` (RFC 3339)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def write(moment: datetime) -> str:
    """`moment`, which knows its zone, in UTC.

    Raises:
        ValueError: it has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(text: str) -> datetime:
    """The moment that `text` names.

    Raises:
        ValueError: not of this form, or no such moment.
    """
    if not _FORM.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a time like 2026-11-20T10:22:33Z")
    return datetime.fromisoformat(text)


def _check(text: str) -> str:
    read(text)
    return text


Instant = Annotated[str, AfterValidator(_check)]
