"""What is minimised: the denoiser's error under a caption, or the distance of decoded pictures from their originals.

An objective is one module, so that accelerate can wrap it: its parameters are those of the adapted components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embhub.diffusion.adaptation.components import choose
from embhub.diffusion.adaptation.examples import Examples
from embhub.diffusion.adaptation.plan import Plan
from embhub.diffusion.families import (
    Condition,
    autoencoding,
    detect,
    device_of,
    encoders,
    loss,
    min_snr_weights,
    movq,
    noise_levels,
)
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.eval_loss import image_losses
from embhub.diffusion.training.schedule import draw_batch
from embhub.errors import UsageError

_AT_ONCE = 16  # images measured at a time


@dataclass(frozen=True)
class Batch:
    """Places (B,) of images in their set, with the noise, times and empty captions of their losses."""

    chosen: Tensor
    times: Tensor
    noise: Tensor
    empty: Tensor

    def part(self, places: slice) -> Batch:
        """Some of it."""
        return Batch(**{field.name: getattr(self, field.name)[places] for field in fields(self)})


class NoiseObjective(nn.Module):
    """Error of the denoiser's prediction, for denoiser and text encoders.

    Raises:
        UsageError: the pipeline has no such component, or reads no words.
    """

    def __init__(self, pipe: Pipeline, plan: Plan) -> None:
        super().__init__()
        if not encoders(pipe):
            raise UsageError(
                f"a {type(pipe).__name__} has no text encoder, and the image embeddings it needs are not available",
                "adapt its vae-decoder, or a base with a text encoder",
            )
        self._pipe, self._plan, self._family = pipe, plan, detect(pipe)
        self.adapted = nn.ModuleDict(choose(pipe, plan))
        self._known: dict[str, Condition] | None = None if "text-encoder" in plan.components else {}

    def draw(self, examples: Examples, generator: torch.Generator) -> Batch:
        """A batch; the order of draws does not depend on the images."""
        size, levels, high = self._plan.batch_size, noise_levels(self._pipe), self._plan.high_noise
        chosen, times, noise = draw_batch(examples.latents, size, levels, generator, high=high)
        times = times[torch.randperm(size, generator=generator)]  # each process gets both kinds
        return Batch(chosen, times, noise, torch.rand(size, generator=generator) < self._plan.dropout)

    def forward(self, examples: Examples, batch: Batch) -> Tensor:
        """Mean loss of the batch."""
        errors = self._errors(examples, batch)
        if self._plan.snr_gamma is not None:
            weights = min_snr_weights(self._pipe, batch.times.to(errors.device), self._plan.snr_gamma)
            errors = errors * weights
        return errors.mean()

    @torch.no_grad()
    def measure(self, examples: Examples, draws: int = 4) -> float:
        """Mean error over all examples, on noise and times that are always the same."""
        words = list(dict.fromkeys(examples.captions))
        which = torch.tensor([words.index(caption) for caption in examples.captions])
        return float(
            image_losses(self._pipe, examples.latents, self._condition(words), draws=draws, which=which).mean()
        )

    def _errors(self, examples: Examples, batch: Batch) -> Tensor:
        place = device_of(self._pipe)
        prompts = ["" if empty else examples.captions[i] for i, empty in zip(batch.chosen, batch.empty, strict=True)]
        latents, noise, times = (part.to(place) for part in (examples.latents[batch.chosen], batch.noise, batch.times))
        return loss(self._pipe, self._family, latents, self._condition(prompts), noise, times)

    def _condition(self, prompts: list[str]) -> Condition:
        """What the denoiser is told of B prompts; each is encoded once, for good where the encoders stay.

        What is kept is encoded alone: else it would depend on what it was first asked for with, and after --resume
        be another.
        """
        words = list(dict.fromkeys(prompts))
        if self._known is None:
            known = self._encode(words)
        else:
            known = self._known
            for word in words:
                if word not in known:
                    known.update(_detached(self._encode([word])))
        return {name: _stack([known[word][name] for word in prompts]) for name in known[words[0]]}

    def _encode(self, words: list[str]) -> dict[str, Condition]:
        found = self._family.condition(self._pipe, words)
        return {word: {name: part[i] for name, part in found.items()} for i, word in enumerate(words)}


class PictureObjective(nn.Module):
    """Distance of decoded latents from the pictures they were made of: Huber's, squared under a tenth.

    The encoder stays as it is, and with it every latent: denoiser and embeddings go on as before.

    Raises:
        UsageError: the pipeline has no autoencoder known here.
    """

    def __init__(self, pipe: Pipeline, plan: Plan) -> None:
        super().__init__()
        self._pipe, self._plan = pipe, plan
        self.adapted = nn.ModuleDict(choose(pipe, plan))

    def draw(self, examples: Examples, generator: torch.Generator) -> Batch:
        """A batch; only places are drawn."""
        chosen = torch.randint(len(examples), (self._plan.batch_size,), generator=generator)
        nothing = torch.zeros(len(chosen))
        return Batch(chosen, nothing, nothing, nothing)

    def forward(self, examples: Examples, batch: Batch) -> Tensor:
        """Mean loss of the batch."""
        return self._errors(examples, batch.chosen).mean()

    @torch.no_grad()
    def measure(self, examples: Examples) -> float:
        """Mean loss over all examples."""
        parts = torch.split(torch.arange(len(examples)), _AT_ONCE)
        return sum(float(self._errors(examples, chosen).double().sum()) for chosen in parts) / len(examples)

    def _errors(self, examples: Examples, chosen: Tensor) -> Tensor:
        place, autoencoder = next(iter(self.adapted.items()))
        device = device_of(self._pipe)
        pictures = examples.pictures(chosen).to(device)
        decode = movq.decode if place == "movq" else autoencoding.decode
        gap = decode(autoencoder, examples.latents[chosen].to(device)) - pictures
        return F.smooth_l1_loss(gap, torch.zeros_like(gap), reduction="none", beta=0.1).flatten(1).mean(1)


Objective = NoiseObjective | PictureObjective


def build_objective(pipe: Pipeline, plan: Plan) -> Objective:
    """The objective of a plan. Raises UsageError where the pipeline has no such component."""
    return PictureObjective(pipe, plan) if plan.trains_decoder else NoiseObjective(pipe, plan)


def _stack(parts: Sequence[Tensor]) -> Tensor:
    """Parts (T, …) as one tensor. Kandinsky 3 cuts them to the longest prompt of a call: zeros, which its mask leaves
    out, make them as long as the longest here."""
    longest = max(len(part) for part in parts)
    return torch.stack([F.pad(part, (0, 0) * (part.ndim - 1) + (0, longest - len(part))) for part in parts])


def _detached(parts: Mapping[str, Condition]) -> dict[str, Condition]:
    return {word: {name: value.detach() for name, value in part.items()} for word, part in parts.items()}
