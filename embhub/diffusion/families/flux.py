"""FLUX.1: a rectified flow over packed latents, told by T5 and by the pooled output of CLIP. Experimental."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.family import Condition, Family, autoencoder_resolution, in_precision
from embhub.diffusion.families.pipeline import Pipeline

_GUIDANCE = 1.0
"""What a distilled denoiser is told in training: no guidance, so that the loss is that of the flow itself."""


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    hidden, pooled, _ = pipe.encode_prompt(list(prompts), device=pipe.device)
    return {"hidden": hidden, "pooled": pooled}


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    count, channels, height, width = latents.shape
    told = in_precision(condition, pipe.transformer.dtype)
    noisy = latents.to(pipe.transformer.dtype)
    guidance = torch.full((count,), _GUIDANCE, device=noisy.device) if pipe.transformer.config.guidance_embeds else None
    predicted: Tensor = pipe.transformer(
        hidden_states=pipe._pack_latents(noisy, count, channels, height, width),
        timestep=times / 1000,
        guidance=guidance,
        pooled_projections=told["pooled"],
        encoder_hidden_states=told["hidden"],
        txt_ids=torch.zeros(told["hidden"].shape[1], 3, device=noisy.device, dtype=noisy.dtype),
        img_ids=pipe._prepare_latent_image_ids(count, height // 2, width // 2, noisy.device, noisy.dtype),
    ).sample
    scale = int(pipe.vae_scale_factor)
    unpacked: Tensor = pipe._unpack_latents(predicted, height * scale, width * scale, scale)
    return unpacked


FLUX = Family(
    name="flux",
    pipelines=("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"),
    encoders=("text_encoder", "text_encoder_2"),
    layout="flux",
    latents=autoencoding.encode,
    condition=_condition,
    predict=_predict,
    resolution=autoencoder_resolution,
    denoiser="transformer",
    half_on_gpu=True,
    longest={"text_encoder_2": 512},
    passes_image_size=True,
    guidance=3.5,
    steps=28,
    remark=(
        "embeddings for FLUX are experimental: others report that textual inversion binds weakly there; compare with an"
        " SDXL or SD 3 base before you rely on one"
    ),
)
