"""How the learning rate rises and falls where weights are trained."""

from __future__ import annotations

import math


def pace(step: int, steps: int) -> float:
    """The learning rate as a share of its peak: a twentieth of the steps up, then half a cosine to a twentieth."""
    rising = min(1.0, (step + 1) / max(1, steps // 20))
    return rising * max(0.05, 0.5 + 0.5 * math.cos(math.pi * step / steps))
