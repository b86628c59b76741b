"""How far is one image from another: in pixels, in the base's latents, and in features that its autoencoder computes.

No network is fetched: LPIPS's own weights are not at hand, so the features are those of the base's autoencoder, which
was trained to keep what images look like. Their distance says likeness as that network sees it, not as people do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from embhub.diffusion.inversion import encode_images
from embhub.errors import UsageError

Distances = NDArray[np.float64]

_SIDE = 64
_PLACES = 8
_BATCH = 8  # as `encode_images` splits them: one pass of the encoder serves both
_SHIFTS = [(dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2)]  # the middle one is no shift


class Gallery:
    """Images to be found again, (M, 3, H, W) float32 in [-1, 1] at the base's resolution: looked at once.

    Raises:
        UsageError: a base without an autoencoder whose encoder is known.
    """

    def __init__(self, pipe: Any, references: Tensor) -> None:
        self._pipe = pipe
        self._sides = [references, references.flip(-1)]
        self._looks = [_look(pipe, side) for side in self._sides]

    def measure(self, images: Tensor) -> dict[str, Distances]:
        """Distances (N, M) of images (N, 3, H, W) on each measure of `embhub.copies.report.MEASURES`.

        Of an image and its mirror image the nearer counts.
        """
        latents, features = _look(self._pipe, images)
        return {
            "pixel": _least([pixel(images, side) for side in self._sides]),
            "latent": _least([_euclidean(latents, look[0]) for look in self._looks]),
            "perceptual": _least([_euclidean(features, look[1]) for look in self._looks]),
        }


def pixel(images: Tensor, references: Tensor) -> Distances:
    """Root mean square of the difference, in half ranges, (N, M); the least over shifts by one pixel."""
    grey = torch.equal(references[:, :1].expand_as(references), references)
    small, others = _shrink(images, grey), _shrink(references, grey)
    height, width = small.shape[-2] - 2, small.shape[-1] - 2
    inner = small[..., 1:-1, 1:-1].flatten(1)
    moved = [others[..., dy : dy + height, dx : dx + width].flatten(1) for dy, dx in _SHIFTS]
    return _least([_euclidean(inner, part) for part in moved]) / float(np.sqrt(inner.shape[1]))


def _look(pipe: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (N, L), and features (N, F) that the autoencoder computes on the way to them.

    Features are every stage of the encoder, each place's channels to unit length, averaged over 8 x 8 places: after
    Zhang et al. 2018, arXiv 1801.03924, without weights learned from people.
    """
    autoencoder = getattr(pipe, "vae", None) or getattr(pipe, "movq", None)
    encoder = getattr(autoencoder, "encoder", None)
    if encoder is None or not hasattr(encoder, "down_blocks"):
        raise UsageError("this base has no autoencoder whose features can be compared", "name a base with one")
    latents, features = [], []
    for part in torch.split(images, _BATCH):
        with _listening(encoder) as heard:
            latents.append(encode_images(pipe, part).flatten(1).cpu())
        features.append(torch.cat([_pool(stage) for stage in heard], dim=1).cpu())
    return torch.cat(latents), torch.cat(features)


@contextmanager
def _listening(encoder: Any) -> Iterator[list[Tensor]]:
    heard: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _module, _given, out: heard.append(out.float()))
        for block in [*encoder.down_blocks, *([encoder.mid_block] if encoder.mid_block is not None else [])]
    ]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


def _pool(stage: Tensor) -> Tensor:
    places = min(_PLACES, stage.shape[-1])
    unit = stage / (stage.norm(dim=1, keepdim=True) + 1e-10)
    pooled = F.adaptive_avg_pool2d(unit, places)
    return pooled.flatten(1) / places


def _shrink(images: Tensor, grey: bool) -> Tensor:
    """At most 64 pixels a side; one channel where the references are grey."""
    images = images.mean(1, keepdim=True) if grey else images
    return F.interpolate(images, (_SIDE, _SIDE), mode="area") if images.shape[-1] > _SIDE else images


def _euclidean(left: Tensor, right: Tensor) -> Distances:
    # In float64: the shortcut by inner products loses an exact copy's distance of zero in rounding otherwise.
    found: Distances = torch.cdist(left.double().cpu(), right.double().cpu()).numpy()
    return found


def _least(tables: list[Distances]) -> Distances:
    found: Distances = np.min(np.stack(tables), axis=0)
    return found
