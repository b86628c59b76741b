"""One shape for the progress of long calls: the library reports, the command line draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units (steps, images, shadows) of a `stage`; `note` is one short figure to show."""

    stage: str
    done: int
    total: int
    note: str = ""


OnProgress = Callable[[Progress], None]
