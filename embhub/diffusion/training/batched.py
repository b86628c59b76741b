"""Several trainings by one recipe in the same batches: the same rows as one after the other, for less time.

Each keeps its own images, random numbers and optimizer; only the passes through text encoder and denoiser are shared,
each training has a prompt of its own. A larger batch costs less an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from embhub.diffusion.bases.pipelines import trainable_attention
from embhub.diffusion.families import Condition, detect, loss, min_snr_weights
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.inversion import Fit, Inversion, ResolvedRecipe
from embhub.diffusion.training.precision import precision, recomputed, repeatable
from embhub.diffusion.training.prompts import Prompts

IMAGES = 64
"""Images of a shared batch: beyond, a processor gains nothing."""

Job = tuple[Tensor, int]
"""Latents (N, C, h, w) of one training, and its seed."""


def group(jobs: int, recipe: ResolvedRecipe) -> list[range]:
    """Which of so many trainings share their batches; where the recipe bounds the images at a time, each is alone.

    Where one batch is not enough there is an even number of groups, nearly equal, so that two processes end together.
    """
    each = 1 if recipe.micro_batch_size else max(1, IMAGES // recipe.batch_size)
    count = 1 if jobs <= each else min(2 * math.ceil(jobs / each / 2), jobs)
    return [range(jobs * number // count, jobs * (number + 1) // count) for number in range(count)]


def fit_many(
    pipe: Pipeline,
    jobs: Sequence[Job],
    *,
    token: str,
    caption: str,
    recipe: ResolvedRecipe,
    prompts: Sequence[Prompts] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> list[Fit]:
    """What `inversion.fit` gives for each job alone, up to rounding. `prompts` are those of
    each job's images. `on_step` gets the step and the mean loss.

    Raises:
        UsageError: too many vectors for the caption, an unsupported pipeline, or a loss that is no longer a number.
    """
    trainings = [
        Inversion(
            pipe, latents, token=token, caption=caption, recipe=recipe, seed=seed,
            prompts=prompts[number] if prompts else None,
        )
        for number, (latents, seed) in enumerate(jobs)
    ]  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(trainable_attention(pipe))
        stack.enter_context(recomputed(pipe, recipe.gradient_checkpointing))
        stack.enter_context(repeatable(pipe))
        for step in range(1, recipe.steps + 1):
            error = _step(pipe, trainings, recipe)
            if on_step:
                on_step(step, error)
    return [Fit(training.rows, tuple(training.losses)) for training in trainings]


def _step(pipe: Pipeline, trainings: Sequence[Inversion], recipe: ResolvedRecipe) -> float:
    """One step of each; returns the mean loss."""
    latents, times, noise = (torch.cat(parts) for parts in zip(*(one.draw() for one in trainings), strict=True))
    first, family = trainings[0].inserted, detect(pipe)
    own = {
        name: torch.stack([one.inserted.rows[name].detach() for one in trainings]).requires_grad_()
        for name in first.rows
    }
    with precision(pipe, mixed=recipe.mixed_precision):
        each = _condition(pipe, trainings, own, recipe.batch_size)
        errors = loss(pipe, family, latents, each, noise, times)
    if recipe.snr_gamma is not None:
        errors = errors * min_snr_weights(pipe, times, recipe.snr_gamma)
    means = errors.view(len(trainings), -1).mean(1)
    gradients = torch.autograd.grad(means.sum(), list(own.values()))
    for number, training in enumerate(trainings):
        for name, gradient in zip(own, gradients, strict=True):
            training.inserted.rows[name].grad = gradient[number]
        training.apply(float(means[number].detach()))
    return float(means.detach().mean())


def _condition(pipe: Pipeline, trainings: Sequence[Inversion], own: Mapping[str, Tensor], count: int) -> Condition:
    """What the denoiser is told of each image of the shared batch, `count` of every training, with the rows `own`."""
    first, told = trainings[0], [training.told() for training in trainings]
    owners = [number for number, (texts, _) in enumerate(told) for _ in texts]
    alone = len(owners) == len(trainings)
    with first.inserted.active(own if alone else {name: part[owners] for name, part in own.items()}):
        condition = detect(pipe).condition(pipe, first.spell([text for texts, _ in told for text in texts]))
    if alone:
        return {name: part.repeat_interleave(count, 0) for name, part in condition.items()}
    starts = [owners.index(number) for number in range(len(trainings))]
    places = torch.cat([start + which for start, (_, which) in zip(starts, told, strict=True)])
    return {name: part[places.to(part.device)] for name, part in condition.items()}
