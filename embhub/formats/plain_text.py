"""Text for people: what strangers say, made fit for a terminal, and lists in which the same thing stands once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def plain(said: object, *, longest: int = 500) -> str:
    """What a registry says, fit for a terminal: no control characters, no end of line, at most `longest` characters."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(said)[:longest])


def printable(said: str) -> str:
    """As `plain`, of any length, and with its ends of lines."""
    return "\n".join(plain(line, longest=len(line)) for line in said.split("\n"))


def join_alike(texts: Iterable[str], *, by: str = ", ") -> str:
    """Texts in the order of their first occurrence; one that occurs n times as `n times …`."""
    return by.join(text if count == 1 else f"{count} times {text}" for text, count in Counter(texts).items())
