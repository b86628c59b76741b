"""How rows are learned: the settings of a training, and those that suit a base."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from embhub.diffusion.families import encoders, prediction_type, resolution
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
    `per_layer` learns rows for each place where a denoiser of Stable Diffusion's shape reads text (P+, see
    `embhub.diffusion.training.per_layer`): `vectors` of them a place, in a file that no other program reads.
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
    per_layer: bool = False
    micro_batch: int | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        bounds = {"vectors": (1, 64), "steps": (1, 10**6), "batch_size": (1, 4096), "at_once": (1, 4096)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}", f"choose {low} to {high}")
        if not 0 < self.learning_rate <= 10:
            raise UsageError(f"a learning rate of {self.learning_rate}", "choose one above 0, such as 0.03")
        if self.snr_gamma is not None and not 0 < self.snr_gamma <= 1000:
            raise UsageError(f"an snr_gamma of {self.snr_gamma}", "choose one above 0, such as 5, or None")
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
    recipe = COMPACT if resolution(pipe) <= 128 else LARGE
    return recipe if encoders(pipe) else replace(recipe, vectors=1)


def settle(recipe: Recipe, **given: Any) -> Recipe:
    """The recipe with what was said in place of its own; None was not said."""
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def describe(pipe: Any, caption: str, recipe: Recipe) -> dict[str, str | int | float]:
    """What the file's header tells of the training; nothing of the images or the seed."""
    kind = prediction_type(pipe)
    snr_gamma = None if kind == "flow" else recipe.snr_gamma  # which weighs all times of a flow alike
    facts: dict[str, str | int | float] = {
        "caption": caption,
        "initial_word": recipe.start or caption.replace("{}", " ").strip(),
        "vectors": recipe.vectors,
        "steps": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "optimizer": "AdamW" if recipe.norm == "free" else "AdamW on directions",
        "weight_decay": 0,
        "schedule": f"cosine, {recipe.warm_up} steps of warm-up",
        "timestep_bias": f"{recipe.high_noise:g} of each batch from the noisiest 30 %",
        "loss": "mean squared error" if snr_gamma is None else "min-SNR",
        "precision": "bfloat16" if recipe.mixed_precision else "float32",
        "prediction_type": kind,
        "resolution": resolution(pipe),
        "tool": "embhub",
    }
    if snr_gamma is not None:
        facts["snr_gamma"] = snr_gamma
    return facts
