"""What this site saw of other sites' privacy ledgers, in `state/ledger-heads.json`: their heads, by ledger and number.

A ledger that was put back, or a second one, contradicts what is remembered here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from embhub.durable import locked
from embhub.site.memory.books import Book

MOST_NUMBERS = 1_000  # remembered of one ledger: the highest
Ledgers = Mapping[str, Mapping[int, str]]
"""Heads by number, by ledger id; the ledger that was seen first comes first."""
_Number = Annotated[str, Field(pattern=r"^[0-9]+$")]
BOOK: Book[dict[str, dict[str, dict[str, str]]]] = Book(
    "ledger-heads", dict[str, dict[str, dict[_Number, str]]], 32_000_000, "what this site remembers of privacy ledgers",
    "restore it from a backup; or remove it, knowing that a ledger that was put back would not be noticed",
)  # fmt: skip


def known(registry: str, namespace: str) -> Ledgers:
    """The ledgers that releases of a namespace showed. Raises ConfigError."""
    rows = BOOK.read().get(f"{registry} {namespace}", {})
    return {name: {int(number): head for number, head in heads.items()} for name, heads in rows.items()}


def remember(registry: str, namespace: str, ledger: str, heads: Mapping[int, str]) -> None:
    """Note heads by their numbers; what is remembered stays as it was seen first. Raises ConfigError."""
    with locked(BOOK.path):
        memory = BOOK.read()
        held = memory.setdefault(f"{registry} {namespace}", {}).setdefault(ledger, {})
        before = dict(held)
        for number, head in heads.items():
            held.setdefault(str(number), head)
        for old in sorted(held, key=int)[:-MOST_NUMBERS]:
            del held[old]
        if held != before or not before:
            BOOK.write(memory)
