"""Drawn images beside those that were learned from: p-values, alarms, and how many planted copies were caught.

What is a site's embedding or a public base does not matter here: `checking` and the gate of the bases both ask.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.copies import tail
from embhub.copies.report import Planted
from embhub.diffusion.copying.matching import Gallery
from embhub.diffusion.copying.planting import choose, plant
from embhub.diffusion.families.pipeline import Pipeline
from embhub.progress import OnProgress, Progress

Table = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Found:
    """What was measured of N drawn images, on each measure.

    `distances`, `ratios`, `p` (N,) and `nearest` (N,), the row of the nearest training image; `controls`, the sorted
    scores of patients kept back; `threshold`, the p-value of one image on one measure below which it is suspected.
    """

    distances: Table
    ratios: Table
    p: Table
    nearest: dict[str, NDArray[np.int64]]
    controls: Table
    threshold: float
    planted: tuple[Planted, ...]

    @property
    def suspected(self) -> NDArray[np.bool_]:
        """Which of the drawn images came too near on any measure, (N,)."""
        found: NDArray[np.bool_] = _smallest(self.p) <= self.threshold
        return found


def compare(
    pipe: Pipeline,
    trained: Tensor,
    owners: Sequence[Hashable],
    kept: Tensor,
    drawn: Tensor,
    *,
    alpha: float,
    samples: int | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Found:
    """Compare drawn images with those trained on; all images are (N, 3, H, W) in [-1, 1].

    `owners` names the patient of each image trained on, `kept` holds one image of each patient kept back, `pipe` is the
    base whose autoencoder makes one kind of planted copy. `samples` is the number of images that `alpha` is for, where
    it is not that of `drawn`.

    Raises:
        ValueError: too few patients on a side, as `embhub.copies.tail` says.
    """
    copied = plant(pipe, trained[choose(owners)], kept, seed=seed)
    asked = {"drawn": drawn, "kept": kept, **copied}

    def hear(done: int, of: int) -> None:
        if on_progress:
            on_progress(Progress("comparing with training images", done, of, ""))

    tables = Gallery(trained, seed=seed).measure(torch.cat(list(asked.values())), hear)
    ends = np.cumsum([len(part) for part in asked.values()])[:-1]
    split = {name: dict(zip(asked, np.split(table, ends), strict=True)) for name, table in tables.items()}
    controls = {name: np.sort(tail.score(parts["kept"], owners)) for name, parts in split.items()}

    def judge(kind: str) -> tuple[Table, Table]:
        scores = {name: tail.score(parts[kind], owners) for name, parts in split.items()}
        return scores, {name: tail.p_values(scores[name], controls[name]) for name in scores}

    threshold = tail.threshold(alpha, samples=samples or len(drawn), measures=len(split))
    scores, p = judge("drawn")
    planted = tuple(
        Planted(kind=kind, tried=len(images), caught=int((_smallest(judge(kind)[1]) <= threshold).sum()))
        for kind, images in copied.items()
    )
    return Found(
        distances={name: parts["drawn"].min(1) for name, parts in split.items()},
        ratios={name: np.exp(values) for name, values in scores.items()},
        p=p,
        nearest={name: parts["drawn"].argmin(1) for name, parts in split.items()},
        controls=controls,
        threshold=threshold,
        planted=planted,
    )


def one_each(owners: Sequence[Hashable]) -> list[int]:
    """The first image of each patient: several of one person are not several controls."""
    return [row for row, owner in enumerate(owners) if owner not in owners[:row]]


def _smallest(p: Table) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.min(list(p.values()), axis=0)
    return found
