"""How a file stores its pixels: what an inspection tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Encoding:
    """`bits` a channel in the file; `lowest` and `highest` finite value where the image is scaled by its own range."""

    format: str
    mode: str
    bits: int
    lowest: float | None = None
    highest: float | None = None


def of_channels(several: Sequence[Encoding]) -> Encoding:
    """Of a picture of several series, such as `L+L+L`: that of the first scaled by its own range, else of the first."""
    chosen = next((one for one in several if one.lowest is not None), several[0])
    return replace(chosen, mode="+".join(one.mode for one in several))
