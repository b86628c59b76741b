"""Writing a base as a Stable Diffusion pipeline folder that stock diffusers loads: fp16 safetensors, about 14 MB."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from embhub.diffusion.adaptation.base_training.noising import noise_schedule
from embhub.diffusion.bases.found import quiet

_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export(
    folder: Path,
    *,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    autoencoder: AutoencoderKL,
    denoiser: UNet2DConditionModel,
    average: list[Tensor],
    facts: Mapping[str, Any],
    zero_terminal_snr: bool = False,
) -> None:
    """Write the pipeline with the averaged weights to `folder`, beside `facts` as `base.json`; replaces what was there.

    Sampling ends at the schedule's smallest noise level instead of at none, which smooths less.

    The models that were passed in are left as they are.
    """
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    averaged = copy.deepcopy(denoiser)
    with torch.no_grad():
        for value, mean in zip(averaged.parameters(), average, strict=True):
            value.copy_(mean)
    with quiet():
        for name, model in (
            ("unet", averaged),
            ("vae", copy.deepcopy(autoencoder)),
            ("text_encoder", _unhooked(encoder)),
        ):
            model.half().save_pretrained(str(partial / name))
    tokenizer.save_pretrained(str(partial / "tokenizer"))
    DPMSolverMultistepScheduler.from_config(
        noise_schedule(zero_terminal_snr).config, final_sigmas_type="sigma_min"
    ).save_pretrained(str(partial / "scheduler"))
    _say_float32(partial / "text_encoder" / "config.json")
    (partial / "model_index.json").write_text(json.dumps(_INDEX, indent=2) + "\n", encoding="utf-8")
    (partial / "base.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _unhooked(encoder: CLIPTextModel) -> CLIPTextModel:
    """A copy of the encoder without the hook that training puts on its table."""
    table = encoder.get_input_embeddings()
    hooks = table._forward_hooks.copy()
    table._forward_hooks.clear()
    try:
        return copy.deepcopy(encoder)
    finally:
        table._forward_hooks.update(hooks)


def _say_float32(path: Path) -> None:
    """Have transformers load the half-precision file as float32, as diffusers loads the other two."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
