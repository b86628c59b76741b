"""How near drawn images come to real ones, in the features of a network that was taught real images, or of another.

These are not Inception's features. The row of other real images says what real images come to. Three questions are
kept apart: whether drawn images look real (precision, density), whether every kind of real image occurs among them
(recall, coverage), and how far the two distributions are from each other (kernel distances: KID, Bińkowski et al. 2018,
arXiv 1801.01401, cubic kernel; CMMD's, Jayasumana et al. 2024, arXiv 2401.09603, Gaussian kernel, here as wide as the
median distance of two real images; FD, the Fréchet distance of Heusel et al. 2017, arXiv 1706.08500, which grows as
images become fewer). Precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991) let one outlying real image
vouch for a whole region; density and coverage (Naeem et al. 2020, arXiv 2002.09797) do not.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from embhub.diffusion.evaluation.cells import Pictures
from embhub.diffusion.evaluation.classifier import Classifier
from embhub.diffusion.evaluation.networks import last_layer

NEIGHBOURS, DENSE_NEIGHBOURS = 3, 5
SUBSETS, LARGEST_SUBSET = 100, 100
_FEWEST = NEIGHBOURS + 1
_MOST = 2_000  # images compared pairwise
_TINY = 1e-12


@dataclass(frozen=True)
class Likeness:
    """`kid` is the mean over random subsets of `subset` images, `kid_sd` its standard deviation over them.

    `diversity` is the mean distance between two drawn images, as a share of that between two real ones: 1 is as
    diverse; None where the features of the real ones do not differ. `images` were compared, of each side as many.
    `density` is how many of the expected real images have a drawn image within reach, 1 for real ones; `coverage` is
    the share of real images with a drawn one within reach. `cmmd` is the squared distance under a Gaussian kernel,
    `fd` the squared one of two Gaussians with the mean and covariance of each side.
    """

    images: int
    kid: float
    kid_sd: float
    subset: int
    precision: float
    recall: float
    diversity: float | None
    cmmd: float
    fd: float
    density: float
    coverage: float


Extract = Callable[[Pictures], Tensor]
"""Features (N, d) of uint8 images (N, H, W, 3)."""


class Features(nn.Module):
    """What goes into the last layer of a taught classifier, or what a function gives, with the spread of real images as
    the unit: (N, d).

    Without the unit the cubic kernel would measure how large a network happens to make its numbers. It is one for all
    d, since a feature that hardly moves among the real images would else outweigh all others.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, source: Classifier | Extract, real: Pictures) -> None:
        super().__init__()
        self._extract = functools.partial(before_last_layer, source) if isinstance(source, Classifier) else source
        raw = self._raw(real)
        self.register_buffer("mean", raw.mean(0))
        self.register_buffer("spread", raw.var(0).mean().sqrt().clamp_min(_TINY))

    def forward(self, images: Tensor) -> Tensor:
        """Features of uint8 images (N, H, W, 3)."""
        return (self._raw(images.numpy()) - self.mean) / self.spread

    @torch.no_grad()
    def _raw(self, images: Pictures) -> Tensor:
        return self._extract(images).float().cpu()


@torch.no_grad()
def before_last_layer(judge: Classifier, images: Pictures) -> Tensor:
    """What goes into the last layer of a taught classifier."""
    found: list[Tensor] = []
    hook = last_layer(judge.network).register_forward_pre_hook(
        lambda _, given: found.append(given[0].flatten(1).float().cpu())
    )
    try:
        judge.network.eval()
        for batch in judge.batches(images):
            judge.network(batch)
    finally:
        hook.remove()
    return torch.cat(found) if found else torch.empty(0, 0)


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
            diversity=float(torch.pdist(of_drawn).mean()) / between if between else None,
            cmmd=gaussian_distance(of_drawn, of_true),
            fd=frechet_distance(of_drawn, of_true),
            density=density(of_drawn, of_true),
            coverage=coverage(of_drawn, of_true),
        )
    return found


def gaussian_distance(drawn: Tensor, real: Tensor) -> float:
    """Squared maximum mean discrepancy of (N, d) and (M, d), unbiased; the kernel is as wide as real images differ."""
    width = float(torch.pdist(real).median()) or 1.0

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(one.double(), other.double()).square() / (2 * width**2))

    def within(one: Tensor) -> float:
        full = kernel(one, one)
        return float((full.sum() - full.diagonal().sum()) / (len(one) * (len(one) - 1)))

    return within(drawn) + within(real) - 2 * float(kernel(drawn, real).mean())


def frechet_distance(drawn: Tensor, real: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians fitted to (N, d) and (M, d), two points or more each.

    With centred rows A and B that are scaled to covariances A'A and B'B, the trace of the root of their product is the
    sum of the singular values of AB', which is as small as there are images and not as large as there are features.
    """
    means, rows = [], []
    for points in (drawn.double(), real.double()):
        means.append(points.mean(0))
        rows.append((points - means[-1]) / (len(points) - 1) ** 0.5)
    apart = (means[0] - means[1]).square().sum() + sum(part.square().sum() for part in rows)
    return float(apart - 2 * torch.linalg.svdvals(rows[0] @ rows[1].T).sum())


def density(drawn: Tensor, real: Tensor) -> float:
    """How many real images have a drawn one within reach, over k, mean over the drawn ones."""
    reach, neighbours = _reach(real, DENSE_NEIGHBOURS)
    return float((torch.cdist(drawn, real) <= reach).float().sum(1).mean()) / neighbours


def coverage(drawn: Tensor, real: Tensor) -> float:
    """Share of real images with a drawn one no farther than their k-th real neighbour."""
    reach, _ = _reach(real, DENSE_NEIGHBOURS)
    return float((torch.cdist(drawn, real) <= reach).any(0).float().mean())


def _reach(manifold: Tensor, neighbours: int) -> tuple[Tensor, int]:
    """Distance to the k-th neighbour of each point, and k, which is less where there are few points."""
    k = min(neighbours, len(manifold) - 1)
    return torch.cdist(manifold, manifold).kthvalue(k + 1, dim=1).values, k  # the nearest is the point itself


def share_inside(points: Tensor, manifold: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Share of `points` (N, d) within reach of some point of `manifold` (M, d): no farther than its k-th neighbour."""
    reach, _ = _reach(manifold, neighbours)
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
