"""How a file stores its pixels: what an inspection tells of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Encoding:
    """`bits` a channel in the file; `lowest` and `highest` finite value where the image is scaled by its own range."""

    format: str
    mode: str
    bits: int
    lowest: float | None = None
    highest: float | None = None
