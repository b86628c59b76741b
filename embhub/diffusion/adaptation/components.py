"""Which modules a component stands for, and which of their weights learn: all of them, or low-rank changes beside."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import nn

from embhub.diffusion.adaptation.plan import Plan
from embhub.diffusion.families import encoders, of_class
from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import UsageError
from embhub.options.component import Component

LORA_FILE = "pytorch_lora_weights.safetensors"
_DENOISERS, _AUTOENCODERS = ("unet", "transformer"), ("vae", "movq")
_ATTENTION = {
    "clip": ["q_proj", "k_proj", "v_proj", "out_proj"],
    "bert": ["query", "key", "value"],
    "t5": ["q", "k", "v", "o"],
    "": ["to_k", "to_q", "to_v", "to_out.0"],
}
"""What a LoRA changes, by the beginning of the encoder's kind; the last of a denoiser."""


def choose(pipe: Pipeline, plan: Plan) -> dict[str, nn.Module]:
    """The adapted modules by their places in the pipeline, such as `unet`; gradients are switched on where they learn.

    The table of token rows stays as it is, so that embeddings keep their meaning; so does the autoencoder's encoder,
    since the denoiser lives in its latents.

    Raises:
        UsageError: the pipeline has no such component, or takes no LoRA of it; peft is too old for it.
    """
    found: dict[str, nn.Module] = {}
    for component in plan.components:
        if component == "text-encoder":
            found |= {encoder.name: encoder.model for encoder in encoders(pipe)}
        else:
            found |= _find(pipe, _DENOISERS if component == "unet" else _AUTOENCODERS, component)
    for name, module in found.items():
        if plan.lora_rank is not None:
            _add_lora(name, module, plan.lora_rank)
        elif plan.trains_decoder:
            _open(module, only=("decoder.", "post_quant_conv."))
        else:
            _open(module, but=_table(module) if name.startswith("text_encoder") else None)
    return found


def check_lora(kind: str, components: Sequence[Component]) -> None:
    """Refuse a LoRA that the class of pipelines `kind` has no file for, before such a base is loaded.

    Raises:
        UsageError: diffusers writes no LoRA of one of the components for it; a class that no adapter knows is left to
            the loader.
    """
    if (family := of_class(kind)) is None or (pipeline := getattr(diffusers, kind, None)) is None:
        return
    save = getattr(pipeline, "save_lora_weights", None)
    known = inspect.signature(save).parameters if save else ()
    for component in components:
        places = family.encoders if component == "text-encoder" else (family.denoiser,)
        if missing := [place for place in places if f"{place}_lora_layers" not in known]:
            raise _no_lora(missing[0], kind)


def learned_weights(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """The weights that learn, by place and name."""
    return {
        f"{place}.{name}": weight
        for place, module in modules.items()
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }


def save_lora(pipe: Pipeline, modules: Mapping[str, nn.Module], folder: Path) -> None:
    """Write `pytorch_lora_weights.safetensors` in diffusers' own format.

    Raises:
        OSError: the disk is full.
    """
    layers = {
        f"{place}_lora_layers": {
            name: value.detach().cpu() for name, value in get_peft_model_state_dict(module).items()
        }
        for place, module in modules.items()
    }
    type(pipe).save_lora_weights(folder, weight_name=LORA_FILE, safe_serialization=True, **layers)


def _find(pipe: Pipeline, places: tuple[str, ...], component: str) -> dict[str, nn.Module]:
    for place in places:
        if isinstance(module := getattr(pipe, place, None), nn.Module):
            return {place: module}
    raise UsageError(f"a {type(pipe).__name__} has no {component} that is known here", "adapt another component")


def _table(module: Any) -> nn.Parameter:
    weight: nn.Parameter = module.get_input_embeddings().weight
    return weight


def _open(module: nn.Module, *, only: tuple[str, ...] = ("",), but: nn.Parameter | None = None) -> None:
    for name, weight in module.named_parameters():
        if name.startswith(only) and weight is not but:
            weight.requires_grad_(True)


def _no_lora(place: str, kind: str) -> UsageError:
    return UsageError(
        f"diffusers knows no LoRA of the {place} of a {kind}",
        "leave out --lora-rank, so that the weights themselves are adapted",
    )


def _add_lora(place: str, module: Any, rank: int) -> None:
    if not hasattr(module, "add_adapter"):
        raise _no_lora(place, type(module).__name__)
    kind = str(module.config.model_type) if place.startswith("text_encoder") else ""
    targets = next((names for start, names in _ATTENTION.items() if kind.startswith(start)))
    config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=targets)
    try:
        with torch.no_grad():
            module.add_adapter(config)
    except ValueError as error:  # transformers' own check of peft's version, where it is newer than peft
        raise UsageError(
            f"a LoRA of the {place} cannot be added: {error}", "pip install --upgrade peft, or leave out --lora-rank"
        ) from error
    # peft opens what it added and nothing else; in half precision AdamW would lose small steps
    for weight in module.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
