"""Membership attacks on an embedding: one function each, one signature, from losses to a score an image.

All losses of an audit are paired: every image and every model is measured on the same few draws of noise and timestep,
and the draws are stratified over the schedule. What is left to differ is what the model knows of the image. (On an
overfit embedding, pairing alone moved an attack from AUC 0.54 to 0.90.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from embhub.diffusion import families
from embhub.diffusion.rows import Rows
from embhub.errors import UsageError

DRAWS = 16
BATCH = 64


@dataclass(frozen=True)
class Draws:
    """D pairs of `noise` (D, C, h, w) and `timesteps` int64 (D,), the same for every image and every model."""

    noise: Tensor
    timesteps: Tensor


@dataclass(frozen=True)
class Evidence:
    """Losses that attacks look at, of N images on D draws.

    `with_rows` and `without` (N, D): the denoiser with the audited embedding, and with the caption's other words alone.
    `references` (R, N, D): with embeddings trained by the same recipe on other images; `unseen` (R, N): which of them
    were trained without this image's patient.
    """

    with_rows: Tensor
    without: Tensor
    references: Tensor | None = None
    unseen: Tensor | None = None


Attack = Callable[[Evidence], Tensor]
"""Scores (N,), float64, higher for an image that looks more like a member."""


def draw(pipe: Any, shape: torch.Size, *, count: int = DRAWS, seed: int = 0) -> Draws:
    """`count` draws for latents of `shape` (C, h, w): one uniform timestep from each of `count` equal bands."""
    generator = torch.Generator().manual_seed(seed)
    places = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    timesteps = (places * families.noise_levels(pipe)).long()
    return Draws(torch.randn(count, *shape, generator=generator), timesteps)


def measure_losses(
    pipe: Any,
    latents: Tensor,
    draws: Draws,
    *,
    caption: str,
    token: str,
    rows: Mapping[str, Tensor] | None,
    on_batch: Callable[[], None] | None = None,
) -> Tensor:
    """Loss of each image on each draw, (N, D) float64, with `rows` for the token or (None) the caption's other words.

    `latents` (N, C, h, w) as `embhub.diffusion.inversion.encode_images` gives them; `caption` has `{}` where the token
    goes.

    Raises:
        UsageError: an unsupported pipeline, or rows that do not fit it.
    """
    family = families.detect(pipe)
    inserted = Rows(pipe, token, rows) if rows is not None else None
    prompt = inserted.expand(caption.replace("{}", token)) if inserted else plain(caption)
    table = torch.empty(len(latents), len(draws.timesteps), dtype=torch.float64)
    with inserted.active() if inserted else nullcontext(), torch.no_grad():
        condition = family.condition(pipe, [prompt])
    with torch.no_grad():
        for number, (noise, time) in enumerate(zip(draws.noise, draws.timesteps, strict=True)):
            for start in range(0, len(latents), BATCH):
                batch = latents[start : start + BATCH].to(pipe.device)
                times = time.expand(len(batch)).to(pipe.device)
                errors = families.loss(pipe, family, batch, condition, noise.to(pipe.device).expand_as(batch), times)
                table[start : start + len(batch), number] = errors.double().cpu()
                if on_batch:
                    on_batch()
    if not torch.isfinite(table).all():
        raise UsageError("the base's loss on these images is not a number", "check base, data type and images")
    return table


def plain(caption: str) -> str:
    """The caption without the token's place."""
    return " ".join(caption.replace("{}", " ").split()).strip(" ,")


def score_by_loss(evidence: Evidence) -> Tensor:
    """Members are fitted better: minus the loss (Yeom et al. 2018, arXiv 1709.01604; Matsumoto et al. 2302.03262)."""
    return -evidence.with_rows.mean(1)


def score_by_difference(evidence: Evidence) -> Tensor:
    """Members gain more from the embedding: loss without minus loss with it, so an image's difficulty cancels."""
    return (evidence.without - evidence.with_rows).mean(1)


def score_by_lira(evidence: Evidence) -> Tensor:
    """Offline LiRA (Carlini et al. 2022, arXiv 2112.03570): how far is the loss below that of models without the image?

    In standard deviations, one for each draw, pooled over images as its section VI advises for few references.

    Raises:
        ValueError: no references, or an image that every reference has seen.
    """
    if evidence.references is None or evidence.unseen is None:
        raise ValueError("LiRA needs reference embeddings")
    weight = evidence.unseen.double()[..., None]
    count = weight.sum(0)
    if bool((count == 0).any()):
        raise ValueError("an image was seen by every reference embedding")
    mean = (evidence.references * weight).sum(0) / count
    spare = float((count - 1).sum())
    spread = (((evidence.references - mean) ** 2 * weight).sum((0, 1)) / max(spare, 1.0)).sqrt()
    return ((mean - evidence.with_rows) / spread.clamp(min=1e-12)).mean(1)


QUICK: Mapping[str, Attack] = {"loss-difference": score_by_difference, "loss": score_by_loss}
