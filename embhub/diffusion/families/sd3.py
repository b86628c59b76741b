"""Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv 2403.03206): a rectified flow, told by two CLIP encoders and
T5."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.family import Condition, Family, in_precision, transformer_resolution
from embhub.diffusion.families.pipeline import Pipeline


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    hidden, _, pooled, _ = pipe.encode_prompt(
        list(prompts), None, None, device=pipe.device, do_classifier_free_guidance=False
    )
    return {"hidden": hidden, "pooled": pooled}


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    told = in_precision(condition, pipe.transformer.dtype)
    predicted: Tensor = pipe.transformer(
        hidden_states=latents.to(pipe.transformer.dtype),
        timestep=times,
        encoder_hidden_states=told["hidden"],
        pooled_projections=told["pooled"],
    ).sample
    return predicted


SD3 = Family(
    name="sd3",
    pipelines=(
        "StableDiffusion3Pipeline",
        "StableDiffusion3Img2ImgPipeline",
        "StableDiffusion3InpaintPipeline",
    ),
    encoders=("text_encoder", "text_encoder_2", "text_encoder_3"),
    layout="sd3",
    latents=autoencoding.encode,
    condition=_condition,
    predict=_predict,
    resolution=transformer_resolution,
    denoiser="transformer",
    half_on_gpu=True,
    longest={"text_encoder_3": 256},
    guidance=7.0,
    negative=True,
    steps=28,
)
