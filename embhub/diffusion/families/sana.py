"""SANA (Xie et al. 2024, arXiv 2410.10629): a flow in the latents of a deep-compression autoencoder, told by Gemma 2.

The pipeline puts an instruction before each prompt, and tells its denoiser only the tokens that follow it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.family import Condition, Family, in_precision, transformer_resolution
from embhub.diffusion.families.pipeline import Pipeline


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    hidden, mask, _, _ = pipe.encode_prompt(
        list(prompts),
        do_classifier_free_guidance=False,
        device=pipe.device,
        complex_human_instruction=_instruction(pipe),
    )
    return {"hidden": hidden, "mask": mask}


def _instruction(pipe: Pipeline) -> Any:
    """What the pipeline's own call puts before a prompt."""
    return inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"].default


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    told = in_precision(condition, pipe.transformer.dtype)
    predicted: Tensor = pipe.transformer(
        latents.to(pipe.transformer.dtype),
        encoder_hidden_states=told["hidden"],
        encoder_attention_mask=told["mask"],
        timestep=times * pipe.transformer.config.timestep_scale,
    ).sample
    return predicted[:, : latents.shape[1]]


SANA = Family(
    name="sana",
    pipelines=("SanaPipeline",),
    encoders=("text_encoder",),
    layout="components",
    latents=autoencoding.encode,
    condition=_condition,
    predict=_predict,
    resolution=transformer_resolution,
    denoiser="transformer",
    half_on_gpu=True,
    longest={"text_encoder": 298},  # of the 300 places that are told, two are of the instruction
    guidance=4.5,
    negative=True,
    steps=20,
    passes_image_size=True,
    call={"use_resolution_binning": False},
)
