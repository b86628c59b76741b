"""How near drawn images come to real ones, in the features of a network that was taught the site's own real images.

These are not Inception's features, so the figures compare within one report only: with the row of the real training
images, which says what images that are real come to. Three questions are kept apart (Kynkäänniemi et al. 2019, arXiv
1904.06991): whether drawn images look real (precision), whether every kind of real image occurs among them (recall),
and how far the two distributions are from each other (kernel distance, KID; Bińkowski et al. 2018, arXiv 1801.01401).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from embhub.diffusion.evaluation.cells import Pictures
from embhub.diffusion.evaluation.classifier import Classifier
from embhub.diffusion.evaluation.networks import last_layer

NEIGHBOURS = 3
SUBSETS, LARGEST_SUBSET = 100, 100
_FEWEST = NEIGHBOURS + 1
_MOST = 2_000  # images compared pairwise
_TINY = 1e-12


@dataclass(frozen=True)
class Likeness:
    """`kid` is the mean over random subsets of `subset` images, `kid_sd` its standard deviation over them.

    `diversity` is the mean distance between two drawn images, as a share of that between two real ones: 1 is as
    diverse. `images` were compared, of each side as many.
    """

    images: int
    kid: float
    kid_sd: float
    subset: int
    precision: float
    recall: float
    diversity: float


class Features(nn.Module):
    """What goes into the last layer of a taught classifier, (N, d), with the spread of real images as the unit.

    Without the unit the cubic kernel would measure how large a network happens to make its numbers. It is one for all
    d, since a feature that hardly moves among the real images would else outweigh all others.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, judge: Classifier, real: Pictures) -> None:
        super().__init__()
        self._judge, self._layer = judge, last_layer(judge.network)
        raw = self._raw(real)
        self.register_buffer("mean", raw.mean(0))
        self.register_buffer("spread", raw.var(0).mean().sqrt().clamp_min(_TINY))

    def forward(self, images: Tensor) -> Tensor:
        """Features of uint8 images (N, H, W, 3)."""
        return (self._raw(images.numpy()) - self.mean) / self.spread

    @torch.no_grad()
    def _raw(self, images: Pictures) -> Tensor:
        found: list[Tensor] = []
        hook = self._layer.register_forward_pre_hook(lambda _, given: found.append(given[0].flatten(1).float().cpu()))
        try:
            self._judge.network.eval()
            for batch in self._judge.batches(images):
                self._judge.network(batch)
        finally:
            hook.remove()
        return torch.cat(found)


def compare(features: Features, pictures: Mapping[str, Pictures], real: Pictures) -> dict[str, Likeness]:
    """The likeness of each set of images to the `real` ones (of other patients); sets under four images are left out.

    Both sides are brought to one number of images, since each figure depends on it.
    """
    found = {}
    for name, images in pictures.items():
        count = min(len(images), len(real), _MOST)
        if count < _FEWEST:
            continue
        drawn, true = (_some(part, count) for part in (images, real))
        mean, deviation, subset = _kernel_distance(features, drawn, true)
        of_drawn, of_true = features(drawn), features(true)
        between = float(torch.pdist(of_true).mean())
        found[name] = Likeness(
            images=count,
            kid=mean,
            kid_sd=deviation,
            subset=subset,
            precision=share_inside(of_drawn, of_true),
            recall=share_inside(of_true, of_drawn),
            diversity=float(torch.pdist(of_drawn).mean()) / between if between else float("nan"),
        )
    return found


def share_inside(points: Tensor, manifold: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Share of `points` (N, d) within reach of some point of `manifold` (M, d): no farther than its k-th neighbour."""
    reach = torch.cdist(manifold, manifold).kthvalue(neighbours + 1, dim=1).values  # the nearest is the point itself
    return float((torch.cdist(points, manifold) <= reach).any(1).float().mean())


def _kernel_distance(features: Features, drawn: Tensor, real: Tensor) -> tuple[float, float, int]:
    from torchmetrics.image.kid import KernelInceptionDistance

    subset = max(2, min(LARGEST_SUBSET, len(real) // 2))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # that all features are kept in memory
        torch.manual_seed(0)
        measure = KernelInceptionDistance(feature=features, subsets=SUBSETS, subset_size=subset)
        measure.update(real, real=True)
        measure.update(drawn, real=False)
        mean, deviation = measure.compute()
    return float(mean), float(deviation), subset


def _some(images: Pictures, count: int) -> Tensor:
    chosen = np.random.Generator(np.random.PCG64(0)).permutation(len(images))[:count]
    return torch.from_numpy(np.ascontiguousarray(images[np.sort(chosen)]))
