"""What this site saw of other sites' privacy ledgers, in `state/ledger-heads.json`: their heads, by ledger and number.

A ledger that was put back, or a second one, contradicts what is remembered here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from embhub.durable import locked, write_atomic
from embhub.errors import ConfigError
from embhub.site import config

MAX_BYTES = 32_000_000
MOST_NUMBERS = 1_000  # remembered of one ledger: the highest
Ledgers = Mapping[str, Mapping[int, str]]
"""Heads by number, by ledger id; the ledger that was seen first comes first."""


def known(registry: str, namespace: str) -> Ledgers:
    """The ledgers that releases of a namespace showed. Raises ConfigError."""
    rows = _read().get(f"{registry} {namespace}", {})
    return {name: {int(number): head for number, head in heads.items()} for name, heads in rows.items()}


def remember(registry: str, namespace: str, ledger: str, heads: Mapping[int, str]) -> None:
    """Note heads by their numbers; what is remembered stays as it was seen first. Raises ConfigError."""
    with locked(_path()):
        memory = _read()
        held = memory.setdefault(f"{registry} {namespace}", {}).setdefault(ledger, {})
        before = dict(held)
        for number, head in heads.items():
            held.setdefault(str(number), head)
        for old in sorted(held, key=int)[:-MOST_NUMBERS]:
            del held[old]
        if held != before or not before:
            write_atomic(_path(), json.dumps(memory, indent=1).encode(), mode=0o600)


def _path() -> Path:
    return config.paths().state / "ledger-heads.json"


def _read() -> dict[str, dict[str, dict[str, str]]]:
    try:
        data = _path().read_bytes()
        memory = json.loads(data) if len(data) <= MAX_BYTES else None
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable() from error
    if not isinstance(memory, dict) or not all(map(_is_table, memory.values())):
        raise _unreadable()
    return memory


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(heads, dict) and all(number.isdecimal() and isinstance(head, str) for number, head in heads.items())
        for heads in value.values()
    )


def _unreadable() -> ConfigError:
    return ConfigError(
        f"what this site remembers of privacy ledgers cannot be read: {_path()}",
        "restore it from a backup; or remove it, knowing that a ledger that was put back would not be noticed",
    )
