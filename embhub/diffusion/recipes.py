"""How rows are learned: the settings of a training, and those that suit a base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from embhub.diffusion.families import resolution
from embhub.errors import UsageError

Norm = Literal["free", "directional"]


@dataclass(frozen=True)
class Recipe:
    """How rows are learned.

    `learning_rate` is AdamW's after `warm_up` steps, falling on half a cosine to a twentieth; there is no weight
    decay. `high_noise` is the share of a batch drawn from the noisiest 30 % of the schedule, where layout is decided;
    the others are drawn evenly from above `lowest`. `snr_gamma` evens out timesteps (min-SNR), None weighs them
    alike. `start` are the words to start from. `mixed_precision` computes in bfloat16, where the rows stay float32.

    `norm` is `free`, or `directional`: every row keeps the mean length of the base's own token rows and only turns
    (Kim, Park, Hong and Shim 2025, arXiv 2512.13672; here AdamW with gradients along the sphere, without their prior).
    `micro_batch` images of a batch are computed at a time, None all of them; `gradient_checkpointing` computes
    activations twice instead of keeping them. Both only save memory: the sum is the same but for rounding.
    """

    vectors: int = 8
    steps: int = 200
    learning_rate: float = 3e-2
    batch_size: int = 16
    warm_up: int = 20
    high_noise: float = 0.4
    lowest: float = 0.1
    snr_gamma: float | None = None
    start: str = ""
    mixed_precision: bool = True
    norm: Norm = "free"
    micro_batch: int | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        bounds = {"vectors": (1, 64), "steps": (1, 10**6), "batch_size": (1, 4096), "at_once": (1, 4096)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}", f"choose {low} to {high}")
        if not 0 < self.learning_rate <= 10:
            raise UsageError(f"a learning rate of {self.learning_rate}", "choose one above 0, such as 0.03")
        if self.norm not in get_args(Norm):
            raise UsageError(f"a norm called {self.norm}", "choose free or directional")

    @property
    def at_once(self) -> int:
        """How many images of a batch are computed at a time."""
        return self.batch_size if self.micro_batch is None else min(self.micro_batch, self.batch_size)


COMPACT = Recipe()
"""For the built-in bases and others of at most 128 pixels: plain loss, as min-SNR would starve layout."""

LARGE = Recipe(steps=3000, learning_rate=5e-3, batch_size=4, high_noise=0.0, lowest=0.0, snr_gamma=5.0)
"""For bases of Stable Diffusion's size."""


def default_recipe(pipe: Any) -> Recipe:
    """The recipe that suits a base of this size."""
    return COMPACT if resolution(pipe) <= 128 else LARGE
