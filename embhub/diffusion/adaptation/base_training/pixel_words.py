"""Words of captions that are read off the pixels, never off a label.

Levels are thirds of all images of a set. Groups are clusters of coarse structure: the denoiser learns to read rows
that stand for how an image looks as a whole, so that an embedding has more than tone to choose from. A group has at
least some ten patients, so that no word names an image.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional as F

LEVELS = (
    ("dark", "medium", "bright"),
    ("low contrast", "medium contrast", "high contrast"),
    ("smooth", "mottled", "coarse"),
)
CHEST_LEVELS = (
    *LEVELS,
    ("small lungs", "average lungs", "large lungs"),
    ("small heart", "average heart", "large heart"),
)
GROUPS = (
    ("alfa", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima"),
    (
        "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor", "whiskey",
        "yankee",
    ),
)  # fmt: skip
_COARSE = ((0, 6), (6, 24))
"""Which principal components of the images at 32 x 32 each row of groups is made of."""


def levels(grey: Tensor, chest: bool) -> Tensor:
    """Which third of the images each one is in, int64 (N, 3), or (N, 5) of chest films: one column for each row of
    words. `grey` is (N, 128, 128) in [-1, 1], as the images were taken."""
    mean, deviation = grey.mean((1, 2)), grey.std((1, 2))
    fine = grey - F.avg_pool2d(grey[:, None], 13, 1, 6)[:, 0]
    if not chest:
        return _thirds(torch.stack([mean, deviation, fine.std((1, 2)) / deviation], 1))
    sides = (slice(28, 92), slice(18, 54)), (slice(28, 92), slice(76, 112))
    dark = (grey < mean[:, None, None]).float()
    grain = torch.stack([fine[:, rows, columns].std((1, 2)) for rows, columns in sides]).mean(0) / deviation
    lungs = torch.stack([dark[:, rows, columns].mean((1, 2)) for rows, columns in sides]).mean(0)
    band = F.avg_pool1d(grey[:, 64:88].mean(1)[:, None], 5, 1, 2)[:, 0]
    heart = (band[:, 24:104] > band.mean(1, keepdim=True)).float().mean(1)
    return _thirds(torch.stack([mean, deviation, grain, lungs, heart], 1))


def _thirds(features: Tensor) -> Tensor:
    thirds = torch.quantile(features, torch.tensor([1 / 3, 2 / 3]), dim=0)
    return (features > thirds[0]).long() + (features > thirds[1]).long()


def groups(grey: Tensor, seed: int = 0) -> NDArray[np.int64]:
    """Which group of each row of `GROUPS` an image is in, int64 (N, 2): k-means over principal components.

    `grey` is (N, 128, 128) in [-1, 1]; tone and contrast of an image do not count.
    """
    small = F.avg_pool2d(grey[:, None], 4).flatten(1)
    small = (small - small.mean(1, keepdim=True)) / small.std(1, keepdim=True)
    centred = (small - small.mean(0)).numpy()
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    scores = centred @ directions[: _COARSE[-1][1]].T
    found = [
        kmeans2(scores[:, first:last], len(names), minit="++", rng=np.random.default_rng(seed))[1]
        for (first, last), names in zip(_COARSE, GROUPS, strict=True)
    ]
    return np.stack(found, 1).astype(np.int64)
