"""Reading the audit log: export, head, verification."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from embhub.errors import UsageError
from embhub_registry.storage.folder import Registry


def export(registry: Registry, *, since: int = 1) -> Iterator[str]:
    """The sealed lines from number `since` on; those of the first release, which have none, where `since` is 1."""
    for line in registry.audit_log.lines():
        text = line.decode("utf-8", "replace")
        if since <= 1 or _number(text) >= since:
            yield text


def head(registry: Registry) -> dict[str, Any]:
    """Number and digest of the last line; `head` is both in one word, as `verify` takes it."""
    found = registry.audit_log.head()
    return {"head": f"{found.number}:{found.digest}", "number": found.number, "digest": found.digest}


def verify(registry: Registry, *, known: str | None = None) -> dict[str, Any]:
    """What is wrong with the chain, and whether a head that was written down is still in it.

    Raises:
        UsageError: `known` is not NUMBER:DIGEST.
    """
    problems = registry.audit_log.problems(known=None if known is None else _parse(known))
    unsealed = registry.audit_log.unsealed()
    return {
        "whole": not problems,
        "problems": problems,
        "number": registry.audit_log.head().number,
        "unsealed": unsealed,
    }


def _parse(text: str) -> tuple[int, str]:
    number, _, digest = text.partition(":")
    if not number.isdigit() or len(digest) != 64:
        raise UsageError(f"{text!r} is not the head of an audit log", "give what `audit head` printed")
    return int(number), digest


def _number(line: str) -> int:
    try:
        fields = json.loads(line)
    except ValueError:
        return 0
    number = fields.get("number") if isinstance(fields, dict) else None
    return number if isinstance(number, int) else 0
