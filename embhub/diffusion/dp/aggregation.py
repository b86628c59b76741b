"""DPAgg-TI (Peetathawatchai, Chen, Isik, Koyejo and No, arXiv 2411.14639), with the patient as the unit.

Every patient's images get an embedding of their own; how far it went from the public start is cut to a length, and the
noisy mean of all is released, once. The patients' embeddings are learned many at a time through the same expanded leaf
as DP-SGD's gradients, and are kept nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from embhub.diffusion.dp.gradients import Contributions
from embhub.diffusion.dp.mechanism import Mechanism, Vectors

OnStep = Callable[[int, int], None]


def collect(loss: Contributions, mechanism: Mechanism, *, steps: int, on_step: OnStep | None = None) -> Vectors:
    """The sum (size,) of the bounded embeddings of those who take part. It is private: `mechanism.release` it.

    `steps` are those of each patient's own training. `on_step` hears of steps taken and to be taken, over all parts.
    An embedding whose training had a loss that is not a number counts as zero. Call inside `PatientLoss.active`.
    """
    chosen = mechanism.sample(len(loss.patients)).tolist()
    parts = [chosen[first : first + loss.at_once] for first in range(0, len(chosen), loss.at_once)]
    total = np.zeros(loss.size)
    for number, part in enumerate(parts):
        start = torch.zeros(len(part), loss.size, dtype=torch.float64)
        own = train_alone(
            partial(loss.gradients, part),
            start,
            loss.recipe.learning_rate,
            steps,
            on_step=_count(on_step, number * steps, len(parts) * steps),
        )
        total += mechanism.bound(own.numpy()).sum(0)
    return total


def train_alone(
    gradients: Callable[[Tensor], Tensor],
    start: Tensor,
    learning_rate: float,
    steps: int,
    *,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Embeddings (P, size) that are trained side by side from `start`; `gradients` has each one's at such points."""
    own = start.clone()
    # Adam treats each number by itself, so no patient's steps depend on another's.
    optimizer = torch.optim.Adam([own], lr=learning_rate)
    for step in range(steps):
        own.grad = gradients(own)
        optimizer.step()
        if on_step:
            on_step(step + 1)
    return own


def _count(on_step: OnStep | None, before: int, total: int) -> Callable[[int], None] | None:
    return (lambda done: on_step(before + done, total)) if on_step else None
