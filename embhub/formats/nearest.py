"""What was meant by a misspelled word: the names most like it, in the words of both programs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str]) -> str:
    """A question with at most three known names, " Did you mean 'train'?"; empty where none is like `name`."""
    near = " or ".join(repr(one) for one in difflib.get_close_matches(name, list(known)))
    return f" Did you mean {near}?" if near else ""
