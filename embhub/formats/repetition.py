"""Lists for people in which the same thing stands once, with its number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def join_alike(texts: Iterable[str], *, by: str = ", ") -> str:
    """Texts in the order of their first occurrence; one that occurs n times as `n times …`."""
    return by.join(text if count == 1 else f"{count} times {text}" for text, count in Counter(texts).items())
