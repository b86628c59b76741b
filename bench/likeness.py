"""How alike two sets of films are, to a small network that learned from real films: KID, but not Inception's.

The figures compare arms of one study. They do not compare with a published KID, whose features are another network's.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from bases.workshop import xray
from embhub.diffusion.evaluation import classifier

SUBSETS = 100


class FilmFeatures(nn.Module):
    """Features (N, d) of uint8 pictures (N, 3, H, W): what a classifier of films sees before it decides."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        assert isinstance(network, nn.Sequential) and isinstance(network[-1], nn.Linear)
        self.body = network[:-1].eval()

    @classmethod
    def learn(cls, films: NDArray[np.uint8], labels: NDArray[np.int64]) -> FilmFeatures:
        """Features of a classifier of the three labels of `xray.LABELS`, trained on films (N, H, W, 3)."""
        return cls(classifier.fit(films, labels, classes=xray.LABELS, steps=400, seed=11).network)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """The features."""
        values = pictures.float() / 127.5 - 1
        if values.shape[-1] != 64:
            values = nn.functional.interpolate(values, size=(64, 64), mode="area")
        found: Tensor = self.body(values.contiguous(memory_format=torch.channels_last))
        return found


def kernel_distance(
    features: FilmFeatures, real: NDArray[np.uint8], drawn: NDArray[np.uint8], *, size: int = 60
) -> dict[str, float]:
    """Mean and standard deviation, over subsets of `size` pictures, of the kernel distance (Bińkowski et al. 2018,
    arXiv 1801.01401). The deviation is of the draw of subsets, not of the training."""
    size = min(size, len(real) - 1, len(drawn) - 1)
    metric = KernelInceptionDistance(feature=features, subsets=SUBSETS, subset_size=size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for pictures, is_real in ((real, True), (drawn, False)):
            metric.update(torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2), real=is_real)
        mean, deviation = metric.compute()
    return {"mean": round(float(mean), 4), "sd": round(float(deviation), 4), "subset": size}
