"""What a step of training draws, and how the learning rate rises and falls."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

HIGH = 0.7
"""Where high noise begins, as a share of the schedule."""


class Draw(NamedTuple):
    """Places (B,) of images among the latents, with the times (B,) and the noise (B, C, h, w) of their losses."""

    chosen: Tensor
    times: Tensor
    noise: Tensor


def draw_batch(
    latents: Tensor, size: int, levels: int, generator: torch.Generator, *, high: float, lowest: float = 0.0
) -> Draw:
    """One batch, in an order of draws that does not depend on the images; times are as `draw_times` has them."""
    chosen = torch.randint(len(latents), (size,), generator=generator)
    times = draw_times(size, levels, generator, high=high, lowest=lowest)
    return Draw(chosen, times, torch.randn((size, *latents.shape[1:]), generator=generator))


def draw_times(size: int, levels: int, generator: torch.Generator, *, high: float, lowest: float = 0.0) -> Tensor:
    """Times (size,): a share `high` from the noisiest 30 %, behind the others, which are even from above `lowest`.

    Where the share is no whole number of images a coin decides, so that on average it holds for any batch size.
    """
    share = high * size
    number = int(share)
    if rest := share - number:
        number += int(torch.rand((), generator=generator) < rest)
    even = torch.randint(int(lowest * levels), levels, (size - number,), generator=generator)
    return torch.cat([even, torch.randint(int(HIGH * levels), levels, (number,), generator=generator)])


def pace(step: int, steps: int, warm_up: int | None = None) -> float:
    """The learning rate as a share of its peak: `warm_up` steps up, then half a cosine to a twentieth.

    By default a twentieth of the steps leads up.
    """
    rising = min(1.0, (step + 1) / max(1, steps // 20 if warm_up is None else warm_up))
    return rising * max(0.05, 0.5 + 0.5 * math.cos(math.pi * step / steps))
