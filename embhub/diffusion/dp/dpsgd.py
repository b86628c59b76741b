"""DP-SGD on a few rows (Abadi et al. 2016, arXiv 1607.00133), with the patient as the unit.

A step: patients join by coins of their own, each one's mean gradient is cut to a length, the sum gets noise, and the
optimizer moves along what comes out. Everything after `release` is arithmetic on what is public already.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from embhub.diffusion.dp.gradients import Contributions
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.training.inversion import DivergedError
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.diffusion.training.schedule import pace
from embhub.errors import UsageError

MOMENTUM = 0.9


class PrivateDescent:
    """A private training of `coordinates` (size,), step by step; call `step` inside `PatientLoss.active`."""

    def __init__(self, loss: Contributions, mechanism: Mechanism, recipe: ResolvedRecipe) -> None:
        self.loss, self.mechanism, self.recipe = loss, mechanism, recipe
        self.coordinates = torch.zeros(loss.size, dtype=torch.float64)
        self._optimizer = torch.optim.SGD([self.coordinates], lr=recipe.learning_rate, momentum=MOMENTUM)
        self.taken = 0

    def step(self) -> None:
        """One step; nothing of it is kept but coordinates and momentum.

        Raises:
            DivergedError: the coordinates are no longer numbers. Sums with noise made them, so no patient decides it.
        """
        chosen = self.mechanism.sample(len(self.loss.patients)).tolist()
        total = torch.zeros_like(self.coordinates).numpy()
        for first in range(0, len(chosen), self.loss.at_once):
            part = chosen[first : first + self.loss.at_once]
            total += self.mechanism.bound(self.loss.gradients(part, self.coordinates).numpy()).sum(0)
        self.move(torch.from_numpy(self.mechanism.release(total)))

    def state(self) -> dict[str, Tensor]:
        """A copy of all that decides how it goes on, but for the noise: none of it is private."""
        held = self._optimizer.state.get(self.coordinates, {}).get("momentum_buffer")
        momentum = torch.zeros_like(self.coordinates) if held is None else held.clone()
        return {"coordinates": self.coordinates.clone(), "momentum": momentum}

    def restore(self, state: Mapping[str, Tensor], taken: int) -> None:
        """Stand where `state` stood after `taken` steps; what comes then is drawn afresh.

        Raises:
            UsageError: it is of other rows than these.
        """
        if any(part.shape != self.coordinates.shape for part in state.values()):
            raise UsageError("the state is of other rows than these", "start afresh")
        self.taken = taken
        self.coordinates.copy_(state["coordinates"])
        self._optimizer.state[self.coordinates]["momentum_buffer"] = state["momentum"].clone()

    def move(self, mean: Tensor) -> None:
        """Take a step along a noisy mean gradient (size,), which is public.

        Raises:
            DivergedError: as `step`.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * pace(self.taken, self.recipe.steps, self.recipe.warm_up)
        self.coordinates.grad = mean / self.mechanism.max_grad_norm
        self._optimizer.step()
        if not torch.isfinite(self.coordinates).all():
            raise DivergedError("the rows are no longer numbers", "lower the learning rate")
        self.taken += 1
