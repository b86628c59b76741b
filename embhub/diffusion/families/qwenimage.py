"""Qwen-Image (Wu et al. 2025, arXiv 2508.02324): a flow in the latents of a video autoencoder, told by Qwen2.5-VL.

The pipeline puts a system message before each prompt and cuts what the encoder makes of it off again."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.family import Condition, Family, in_precision
from embhub.diffusion.families.pipeline import Pipeline

_SIDE = 1024
"""Pixels; no configuration has a word for it."""
_LONGEST = 512
"""Tokens that its call keeps after the system message."""


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    hidden, mask = pipe.encode_prompt(list(prompts), device=pipe.device, max_sequence_length=_LONGEST)
    whole = torch.ones(hidden.shape[:2], dtype=torch.long, device=hidden.device)
    return {"hidden": hidden, "mask": whole if mask is None else mask}


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    told, model = in_precision(condition, pipe.transformer.dtype), pipe.transformer
    if len(latents) > 1 and "txt_seq_lens" in inspect.signature(model.forward).parameters:
        # Before its mask was read (diffusers 0.36), texts of several lengths could not be told in one call.
        places = [slice(one, one + 1) for one in range(len(latents))]
        alone = [{name: part[at] for name, part in told.items()} for at in places]
        return torch.cat([_predict(pipe, latents[at], times[at], own) for at, own in zip(places, alone, strict=True)])
    return _predict_together(pipe, latents, times, told)


def _predict_together(pipe: Pipeline, latents: Tensor, times: Tensor, told: Condition) -> Tensor:
    (count, channels, height, width), model = latents.shape, pipe.transformer
    more: dict[str, Any] = {}
    if "txt_seq_lens" in inspect.signature(model.forward).parameters:
        length = int(told["mask"].sum())
        told = {name: part[:, :length] for name, part in told.items()}
        more = {"txt_seq_lens": [length]}
    noisy = latents.to(model.dtype)
    predicted: Tensor = model(
        hidden_states=pipe._pack_latents(noisy, count, channels, height, width),
        timestep=times / 1000,
        guidance=torch.ones(count, device=noisy.device) if model.config.guidance_embeds else None,
        encoder_hidden_states_mask=None if bool(told["mask"].all()) else told["mask"],
        encoder_hidden_states=told["hidden"],
        img_shapes=[[(1, height // 2, width // 2)]] * count,
        **more,
    ).sample
    scale = int(pipe.vae_scale_factor)
    unpacked: Tensor = pipe._unpack_latents(predicted, height * scale, width * scale, scale)
    return unpacked.squeeze(2)


def _resolution(pipe: Pipeline) -> int:
    """A base fine-tuned at another size may say so: `sample_size`, in latents, in its transformer's configuration."""
    side = pipe.transformer.config.get("sample_size")
    return _SIDE if side is None else int(side) * int(pipe.vae_scale_factor)


def _overhead(pipe: Pipeline) -> int:
    """Tokens of the template that are kept: those after the prompt."""
    whole = len(pipe.tokenizer(pipe.prompt_template_encode.format("")).input_ids)
    return max(0, whole - int(pipe.prompt_template_encode_start_idx))


def _ask(guidance: float, negative: str | None, count: int) -> dict[str, Any]:
    """Guidance is of two prompts only where there is a negative one, as its makers' own examples give it."""
    return {"true_cfg_scale": guidance, "negative_prompt": [negative or " "] * count if guidance > 1 else None}


QWENIMAGE = Family(
    name="qwen-image",
    pipelines=("QwenImagePipeline", "QwenImageImg2ImgPipeline"),
    encoders=("text_encoder",),
    layout="components",
    latents=autoencoding.encode,
    condition=_condition,
    predict=_predict,
    resolution=_resolution,
    denoiser="transformer",
    half_on_gpu=True,
    longest={"text_encoder": _LONGEST},
    overhead=_overhead,
    guidance=4.0,
    ask=_ask,
    negative=True,
    steps=50,
    passes_image_size=True,
    cuts_context=True,
)
