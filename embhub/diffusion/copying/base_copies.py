"""The copy check of a base: generated images against images that it was trained on, as figures for its card."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from torch import Tensor

from embhub.diffusion.copying.checking import ALPHA
from embhub.diffusion.copying.comparing import compare
from embhub.diffusion.families.pipeline import Pipeline


def compared(
    pipe: Pipeline, taught: Tensor, owners: Sequence[Hashable], strangers: Tensor, drawn: Tensor
) -> dict[str, Any]:
    """Counts alone: how many of `drawn` are suspected, the threshold, the smallest p-value, planted copies caught.

    Images are (N, 3, H, W) in [-1, 1]; `owners` names the patient of each of `taught`, `strangers` are of patients that
    the base did not see.

    Raises:
        ValueError: too few patients on a side, as `embhub.copies.tail` says.
    """
    found = compare(pipe, taught, owners, strangers, drawn, alpha=ALPHA)
    return {
        "n": len(drawn),
        "suspected": int(found.suspected.sum()),
        "threshold": float(f"{found.threshold:.2g}"),
        "smallest_p": {name: float(f"{p.min():.2g}") for name, p in found.p.items()},
        "planted": {item.kind: [item.caught, item.tried] for item in found.planted},
    }
