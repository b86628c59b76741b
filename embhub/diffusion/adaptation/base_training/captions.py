"""A caption with its words apart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caption:
    """`head`, then `phrases` with `joint` between them; empty all through for an image without a caption.

    Only phrases are ever scrambled or merged: they say what is seen, the head says what kind of picture it is.
    """

    head: str = ""
    phrases: tuple[str, ...] = ()
    joint: str = ""

    @property
    def text(self) -> str:
        """The caption as one string."""
        return f"{self.head} {f' {self.joint} '.join(self.phrases)}".strip()
