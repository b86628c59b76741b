"""FLUX.2 klein (Black Forest Labs 2026): a flow over packed latents, told by three layers of Qwen3, a chat model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.chat import template_tokens
from embhub.diffusion.families.family import Condition, Family, autoencoder_resolution, in_precision
from embhub.diffusion.families.pipeline import Pipeline


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    hidden, _ = pipe.encode_prompt(list(prompts), device=pipe.device)
    return {"hidden": hidden}


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    told = in_precision(condition, pipe.transformer.dtype)
    noisy = latents.to(pipe.transformer.dtype)
    predicted: Tensor = pipe.transformer(
        hidden_states=pipe._pack_latents(noisy),
        timestep=times / 1000,
        guidance=None,
        encoder_hidden_states=told["hidden"],
        txt_ids=pipe._prepare_text_ids(told["hidden"]).to(noisy.device),
        img_ids=pipe._prepare_latent_ids(noisy).to(noisy.device),
    ).sample
    return predicted.transpose(1, 2).reshape(latents.shape)


FLUX2 = Family(
    name="flux2-klein",
    pipelines=("Flux2KleinPipeline",),
    encoders=("text_encoder",),
    layout="components",
    latents=autoencoding.encode,
    condition=_condition,
    predict=_predict,
    resolution=autoencoder_resolution,
    denoiser="transformer",
    half_on_gpu=True,
    longest={"text_encoder": 512},
    overhead=lambda pipe: template_tokens(pipe, enable_thinking=False),
    guidance=4.0,
    steps=50,
    passes_image_size=True,
)
