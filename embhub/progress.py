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


def announce(on_progress: OnProgress | None, stage: str) -> None:
    """Say what is done next, where nobody can say how far it is: it is over when the next stage begins."""
    if on_progress:
        on_progress(Progress(stage, 0, 1))


def say_loading(on_progress: OnProgress | None) -> None:
    """Say that PyTorch is loaded next, which takes seconds: the first line of a long command."""
    announce(on_progress, "loading PyTorch")
