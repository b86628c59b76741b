"""Stable Diffusion 1 and 2 and what has their shape: the built-in bases, and U-Nets with a BERT encoder (the kind of
MSDM). They predict noise, v or the sample, as their scheduler says."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from embhub.diffusion.families import autoencoding
from embhub.diffusion.families.family import Condition, Family
from embhub.diffusion.families.pipeline import Pipeline


def _condition(pipe: Pipeline, prompts: Sequence[str]) -> Condition:
    hidden, _ = pipe.encode_prompt(list(prompts), pipe.text_encoder.device, 1, do_classifier_free_guidance=False)
    return {"hidden": hidden}


def _predict(pipe: Pipeline, latents: Tensor, times: Tensor, condition: Condition) -> Tensor:
    noisy = latents.to(next(pipe.unet.parameters()).dtype)  # `unet.dtype` walks through every module
    predicted: Tensor = pipe.unet(noisy, times, encoder_hidden_states=condition["hidden"]).sample
    return predicted


def unet_resolution(pipe: Pipeline) -> int:
    """Side of the images of a pipeline whose U-Net states the side of its latents."""
    return int(pipe.unet.config.sample_size) * int(pipe.vae_scale_factor)


SD = Family(
    name="sd",
    pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
    encoders=("text_encoder",),
    layout="sd",
    latents=autoencoding.encode,
    condition=_condition,
    predict=_predict,
    resolution=unet_resolution,
    negative=True,
)
