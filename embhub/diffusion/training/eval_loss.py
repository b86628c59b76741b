"""The loss on noise and times that are always the same, so that two figures compare."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor

from embhub.diffusion.families import Condition, detect, device_of, loss, noise_levels
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.per_layer import insert
from embhub.diffusion.training.prompts import Prompts, gather, one_for_all


def mean_loss(
    pipe: Pipeline, latents: Tensor, *, token: str, caption: str, rows: Mapping[str, Tensor] | None, draws: int = 4
) -> float:
    """Loss over `latents` (N, C, h, w) with rows (None: the caption without them), always on the same noise."""
    return float(losses_with(pipe, latents, token=token, caption=caption, rows=rows, draws=draws).mean())


def losses_with(
    pipe: Pipeline, latents: Tensor, *, token: str, caption: str, rows: Mapping[str, Tensor] | None, draws: int = 4,
    prompts: Prompts | None = None,
) -> Tensor:  # fmt: skip
    """The same for each of the N images, (N,) float64, by `prompts` of its own where there are any."""
    inserted = insert(pipe, token, rows) if rows is not None else None
    texts, which = (prompts or one_for_all(caption)).of(range(len(latents)))
    words = [text.replace("{}", token) if inserted else without_token(text) for text in texts]
    with inserted.active() if inserted else nullcontext(), torch.no_grad():
        condition = detect(pipe).condition(pipe, [inserted.expand(text) if inserted else text for text in words])
        return image_losses(pipe, latents, condition, draws=draws, which=which)


def image_losses(
    pipe: Pipeline, latents: Tensor, condition: Condition, *, draws: int = 4, which: Tensor | None = None
) -> Tensor:
    """Loss of each of N latents under a condition, (N,) float64, averaged over noise and times always the same.

    `which` (N,) says which of the condition's texts each has, where there are several.

    Random numbers are its own: a training that is looked at goes on as if it had not been.
    """
    family, device, generator = detect(pipe), device_of(pipe), torch.Generator().manual_seed(0)
    total = torch.zeros(len(latents), dtype=torch.float64)
    with torch.no_grad():
        for draw in range(draws):
            # The middle of each equal part of the schedule: fewer draws than at random for one precision.
            level = int(noise_levels(pipe) * (draw + 0.5) / draws)
            errors = []
            for number, batch in enumerate(torch.split(latents, 16)):
                own = condition if which is None else gather(condition, which[16 * number : 16 * number + len(batch)])
                times = torch.full((len(batch),), level, device=device)
                noise = torch.randn(batch.shape, generator=generator).to(device)
                errors.append(loss(pipe, family, batch.to(device), own, noise, times).double().cpu())
            total += torch.cat(errors)
    return total / draws


def without_token(caption: str) -> str:
    """The caption's words alone."""
    return " ".join(caption.replace("{}", " ").split()).strip(" ,")
