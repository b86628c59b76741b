"""What this site read in a log about registered audits, in `state/audit-designs.json`: a folder needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.refusals import Finding, Outcome
from embhub.site import config

MAX_BYTES = 4_000_000
MOST_FINDINGS = 100  # of each release
_MOST = 5_000


def remember(log: str, design: str, result: str, findings: Sequence[Finding]) -> None:
    """Note what the log of this key says of a design with its result, both by their identity. Raises ConfigError."""
    with locked(_path()):
        memory = _read()
        memory.pop(_name(log, design, result), None)
        first = sorted(findings, key=lambda one: one.outcome != "warning")[:MOST_FINDINGS]  # what speaks against it
        kept = [one for one in findings if one in first]
        memory[_name(log, design, result)] = [[one.check, one.outcome, one.text] for one in kept]
        write_atomic(_path(), _bounded(memory), mode=0o600)


def _bounded(memory: dict[str, list[list[str]]]) -> bytes:
    """The newest rows that fit: a registry decides how long its findings are, and the file is to stay readable."""
    rows, size = list[tuple[str, list[list[str]]]](), 2
    for name, findings in reversed(memory.items()):
        more = len(json.dumps({name: findings}, indent=1))
        if size + more <= MAX_BYTES and len(rows) < _MOST:
            rows.append((name, findings))
            size += more
    return json.dumps(dict(reversed(rows)), indent=1).encode()


def recall(log: str, design: str, result: str) -> list[Finding] | None:
    """The findings of the last reading, or None. Raises ConfigError."""
    rows = _read().get(_name(log, design, result))
    outcomes: dict[str, Outcome] = {outcome: outcome for outcome in get_args(Outcome)}
    return None if rows is None else [Finding(row[0], outcomes[row[1]], row[2]) for row in rows]


def _name(log: str, design: str, result: str) -> str:
    return f"{log} {design} {result}"


def _path() -> Path:
    return config.paths().state / "audit-designs.json"


def _read() -> dict[str, list[list[str]]]:
    try:
        data = _path().read_bytes()
        memory = json.loads(data) if len(data) <= MAX_BYTES else None
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable() from error
    rows = memory.values() if isinstance(memory, dict) else [None]
    if not all(isinstance(row, list) and all(_is_finding(one) for one in row) for row in rows):
        raise _unreadable()
    return dict(memory) if isinstance(memory, dict) else {}


def _is_finding(row: object) -> bool:
    if not isinstance(row, list) or len(row) != 3 or not all(isinstance(part, str) for part in row):
        return False
    return row[1] in get_args(Outcome)


def _unreadable() -> ConfigError:
    return ConfigError(f"what this site read of registered audits is damaged: {_path()}", "remove it, and pull again")
