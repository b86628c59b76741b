"""What attacks look at: losses measured once for all of them, and what else an attacker holds.

All losses of an audit are paired: every image and every model is measured on the same few draws of noise and timestep,
and the draws are stratified over the schedule. What is left to differ is what the model knows of the image. (On an
overfit embedding, pairing alone moved an attack from AUC 0.54 to 0.90.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from embhub.diffusion import families
from embhub.diffusion.families import Condition
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.eval_loss import without_token
from embhub.diffusion.training.per_layer import insert
from embhub.diffusion.training.prompts import Prompts, gather, one_for_all
from embhub.errors import UsageError

DRAWS = 16
BATCH = 64


@dataclass(frozen=True)
class Draws:
    """D pairs of `noise` (D, C, h, w) and `timesteps` int64 (D,), the same for every image and every model."""

    noise: Tensor
    timesteps: Tensor


@dataclass(frozen=True)
class Suspect:
    """What anybody holds who has the file: a loaded base, the rows (K, d) of each encoder, the caption (with `{}` where
    the token goes), and the images in question as `latents` (N, C, h, w). `seed` is the audit's own, sealed at the
    site: what an attack draws follows from it.

    `images` (N, 3, H, W) in [-1, 1] are the same as pictures, and `units` say whose each is, for attacks that look at
    them. `prompts` are those of each image, where there are captions: who asks about an image may know its caption.
    `drawn` holds what was drawn with the embedding, once for all attacks.
    """

    pipe: Pipeline
    latents: Tensor
    draws: Draws
    caption: str
    token: str
    rows: Mapping[str, Tensor]
    seed: int = 0
    images: Tensor | None = None
    units: tuple[str, ...] | None = None
    prompts: Prompts | None = None
    drawn: list[Tensor] = field(init=False, default_factory=list, compare=False, repr=False)

    def condition(self, rows: Mapping[str, Tensor] | None) -> Condition:
        """What the denoiser is told of the caption with these rows, or (None) of its other words."""
        return condition(self.pipe, self.caption, self.token, rows)

    def conditions(self, rows: Mapping[str, Tensor] | None, places: Sequence[int]) -> Condition:
        """The same for some of the images, by their own prompts."""
        texts, which = (self.prompts or one_for_all(self.caption)).of(places)
        return gather(condition(self.pipe, texts, self.token, rows), which)


@dataclass(frozen=True)
class Evidence:
    """Losses that attacks look at, of N images on D draws.

    `with_rows` and `without` (N, D): the denoiser with the audited embedding, and with the caption's other words alone.
    `references` (R, N, D): with embeddings trained by the same recipe on other images; `unseen` (R, N): which of them
    were trained without this image's patient. `suspect` is for attacks that ask the denoiser themselves.
    """

    with_rows: Tensor
    without: Tensor
    references: Tensor | None = None
    unseen: Tensor | None = None
    suspect: Suspect | None = None

    def interrogate(self) -> Suspect:
        """The suspect. Raises ValueError where there is none."""
        if self.suspect is None:
            raise ValueError("this attack needs the embedding itself, not its losses alone")
        return self.suspect


Attack = Callable[[Evidence], Tensor]
"""Scores (N,), float64, higher for an image that looks more like a member."""


def draw(pipe: Pipeline, shape: torch.Size, *, count: int = DRAWS, seed: int = 0) -> Draws:
    """`count` draws for latents of `shape` (C, h, w): one uniform timestep from each of `count` equal bands."""
    generator = torch.Generator().manual_seed(seed)
    places = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    timesteps = (places * families.noise_levels(pipe)).long()
    return Draws(torch.randn(count, *shape, generator=generator), timesteps)


def measure_losses(
    pipe: Pipeline,
    latents: Tensor,
    draws: Draws,
    *,
    caption: str,
    token: str,
    rows: Mapping[str, Tensor] | None,
    prompts: Prompts | None = None,
    on_batch: Callable[[], None] | None = None,
) -> Tensor:
    """Loss of each image on each draw, (N, D) float64, with `rows` for the token or (None) the caption's other words.

    `latents` (N, C, h, w) as `embhub.diffusion.training.inversion.encode_images` gives them; `caption` has `{}`
    where the token goes; `prompts` are those of each image, where there are captions.

    Raises:
        UsageError: an unsupported pipeline, or rows that do not fit it.
    """
    family = families.detect(pipe)
    table = torch.empty(len(latents), len(draws.timesteps), dtype=torch.float64)
    known = prompts or one_for_all(caption)
    told = condition(pipe, caption, token, rows)
    with torch.no_grad():
        for start in range(0, len(latents), BATCH):
            batch = latents[start : start + BATCH].to(families.device_of(pipe))
            if known.own:
                texts, which = known.of(range(start, start + len(batch)))
                told = gather(condition(pipe, texts, token, rows), which)
            for number, (noise, time) in enumerate(zip(draws.noise, draws.timesteps, strict=True)):
                times = time.expand(len(batch)).to(batch.device)
                errors = families.loss(pipe, family, batch, told, noise.to(batch.device).expand_as(batch), times)
                table[start : start + len(batch), number] = errors.double().cpu()
                if on_batch:
                    on_batch()
    if not torch.isfinite(table).all():
        raise UsageError("the base's loss on these images is not a number", "check base, data type and images")
    return table


def condition(
    pipe: Pipeline, captions: str | Sequence[str], token: str, rows: Mapping[str, Tensor] | None
) -> Condition:
    """The encoding of captions with `rows` for the token, or (None) of their other words; no gradients kept.

    Raises:
        UsageError: an unsupported pipeline, or rows that do not fit it.
    """
    inserted = insert(pipe, token, rows) if rows is not None else None
    texts = [captions] if isinstance(captions, str) else captions
    words = [inserted.expand(text.replace("{}", token)) if inserted else without_token(text) for text in texts]
    with inserted.active() if inserted else nullcontext(), torch.no_grad():
        return families.detect(pipe).condition(pipe, words)
