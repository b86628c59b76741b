"""Losses of the denoiser with a compact adapter and without: what the attacks on one look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from embhub.artifact.embedding import Embedding
from embhub.diffusion.attacks.evidence import Draws, Evidence, Suspect, measure_losses
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation.adapters import plug_in, plug_in_matrices, switched_off, unplug
from embhub.diffusion.generation.loading import check_base

_SHADOW = "embhub-shadow"


def measure_adapter(suspect: Suspect, adapter: Embedding) -> Evidence:
    """Measure each image's losses with the adapter and without; the pipeline is left as it was.

    The prompt is the same both times, so that the difference is the adapter's alone.
    """

    def losses() -> Tensor:
        return measure(suspect.pipe, suspect.latents, suspect.draws, caption=suspect.caption, token=suspect.token)

    check_base(suspect.pipe, adapter)
    name = plug_in(suspect.pipe, adapter)
    try:
        with_adapter = losses()
        with switched_off(suspect.pipe):
            return Evidence(with_adapter, losses(), suspect=suspect)
    finally:
        unplug(suspect.pipe, name)


def measure_matrices(
    pipe: Pipeline, matrices: Mapping[str, NDArray[Any]], latents: Tensor, draws: Draws, *, caption: str, token: str
) -> Tensor:
    """Loss of each image on each draw, (N, D) float64, with the matrices of an adapter."""
    plug_in_matrices(pipe, matrices, _SHADOW)
    try:
        return measure(pipe, latents, draws, caption=caption, token=token)
    finally:
        unplug(pipe, _SHADOW)


def measure(pipe: Pipeline, latents: Tensor, draws: Draws, *, caption: str, token: str) -> Tensor:
    """Loss of each image on each draw, (N, D) float64, with the token as plain text and the U-Net as it is."""
    return measure_losses(pipe, latents, draws, caption=caption.replace("{}", token), token=token, rows=None)
