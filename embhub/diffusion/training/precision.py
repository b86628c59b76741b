"""How a step is computed on a device: in which precision, keeping which activations, in which order of additions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from embhub.diffusion.families import denoiser
from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import UsageError


def pictures_at_once(side: int, *, pixels: int = 2**21) -> int:
    """How many pictures of side x side a pipeline is given at a time at most: two of 1024 pixels, eight of 512.

    At 1024 pixels eight of them would want more memory in the autoencoder than the denoiser's weights take.
    """
    return max(1, pixels // side**2)


def precision(pipe: Pipeline, *, mixed: bool) -> AbstractContextManager[Any]:
    """bfloat16 where it is wanted and the device has it in autograd; parameters stay as they are."""
    if not mixed or pipe.device.type == "mps":
        return nullcontext()
    return torch.autocast(pipe.device.type, torch.bfloat16)


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
