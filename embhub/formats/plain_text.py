"""Text of strangers, made fit for a terminal."""

from __future__ import annotations


def plain(said: object, *, longest: int = 500) -> str:
    """What a registry says, fit for a terminal: no control characters, no end of line, at most `longest` characters."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(said)[:longest])
