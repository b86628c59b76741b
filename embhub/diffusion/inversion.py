"""Textual inversion (Gal et al. 2022, arXiv 2208.01618): the loop that learns a few token rows, and nothing else.

The autoencoder is not in the loop: latents are made once. The text encoder runs once a step, since all images share one
prompt. Only the rows are parameters. One seed gives one result on one machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from embhub.diffusion.families import detect, loss, min_snr_weights, noise_levels, resolution
from embhub.diffusion.pipelines import trainable_attention
from embhub.diffusion.rows import Rows, starting_rows
from embhub.errors import UsageError

OnStep = Callable[[int, float], None]
_HIGH = 0.7
"""Where high noise begins, as a share of the schedule."""


@dataclass(frozen=True)
class Recipe:
    """How rows are learned.

    `learning_rate` is AdamW's after `warm_up` steps, falling on half a cosine to a twentieth; there is no weight
    decay. `high_noise` is the share of a batch drawn from the noisiest 30 % of the schedule, where layout is decided;
    the others are drawn evenly from above `lowest`. `snr_gamma` evens out timesteps (min-SNR), None weighs them
    alike. `start` are the words to start from. `mixed_precision` computes in bfloat16, where the rows stay float32.
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

    def __post_init__(self) -> None:
        bounds = {"vectors": (1, 64), "steps": (1, 10**6), "batch_size": (1, 4096)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}", f"choose {low} to {high}")
        if not 0 < self.learning_rate <= 10:
            raise UsageError(f"a learning rate of {self.learning_rate}", "choose one above 0, such as 0.03")


COMPACT = Recipe()
"""For the built-in bases and others of at most 128 pixels: plain loss, as min-SNR would starve layout."""

LARGE = Recipe(steps=3000, learning_rate=5e-3, batch_size=4, high_noise=0.0, lowest=0.0, snr_gamma=5.0)
"""For bases of Stable Diffusion's size."""


def default_recipe(pipe: Any) -> Recipe:
    """The recipe that suits a base of this size."""
    return COMPACT if resolution(pipe) <= 128 else LARGE


@dataclass(frozen=True)
class Fit:
    """Learned `rows`, (vectors, d) float32 on the processor for each encoder, and the loss of every step."""

    rows: Mapping[str, Tensor]
    losses: tuple[float, ...]


def encode_images(pipe: Any, images: Tensor) -> Tensor:
    """Latents (N, C, h, w), float32, of images (N, 3, H, W) in [-1, 1]; nothing is drawn at random."""
    family = detect(pipe)
    with torch.no_grad():
        return torch.cat([family.latents(pipe, part.to(pipe.device)) for part in torch.split(images, 8)])


def fit(
    pipe: Any, latents: Tensor, *, token: str, caption: str, recipe: Recipe, seed: int, on_step: OnStep | None = None
) -> Fit:
    """Learn rows that make `caption`, with `token` in place of `{}`, stand for the images behind `latents` (N, C, h,
    w).

    The pipeline is as it was afterwards, also when an error or an interrupt ends the loop. All draws come from
    `seed`, in an order that does not depend on the images.

    Raises:
        UsageError: too many vectors for the caption, an unsupported pipeline, or a loss that is no longer a number.
    """
    family, generator = detect(pipe), torch.Generator().manual_seed(seed)
    words = recipe.start or caption.replace("{}", " ")
    rows = Rows(pipe, token, starting_rows(pipe, words, recipe.vectors, generator=generator))
    prompt = caption.replace("{}", token)
    rows.check_fits(prompt)
    optimizer = torch.optim.AdamW(rows.parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    latents = latents.to(pipe.device)
    losses = []
    with rows.active(), trainable_attention(pipe):
        for step in range(recipe.steps):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _pace(step, recipe)
            chosen = torch.randint(len(latents), (recipe.batch_size,), generator=generator)
            times = _draw_times(recipe, noise_levels(pipe), generator)
            batch, times = latents[chosen.to(latents.device)], times.to(latents.device)
            noise = torch.randn(batch.shape, generator=generator).to(latents.device)
            with _precision(pipe, recipe):
                condition = family.condition(pipe, [rows.expand(prompt)])
                errors = loss(pipe, family, batch, condition, noise, times)
            if recipe.snr_gamma is not None:
                errors = errors * min_snr_weights(pipe, times, recipe.snr_gamma)
            error = errors.mean()
            optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(error.item())
            if not math.isfinite(losses[-1]):
                raise UsageError(f"the loss at step {step + 1} is not a number", "lower the learning rate")
            if on_step:
                on_step(step + 1, losses[-1])
    return Fit({name: part.detach().float().cpu().clone() for name, part in rows.rows.items()}, tuple(losses))


def mean_loss(
    pipe: Any, latents: Tensor, *, token: str, caption: str, rows: Mapping[str, Tensor] | None, draws: int = 4
) -> float:
    """Loss over `latents` with rows (None: the caption without them), on noise and times that are always the same."""
    family = detect(pipe)
    generator = torch.Generator().manual_seed(0)
    inserted = Rows(pipe, token, rows) if rows is not None else None
    prompt = caption.replace("{}", token) if inserted else " ".join(caption.replace("{}", " ").split()).strip(" ,")
    total = 0.0
    with inserted.active() if inserted else nullcontext(), torch.no_grad():
        condition = family.condition(pipe, [inserted.expand(prompt) if inserted else prompt])
        for draw in range(draws):
            # The middle of each equal part of the schedule: fewer draws than at random for one precision.
            level = int(noise_levels(pipe) * (draw + 0.5) / draws)
            for batch in torch.split(latents, 16):
                times = torch.full((len(batch),), level, device=pipe.device)
                noise = torch.randn(batch.shape, generator=generator).to(pipe.device)
                total += float(loss(pipe, family, batch.to(pipe.device), condition, noise, times).sum())
    return total / (draws * len(latents))


def _pace(step: int, recipe: Recipe) -> float:
    """The learning rate as a share of its peak."""
    rising = min(1.0, (step + 1) / max(1, recipe.warm_up))
    return rising * max(0.05, 0.5 + 0.5 * math.cos(math.pi * step / recipe.steps))


def _draw_times(recipe: Recipe, levels: int, generator: torch.Generator) -> Tensor:
    high = int(recipe.high_noise * recipe.batch_size)
    even = torch.randint(int(recipe.lowest * levels), levels, (recipe.batch_size - high,), generator=generator)
    return torch.cat([even, torch.randint(int(_HIGH * levels), levels, (high,), generator=generator)])


def _precision(pipe: Any, recipe: Recipe) -> AbstractContextManager[Any]:
    if not recipe.mixed_precision or pipe.device.type == "mps":
        return nullcontext()
    return torch.autocast(pipe.device.type, torch.bfloat16)
