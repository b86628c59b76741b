"""Which patients a training keeps back: controls for the audit, and the honest place to look at the loss."""

from __future__ import annotations

import numpy as np

from embhub.errors import UsageError
from embhub.images.images import ImageSet


def split(images: ImageSet, holdout: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Members and images kept back: whole patients, drawn by `seed`, the same however the source is ordered.

    Raises:
        UsageError: a share outside 0 to 0.9, too few patients for it, or fewer than two images to learn from.
    """
    if not 0 <= holdout <= 0.9:
        raise UsageError(f"a holdout of {holdout}", "hold out a share of the patients between 0 and 0.9")
    given = {i for i, sample in enumerate(images.samples) if sample.split == "holdout"}
    units = sorted({images.unit(i) for i in range(len(images)) if i not in given})
    number = max(1, round(holdout * len(units))) if holdout else 0
    if number and number >= len(units):
        raise UsageError(
            f"{len(units)} patients are too few to keep {holdout:.0%} back", "add patients, or keep back none"
        )
    drawn = {units[i] for i in np.random.default_rng(seed).permutation(len(units))[:number]}
    back = [i for i in range(len(images)) if i in given or images.unit(i) in drawn]
    front = [i for i in range(len(images)) if i not in set(back)]
    members = images.subset(front)
    members.check_number()
    return members, images.subset(back)
