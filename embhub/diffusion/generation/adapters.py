"""Plugging a compact adapter into a pipeline: diffusers' own loader, given checked numbers and never a path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embhub.artifact.embedding import Embedding
from embhub.diffusion.bases.found import quiet
from embhub.diffusion.bases.live_fingerprint import ADAPTER
from embhub.errors import ArtifactError, UsageError


class AdapterCollisionError(ArtifactError):
    """The pipeline has an adapter of this name already."""


def plug_in(pipe: Any, adapter: Embedding) -> str:
    """Load an adapter that fits the pipeline, beside those that are there; returns its name in the pipeline.

    Raises:
        UsageError: a pipeline without a U-Net that takes LoRA weights.
        AdapterCollisionError: it is loaded already.
    """
    if not hasattr(pipe, "load_lora_weights") or getattr(pipe, "unet", None) is None:
        raise UsageError(f"a {type(pipe).__name__} takes no adapter", f"load {adapter.base_name}")
    name = ADAPTER + adapter.token.strip("<>")
    loaded = names(pipe)
    if name in loaded:
        raise AdapterCollisionError(
            f"the pipeline already has an adapter for {adapter.token}", "load into a fresh pipeline"
        )
    plug_in_matrices(pipe, adapter.tensors, name, beside=loaded)
    return name


def names(pipe: Any) -> list[str]:
    """The adapters that are plugged into a pipeline."""
    return list(getattr(getattr(pipe, "unet", None), "peft_config", {}))


def plug_in_matrices(pipe: Any, matrices: Mapping[str, NDArray[Any]], name: str, *, beside: Sequence[str] = ()) -> None:
    """Load an adapter's checked matrices, under the names that diffusers loads, `beside` those that are there."""
    numbers = {key: torch.from_numpy(np.array(values, dtype=np.float32)) for key, values in matrices.items()}
    with quiet(), torch.random.fork_rng(devices=[]):  # peft draws numbers that are then replaced
        pipe.load_lora_weights(numbers, adapter_name=name)
        pipe.set_adapters([*beside, name])
    pipe.unet.requires_grad_(False)


def unplug(pipe: Any, name: str) -> None:
    """Take an adapter out again. Without another one, the U-Net's layers are its own again, unwrapped."""
    if set(pipe.unet.peft_config) - {name}:
        pipe.delete_adapters(name)
    else:
        pipe.unload_lora_weights()


@contextmanager
def switched_off(pipe: Any) -> Iterator[None]:
    """The pipeline as it is without its adapters, while open."""
    pipe.unet.disable_adapters()
    try:
        yield
    finally:
        pipe.unet.enable_adapters()
