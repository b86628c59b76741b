"""Losses of the denoiser with a compact adapter and without: what the quick attacks on one look at."""

from __future__ import annotations

from torch import Tensor

from embhub.artifact.embedding import Embedding
from embhub.diffusion.attacks.evidence import Evidence, Suspect, measure_losses
from embhub.diffusion.drawing.adapters import switched_off
from embhub.diffusion.drawing.loading import load_into


def measure_adapter(suspect: Suspect, adapter: Embedding) -> Evidence:
    """Plug the adapter in for good, and measure each image's losses with it and with it switched off.

    The prompt is the same both times, so that the difference is the adapter's alone.
    """
    load_into(suspect.pipe, adapter)

    def losses() -> Tensor:
        return measure_losses(
            suspect.pipe, suspect.latents, suspect.draws, caption=suspect.caption.replace("{}", suspect.token),
            token=suspect.token, rows=None,
        )  # fmt: skip

    with_adapter = losses()
    with switched_off(suspect.pipe):
        return Evidence(with_adapter, losses(), suspect=suspect)
