"""What a family of base models is: a few short functions, and the facts that a loader must know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from embhub.diffusion.families.pipeline import Pipeline

Condition = dict[str, Tensor]
"""What the denoiser is told of a prompt: tensors whose first axis counts prompts. Masks are of whole numbers or bool;
what is learned from is of floating point."""


@dataclass(frozen=True)
class Encoder:
    """One text encoder of a pipeline, its tokenizer, and the name of the tokenizer's place in the pipeline."""

    name: str
    tokenizer_name: str
    tokenizer: Any
    model: Any

    @property
    def table(self) -> Tensor:
        """The token-embedding table, (vocabulary, width)."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight


@dataclass(frozen=True)
class Family:
    """How one kind of pipeline is driven.

    `latents(pipe, images)`: images (B, 3, H, W) in [-1, 1] to latents, without sampling, so that a cache is exact.
    `condition(pipe, prompts)`: the pipeline's own encoding of P prompts, gradients kept, as its call makes it.
    `predict(pipe, latents, times, condition)`: the denoiser's output for B noisy latents; `times` (B,) are what the
    pipeline tells its denoiser: steps of the schedule, or a thousand times the noise's share for a flow.
    `resolution(pipe)`: side of the square images, in pixels, that the denoiser was trained for.

    `pipelines` are class names in diffusers; `encoders` the text encoders that there must be; `layout` the file's, see
    `embhub.artifact.embedding.LAYOUTS`. `denoiser` is the component's name. `longest` are the most tokens that the
    pipeline reads with an encoder, where that is less than its tokenizer says. `guidance` and `steps` are the
    pipeline's own defaults of sampling. `passes_image_size`: its call needs the images' size, and
    assumes its makers' otherwise. `half_on_gpu`: on a GPU its weights are held in bfloat16, as float32 would want more
    than most have.
    `remark` is said before a training. `draw(pipe, prompts, steps, guidance, generators, side)` gives a picture a
    prompt, where the pipeline's own call does not. `previews`: can pictures be drawn while it is trained on?
    `negative`: does its call take a negative prompt, which classifier-free guidance moves away from?
    `cuts_context`: does what it says of one prompt depend on the longest other one of a batch, be it by rounding?
    `overhead(pipe)`: tokens of a chat template that count towards `longest`. `call`: further options of its call.
    `ask(guidance, negative, count)`: the options for guidance and negative prompt of `count` images, where they are not
    `guidance_scale` and `negative_prompt`.
    """

    name: str
    pipelines: tuple[str, ...]
    encoders: tuple[str, ...]
    layout: str
    latents: Callable[[Pipeline, Tensor], Tensor]
    condition: Callable[[Pipeline, Sequence[str]], Condition]
    predict: Callable[[Pipeline, Tensor, Tensor, Condition], Tensor]
    resolution: Callable[[Pipeline], int]
    denoiser: str = "unet"
    longest: Mapping[str, int] = field(default_factory=dict)
    guidance: float = 7.5
    steps: int = 50
    passes_image_size: bool = False
    half_on_gpu: bool = False
    remark: str = ""
    draw: Callable[[Pipeline, list[str], int, float, list[torch.Generator], int | None], list[Image.Image]] | None = (
        None
    )
    previews: bool = True
    negative: bool = False
    cuts_context: bool = False
    overhead: Callable[[Pipeline], int] | None = None
    call: Mapping[str, Any] = field(default_factory=dict)
    ask: Callable[[float, str | None, int], dict[str, Any]] | None = None


def in_precision(condition: Condition, dtype: torch.dtype) -> Condition:
    """The same with its parts of floating point in `dtype`: some are left in what autocast made of them."""
    return {name: part.to(dtype) if part.is_floating_point() else part for name, part in condition.items()}


def transformer_resolution(pipe: Pipeline) -> int:
    """Side of the images of a pipeline whose transformer states the side of its latents."""
    return int(pipe.transformer.config.sample_size) * int(pipe.vae_scale_factor)


def autoencoder_resolution(pipe: Pipeline) -> int:
    """Likewise where the transformer reads any size: the autoencoder states the one that it was made for."""
    return int(pipe.vae.config.sample_size)


def encoders(pipe: Pipeline) -> list[Encoder]:
    """The text encoders of a pipeline that have a tokenizer, in the pipeline's order."""
    found = []
    pipe = getattr(pipe, "prior_pipe", pipe)  # of two pipelines in one, the part that reads words
    for suffix in ("", "_2", "_3"):
        model, tokenizer = getattr(pipe, f"text_encoder{suffix}", None), getattr(pipe, f"tokenizer{suffix}", None)
        if model is not None and tokenizer is not None:
            found.append(Encoder(f"text_encoder{suffix}", f"tokenizer{suffix}", tokenizer, model))
    return found
