"""DP-SGD on a few rows (Abadi et al. 2016, arXiv 1607.00133), with the patient as the unit.

A step: patients join by coins of their own, each one's mean gradient is cut to a length, the sum gets noise, and the
optimizer moves along what comes out. Everything after `release` is arithmetic on what is public already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.diffusion.dp.gradients import Contributions
from embhub.diffusion.dp.mechanism import Mechanism, Vectors
from embhub.diffusion.training.inversion import DivergedError
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.diffusion.training.schedule import pace
from embhub.errors import UsageError

MOMENTUM = 0.9
_DIGITS = 12
"""Of a learning rate, after the point: a cosine differs in its last bit from machine to machine."""


class PrivateDescent:
    """A private training of `coordinates` (size,), step by step; call `step` inside `PatientLoss.active`."""

    def __init__(self, loss: Contributions, mechanism: Mechanism, recipe: ResolvedRecipe) -> None:
        self.loss, self.mechanism, self.recipe = loss, mechanism, recipe
        self.coordinates = torch.zeros(loss.size, dtype=torch.float64)
        self._momentum = torch.zeros_like(self.coordinates)
        self.taken = 0

    def step(self) -> None:
        """One step; nothing of it is kept but coordinates and momentum.

        Raises:
            DivergedError: the coordinates are no longer numbers. Sums with noise made them, so no patient decides it.
        """
        self.move(torch.from_numpy(self.mechanism.release(self.gather(self.mechanism.bound))))

    def gather(self, bound: Callable[[Vectors], NDArray[Any]]) -> Vectors:
        """The sum (size,) of a step's gradients, each bounded by `bound`. It is private: it leaves with noise only."""
        chosen = self.mechanism.sample(len(self.loss.patients)).tolist()
        total = np.zeros(self.loss.size)
        for first in range(0, len(chosen), self.loss.at_once):
            part = chosen[first : first + self.loss.at_once]
            total += bound(self.loss.gradients(part, self.coordinates).numpy()).sum(0)
        return total

    def state(self) -> dict[str, Tensor]:
        """A copy of all that decides how it goes on, but for the noise: none of it is private."""
        return {"coordinates": self.coordinates.clone(), "momentum": self._momentum.clone()}

    def restore(self, state: Mapping[str, Tensor], taken: int) -> None:
        """Stand where `state` stood after `taken` steps; what comes then is drawn afresh.

        Raises:
            UsageError: it is of other rows than these.
        """
        if any(part.shape != self.coordinates.shape for part in state.values()):
            raise UsageError("the state is of other rows than these", "start afresh")
        self.taken = taken
        self.coordinates.copy_(state["coordinates"])
        self._momentum.copy_(state["momentum"])

    def move(self, mean: Tensor) -> None:
        """Take a step along a noisy mean gradient (size,), which is public.

        Raises:
            DivergedError: as `step`.
        """
        share = pace(self.taken, self.recipe.steps, self.recipe.warm_up)
        rate = round(self.recipe.learning_rate * share, _DIGITS)
        # Momentum as torch's SGD has it, one rounding at a time: sites on different machines get the same bits.
        self._momentum.mul_(MOMENTUM).add_(mean / self.mechanism.max_grad_norm)
        self.coordinates.sub_(self._momentum * rate)
        if not torch.isfinite(self.coordinates).all():
            raise DivergedError("the rows are no longer numbers", "lower the learning rate")
        self.taken += 1
