"""What this site read in a log about registered audits, in `state/audit-designs.json`: a folder needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence

from embhub.durable import locked
from embhub.refusals import Finding, Outcome
from embhub.site.memory.books import Book

MAX_BYTES = 4_000_000
MOST_FINDINGS = 100  # of each release
_MOST = 5_000
_Memory = dict[str, list[tuple[str, Outcome, str]]]
BOOK: Book[_Memory] = Book(
    "audit-designs", _Memory, MAX_BYTES, "what this site read of registered audits", "remove it, and pull again"
)


def remember(log: str, design: str, result: str, findings: Sequence[Finding]) -> None:
    """Note what the log of this key says of a design with its result, both by their identity. Raises ConfigError."""
    with locked(BOOK.path):
        memory = BOOK.read()
        memory.pop(_name(log, design, result), None)
        first = sorted(findings, key=lambda one: one.outcome != "warning")[:MOST_FINDINGS]  # what speaks against it
        kept = [one for one in findings if one in first]
        memory[_name(log, design, result)] = [(one.check, one.outcome, one.text) for one in kept]
        BOOK.write(_bounded(memory))


def _bounded(memory: _Memory) -> _Memory:
    """The newest rows that fit: a registry decides how long its findings are, and the file is to stay readable."""
    rows, size = _Memory(), 2
    for name, findings in reversed(memory.items()):
        more = len(json.dumps({name: findings}, indent=1))
        if size + more <= MAX_BYTES and len(rows) < _MOST:
            rows[name] = findings
            size += more
    return dict(reversed(rows.items()))


def recall(log: str, design: str, result: str) -> list[Finding] | None:
    """The findings of the last reading, or None. Raises ConfigError."""
    rows = BOOK.read().get(_name(log, design, result))
    return None if rows is None else [Finding(*row) for row in rows]


def _name(log: str, design: str, result: str) -> str:
    return f"{log} {design} {result}"
