"""Moving averages of weights while they are trained: samples are drawn from an average, never from the last step."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Averages:
    """Averages of a model's parameters, one for each of several decays; a young average forgets faster."""

    def __init__(self, model: nn.Module, decays: Sequence[float]) -> None:
        self.model, self.decays = model, tuple(decays)
        self.values = [[value.detach().clone() for value in model.parameters()] for _ in decays]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after step number `step`, counted from 0."""
        parameters: list[Tensor] = list(self.model.parameters())
        for decay, values in zip(self.decays, self.values, strict=True):
            torch._foreach_lerp_(values, parameters, 1 - min(decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def averaged(self, place: int) -> nn.Module:
        """A copy of the model with the average at `place` among the decays, in evaluation mode."""
        shown = copy.deepcopy(self.model).eval()
        for value, mean in zip(shown.parameters(), self.values[place], strict=True):
            value.copy_(mean)
        return shown

    def state(self) -> dict[str, Any]:
        """What `load` takes."""
        return {"values": self.values}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same model and decays."""
        for values, kept in zip(self.values, state["values"], strict=True):
            for value, other in zip(values, kept, strict=True):
                value.copy_(other)
