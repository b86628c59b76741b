"""Kandinsky 2.2: a prior that makes a CLIP image embedding of words, and a decoder that draws it.

They are trained on apart. The prior reads tokens like any other base; what it takes noise off is an image embedding,
normalised by its own mean and deviation. The decoder reads no words: what is learned for it is an image embedding.
The combined pipeline draws with both. As in the makers' own training scripts (diffusers, examples/kandinsky2_2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from embhub.diffusion.families import image_vectors, movq
from embhub.diffusion.families.family import Condition, Family
from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import UsageError

_SIDE = 512
"""Pixels."""


def _prior_latents(pipe: Pipeline, images: Tensor) -> Tensor:
    """Image embeddings (B, D) as the prior predicts them."""
    processor, encoder = pipe.image_processor, pipe.image_encoder
    side = int(encoder.config.image_size)
    pixels = F.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(-1, 1) / 2 + 0.5
    mean, deviation = (
        torch.tensor(part, device=images.device).view(1, -1, 1, 1)
        for part in (processor.image_mean, processor.image_std)
    )
    seen = encoder(((pixels - mean) / deviation).to(encoder.dtype)).image_embeds
    normal: Tensor = (seen - pipe.prior.clip_mean) / pipe.prior.clip_std
    return normal.float()


def _prior_condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    pooled, hidden, mask = pipe._encode_prompt(list(prompts), pipe.device, 1, False)
    return {"pooled": pooled, "hidden": hidden, "mask": mask}


def _prior_predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    dtype = pipe.prior.dtype
    predicted: Tensor = pipe.prior(
        latents.to(dtype),
        timestep=times,
        proj_embedding=condition["pooled"].to(dtype),
        encoder_hidden_states=condition["hidden"].to(dtype),
        attention_mask=condition["mask"],
    ).predicted_image_embedding
    return predicted


def _decoder_condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    return {"image_embeds": image_vectors.read(pipe, prompts).to(pipe.unet.dtype)}


def _decoder_predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    predicted: Tensor = pipe.unet(
        latents.to(pipe.unet.dtype), times, encoder_hidden_states=None, added_cond_kwargs=dict(condition)
    ).sample
    return predicted[:, : latents.shape[1]]  # the other half is the variance


def _decoder_resolution(pipe: Pipeline) -> int:
    """Where its U-Net's configuration states none, the one that the pipeline's own call draws."""
    side = pipe.unet.config.get("sample_size")
    return _SIDE if side is None else int(side) * movq.shrinkage(pipe)


def _draw_nothing(
    pipe: Pipeline,
    _prompts: list[str],
    _steps: int,
    _guidance: float,
    _generators: list[torch.Generator],
    _side: int | None = None,
) -> NoReturn:
    raise UsageError(
        f"a {type(pipe).__name__} makes image embeddings and no pictures",
        "generate with the combined pipeline: see docs/how-to/use-kandinsky.md",
    )


def _draw_decoder(
    pipe: Pipeline,
    prompts: list[str],
    steps: int,
    guidance: float,
    generators: list[torch.Generator],
    side: int | None = None,
) -> list[Image.Image]:
    if guidance > 1:
        raise UsageError(
            f"guidance of {guidance:g} needs the embedding of an empty image, which only the prior's encoder makes",
            "give --guidance-scale 1, or generate with the combined pipeline",
        )
    vectors = image_vectors.plugged(pipe, prompts)
    if vectors is None:
        raise UsageError(
            "this base has no text encoder",
            "load an image embedding made for it, and give its token alone as the prompt",
        )
    return _decode(pipe, vectors, torch.zeros_like(vectors), steps, guidance, generators, side)


def _draw_combined(
    pipe: Pipeline,
    prompts: list[str],
    steps: int,
    guidance: float,
    generators: list[torch.Generator],
    side: int | None = None,
) -> list[Image.Image]:
    vectors = image_vectors.plugged(pipe.decoder_pipe, prompts)
    if vectors is not None:
        return _decode(
            pipe.decoder_pipe, vectors, pipe.prior_pipe.get_zero_embed(len(prompts)), steps, guidance, generators, side
        )
    made = pipe.prior_pipe(prompts, generator=generators)
    return _decode(pipe.decoder_pipe, made.image_embeds, made.negative_image_embeds, steps, guidance, generators, side)


def _decode(
    pipe: Pipeline,
    vectors: Tensor,
    nothing: Tensor,
    steps: int,
    guidance: float,
    generators: list[torch.Generator],
    side: int | None,
) -> list[Image.Image]:
    side = side or _decoder_resolution(pipe)
    drawn: list[Image.Image] = pipe(
        image_embeds=vectors,
        negative_image_embeds=nothing,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=generators,
        height=side,
        width=side,
    ).images
    return drawn


def _apart(pipe: Pipeline, *_: Any) -> NoReturn:
    raise UsageError(
        f"a {type(pipe).__name__} only generates; prior and decoder are trained separately",
        "pass as --base the folder of the prior (for a text embedding) or of the decoder (for an image embedding)",
    )


PRIOR = Family(
    name="kandinsky22-prior",
    pipelines=("KandinskyV22PriorPipeline",),
    encoders=("text_encoder",),
    layout="kandinsky22-prior",
    latents=_prior_latents,
    condition=_prior_condition,
    predict=_prior_predict,
    resolution=lambda pipe: int(pipe.image_encoder.config.image_size),
    denoiser="prior",
    guidance=4.0,
    steps=25,
    draw=_draw_nothing,
    previews=False,
)

DECODER = Family(
    name="kandinsky22-decoder",
    pipelines=("KandinskyV22Pipeline",),
    encoders=(),
    layout="kandinsky22-image",
    latents=movq.encode,
    condition=_decoder_condition,
    predict=_decoder_predict,
    resolution=_decoder_resolution,
    guidance=1.0,
    steps=50,
    draw=_draw_decoder,
    previews=False,
)

COMBINED = Family(
    name="kandinsky22",
    pipelines=("KandinskyV22CombinedPipeline",),
    encoders=("text_encoder",),
    layout="kandinsky22-prior",
    latents=_apart,
    condition=_apart,
    predict=_apart,
    resolution=lambda pipe: _decoder_resolution(pipe.decoder_pipe),
    guidance=4.0,
    steps=50,
    draw=_draw_combined,
    previews=False,
)
