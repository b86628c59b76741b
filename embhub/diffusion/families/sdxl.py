"""Stable Diffusion XL (Podell et al. 2023, arXiv 2307.01952): two CLIP encoders; the denoiser is also told the pooled
text and the size of the picture. Fine-tunes that predict v are served too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.family import Condition, Family, in_precision
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.families.sd import unet_resolution


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    hidden, _, pooled, _ = pipe.encode_prompt(list(prompts), device=pipe.device, do_classifier_free_guidance=False)
    return {"hidden": hidden, "pooled": pooled}


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    told = in_precision(condition, pipe.unet.dtype)
    height, width = (side * int(pipe.vae_scale_factor) for side in latents.shape[-2:])
    # As in sampling: the picture was this size from the start, and nothing was cropped off it.
    sizes = torch.tensor([[height, width, 0, 0, height, width]], device=latents.device, dtype=pipe.unet.dtype)
    predicted: Tensor = pipe.unet(
        latents.to(pipe.unet.dtype),
        times,
        encoder_hidden_states=told["hidden"],
        added_cond_kwargs={"text_embeds": told["pooled"], "time_ids": sizes.expand(len(latents), -1)},
    ).sample
    return predicted


SDXL = Family(
    name="sdxl",
    pipelines=(
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
    ),
    encoders=("text_encoder", "text_encoder_2"),
    layout="sdxl",
    latents=autoencoding.encode,
    condition=_condition,
    predict=_predict,
    resolution=unet_resolution,
    half_on_gpu=True,
    guidance=5.0,
    negative=True,
)
