"""Applying the options of sampling to a pipeline: scheduler, number format, integers, compilation."""

from __future__ import annotations

import os
import shutil
import warnings
from typing import Any

import diffusers
import torch

from embhub.diffusion.bases import live_fingerprint
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.bases.pipelines import choose_device, load_pipeline
from embhub.diffusion.families import denoiser, is_flow
from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import UsageError
from embhub.options.sampling import Sampling, Scheduler

_SCHEDULERS: dict[Scheduler, tuple[str, dict[str, str]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpm++-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
_OF_FLOWS = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler")
"""Those that can follow a flow, of the bases whose own scheduler is one of them."""
_UNQUANTIZED = "t_embedder."
"""How the names of layers begin that stay as they are: Z-Image asks the first of these two for its weight's dtype."""


def load_for_sampling(found: FoundBase, sampling: Sampling, *, device: str = "auto") -> Pipeline:
    """The base's pipeline as it is to sample.

    Raises:
        UsageError: a scheduler that the base does not take, a number format that the device has not, or no compiler.
            Integers on another device than a processor, or with another option that they cannot be combined with.
    """
    place = choose_device(device)
    if sampling.dtype == "float16" and place.type == "cpu":
        raise UsageError("float16 on a processor is slower than float32", "use --dtype bfloat16 or float32")
    if sampling.compiled and place.type == "cpu" and not _has_compiler():
        raise UsageError("torch.compile needs a C++ compiler on a processor", "install g++, or leave out --compile")
    if sampling.quantize is not None:
        _check_quantizable(sampling, place)
    dtype = getattr(torch, sampling.dtype) if sampling.dtype else None
    pipe = load_pipeline(found, device=device, dtype=dtype)
    if sampling.scheduler is not None:
        set_scheduler(pipe, sampling.scheduler)
    if sampling.quantize is not None:
        quantize(pipe)
    if sampling.compiled:
        denoiser(pipe).compile()
    return pipe


def _check_quantizable(sampling: Sampling, place: torch.device) -> None:
    if place.type != "cpu":
        raise UsageError(
            f"--quantize computes on a processor, not on {place.type}", "use --dtype bfloat16 there, or --device cpu"
        )
    if sampling.dtype not in (None, "float32"):
        raise UsageError(f"--quantize starts from float32, not from {sampling.dtype}", "leave out --dtype")
    if sampling.compiled:
        raise UsageError("a quantized denoiser cannot be compiled", "leave out --compile or --quantize")
    if torch.backends.quantized.engine == "none":
        raise UsageError("this build of torch has no quantized linear layers", "leave out --quantize")


def quantize(pipe: Pipeline) -> None:
    """Let the denoiser's linear layers compute in 8-bit integers: weights once, what they are given at every step."""
    live_fingerprint.remember_denoiser(pipe)
    part, how = denoiser(pipe), torch.ao.quantization.default_dynamic_qconfig
    layers = [name for name, layer in part.named_modules() if type(layer) is torch.nn.Linear]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # torch.ao is to move into a package of its own
        replace: Any = torch.ao.quantization.quantize_dynamic
        replace(part, {name: how for name in layers if not name.startswith(_UNQUANTIZED)}, inplace=True)


def set_scheduler(pipe: Pipeline, name: Scheduler) -> None:
    """Exchange the pipeline's scheduler for another that reads the same noise schedule.

    Raises:
        UsageError: the base's pipeline does not take it, as those of flow models do not.
    """
    kind, settings = _SCHEDULERS[name]
    wanted, own = getattr(diffusers, kind), pipe.scheduler
    if wanted not in _compatible(own) or (is_flow(pipe) and kind not in _OF_FLOWS):
        raise UsageError(
            f"this base is sampled with {type(own).__name__}, which {name} cannot replace", "leave out --scheduler"
        )
    pipe.scheduler = wanted.from_config(own.config, **settings)


def _compatible(own: Any) -> set[type[Any]]:
    """Schedulers that read the same configuration. diffusers does not list LCM's among them, which does."""
    takes, usual = {type(own), *own.compatibles}, diffusers.DDIMScheduler
    if takes & {usual, diffusers.LCMScheduler}:
        takes |= {usual, diffusers.LCMScheduler, *usual.from_config(own.config).compatibles}
    return takes


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)
