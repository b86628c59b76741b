"""A check of the split, not an attack: can members be told from others by their pixels alone, without the embedding?

If so, the two sides differ by date, scanner or the like, and every attack's figure may show that instead of a leak.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_SIDE = 8
_FOLDS = 5
_RIDGE = 10.0


def score_blindly(
    images: Tensor, inside: NDArray[np.bool_], units: Sequence[Hashable], *, seed: int
) -> NDArray[np.float64]:
    """Out-of-fold scores (N,) of a ridge regression of membership on an 8 x 8 picture, its mean and its contrast.

    `images` (N, 3, H, W). All images of a unit are in one fold, so that no image is scored by a regression that saw
    its patient; folds hold as equal shares of both sides as they can.
    """
    small = F.adaptive_avg_pool2d(images.mean(1, keepdim=True), _SIDE).flatten(1)
    features = np.column_stack([small.numpy(), images.mean((1, 2, 3)).numpy(), images.std((1, 2, 3)).numpy()])
    features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    fold = _assign_folds(inside, units, seed)
    scores = np.zeros(len(features))
    for number in range(_FOLDS):
        held = fold == number
        kept = ~held
        if not held.any() or inside[kept].all() or not inside[kept].any():
            continue
        # Both sides weigh the same, so that a fold's share of members does not show in its scores.
        weight = np.where(inside[kept], 0.5 / inside[kept].mean(), 0.5 / (~inside[kept]).mean())[:, None]
        design, target = features[kept], np.where(inside[kept], 1.0, -1.0)
        gram = design.T @ (weight * design) + _RIDGE * np.eye(design.shape[1])
        scores[held] = features[held] @ np.linalg.solve(gram, design.T @ (weight[:, 0] * target))
    return scores


def _assign_folds(inside: NDArray[np.bool_], units: Sequence[Hashable], seed: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    side = {unit: bool(member) for unit, member in zip(units, inside, strict=True)}
    fold: dict[Hashable, int] = {}
    for member in (True, False):
        of_side = [unit for unit in side if side[unit] is member]
        for place, index in enumerate(generator.permutation(len(of_side))):
            fold[of_side[int(index)]] = place % _FOLDS
    return np.array([fold[unit] for unit in units])
