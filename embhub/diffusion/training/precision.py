"""How a step is computed on a device: in which precision, keeping which activations, in which order of additions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from embhub.diffusion.families import denoiser, device_of
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.instructions import bfloat16_instructions
from embhub.errors import UsageError
from embhub.options.precision import Precision


def pictures_at_once(side: int, *, pixels: int = 2**21) -> int:
    """How many pictures of side x side a pipeline is given at a time at most: two of 1024 pixels, eight of 512.

    At 1024 pixels eight of them would want more memory in the autoencoder than the denoiser's weights take.
    """
    return max(1, pixels // side**2)


def in_bfloat16(device: str, wanted: Precision = "auto") -> bool:
    """Whether a training on `device`, such as `cpu` or `cuda`, computes in bfloat16.

    `auto` asks what the device has instructions for and measures nothing, so that the same machine and seed give the
    same file. Trainings, audits, the workshop of the bases and benchmarks all ask here.

    Raises:
        UsageError: bfloat16 on a device on which torch does not train in it.
    """
    kind = device.partition(":")[0]
    if wanted == "float32":
        return False
    if kind == "mps":
        if wanted == "bfloat16":
            raise UsageError("no training in bfloat16 on this mps", "give --precision float32")
        return False
    if wanted == "bfloat16":
        return True
    return bool(bfloat16_instructions()) if kind == "cpu" else _gpu_has_bfloat16()


def _gpu_has_bfloat16() -> bool:
    """Whether the GPU has instructions for bfloat16; older ones emulate it."""
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)


def precision(pipe: Pipeline, *, mixed: bool) -> AbstractContextManager[Any]:
    """bfloat16 where `mixed`, as `in_bfloat16` has chosen; parameters stay as they are."""
    if not mixed:
        return nullcontext()
    return torch.autocast(device_of(pipe).type, torch.bfloat16)


@contextmanager
def recomputed(pipe: Pipeline, wanted: bool) -> Iterator[None]:
    """Keep few activations of the denoiser and compute the others again on the way back (Chen et al. 2016, arXiv
    1604.06174).

    Raises:
        UsageError: a denoiser that cannot.
    """
    model = denoiser(pipe)
    if wanted and not model._supports_gradient_checkpointing:
        raise UsageError(
            f"a {type(model).__name__} has no gradient checkpointing",
            "leave it out, and lower --micro-batch-size instead",
        )
    if not wanted or model.is_gradient_checkpointing:
        yield
        return
    model.enable_gradient_checkpointing()
    try:
        yield
    finally:
        model.disable_gradient_checkpointing()


@contextmanager
def repeatable(pipe: Pipeline) -> Iterator[None]:
    """On a GPU, ask torch for kernels that add in a fixed order; a processor's do."""
    if pipe.device.type != "cuda":
        yield
        return
    flags, cudnn = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark, torch.is_deterministic_algorithms_warn_only_enabled())
    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before[:2]
        torch.use_deterministic_algorithms(flags, warn_only=before[2])
