"""What an autoencoder is scored by while it trains: pixels, bands of frequencies, and a critic of patches.

Pixels alone reward a mean of all that might be there, which is a blur. The critic (Isola et al. 2017, arXiv 1611.07004;
hinge loss) sees patches of about 30 pixels and says real or rebuilt; its inner features serve as the perceptual
measure (Larsen et al. 2016, arXiv 1512.09300), so that no network trained elsewhere is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchCritic(nn.Module):
    """Images (N, `colours`, H, W) to patch scores (N, 1, h, w), above 0 for real; keeps the features on the way."""

    def __init__(self, colours: int = 1, widths: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        sizes = [colours, *widths]
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(before, after, 4, 2, 1))
            for before, after in pairwise(sizes)
        )
        self.score = nn.utils.parametrizations.spectral_norm(nn.Conv2d(sizes[-1], 1, 3, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores and features."""
        features, hidden = [], images
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), 0.2)
            features.append(hidden)
        return self.score(hidden), features


def critics_loss(real: Tensor, rebuilt: Tensor) -> Tensor:
    """Hinge loss of the critic for its scores of real and of rebuilt images."""
    return F.relu(1 - real).mean() + F.relu(1 + rebuilt).mean()


def pixel_loss(drawn: Tensor, images: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """L1, L2 and differences of neighbours; `weights` (N, 1, H, W), 1 or more, counts places more."""
    error = drawn - images
    loss = (weights * error.abs()).mean() + 2 * (weights * error.square()).mean()
    return loss + 0.5 * (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean())


def band_loss(drawn: Tensor, images: Tensor, bands: int = 4) -> Tensor:
    """Distance of the octaves of two images, and of how much of each octave there is from place to place.

    The octave's local strength does not depend on where exactly a line lies, so texture pays even when it is not
    rebuilt line by line.
    """
    loss = drawn.new_zeros(())
    for _ in range(bands):
        lower, lower_true = F.avg_pool2d(drawn, 2), F.avg_pool2d(images, 2)
        detail = drawn - F.interpolate(lower, scale_factor=2, mode="bilinear")
        true = images - F.interpolate(lower_true, scale_factor=2, mode="bilinear")
        scale = true.square().mean().sqrt().detach() + 1e-3
        strength, strength_true = (F.avg_pool2d(part.square(), 8, 4, 2).add(1e-5).sqrt() for part in (detail, true))
        loss = loss + ((detail - true).abs().mean() + 2 * (strength - strength_true).abs().mean()) / scale
        drawn, images = lower, lower_true
    return loss / bands


def feature_loss(drawn: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean distance of a critic's features of rebuilt and of real images, each layer in units of its own size."""
    pairs = zip(drawn, real, strict=True)
    parts = [(a - b.detach()).abs().mean() / (b.detach().abs().mean() + 1e-3) for a, b in pairs]
    return torch.stack(parts).mean()


def decibels(drawn: Tensor, images: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in [-1, 1]."""
    return float(10 * torch.log10(4 / F.mse_loss(drawn.clamp(-1, 1), images)))


def structural_similarity(drawn: Tensor, images: Tensor) -> float:
    """Mean SSIM of images in [-1, 1]: 1 for the same (Wang et al. 2004, doi:10.1109/TIP.2003.819861).

    Black counts as 0, as in published figures: the measure changes with it.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as similarity

    return float(similarity((drawn.clamp(-1, 1) + 1) / 2, (images + 1) / 2, data_range=1.0))


def spectrum(images: Tensor) -> Tensor:
    """Mean power at each whole number of cycles an image, (N, C, S, S) -> (S // 2,), of the first channel."""
    grey = images[:, 0] - images[:, 0].mean((1, 2), keepdim=True)
    side = grey.shape[-1]
    window = torch.hann_window(side, periodic=False)
    power = torch.fft.fft2(grey * window * window[:, None]).abs().square().mean(0)
    cycles = torch.fft.fftfreq(side) * side
    radius = (cycles.square() + cycles.square()[:, None]).sqrt().round().long()
    kept = radius < side // 2
    sums = torch.zeros(side // 2).index_add_(0, radius[kept], power[kept])
    return sums / torch.zeros(side // 2).index_add_(0, radius[kept], torch.ones_like(power[kept]))


BANDS = ((1, 4), (4, 8), (8, 16), (16, 24), (24, 32), (32, 48))


def power_ratios(drawn: Tensor, real: Tensor) -> dict[str, float]:
    """Power of drawn images as a share of the power of real ones, in bands of cycles an image."""
    a, b = spectrum(drawn), spectrum(real)
    return {f"{low}-{high}": round(float(a[low:high].sum() / b[low:high].sum()), 3) for low, high in BANDS}
