"""An attack on reconstruction that leaves out what is hard, or easy, to draw for everybody."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from embhub.diffusion import families
from embhub.diffusion.attacks.evidence import Evidence
from embhub.diffusion.attacks.predictions import Denoiser, score_batches

LEVEL, STEPS, NOISES = 0.3, 5, 2
"""Noise is laid on up to this share of the schedule, and taken off in so many steps, for so many draws of noise."""
LOW, HIGH = 0.15, 0.7
"""The frequencies that count, in shares of the highest that latents hold."""


def score_by_frequencies(evidence: Evidence) -> Tensor:
    """FCRE: members come back from noise more alike in the middle frequencies.

    Zhao et al. 2025, arXiv 2506.14919. The lowest frequencies come back for every image, the highest for none; leaving
    both out takes most of an image's own difficulty away. The measure is structural similarity, of one window as large
    as the image. Here all of it is done in latents, so that errors of the autoencoder stay out.

    Raises:
        ValueError: no embedding to ask.
        UsageError: a base that predicts neither noise, v nor the sample.
    """
    suspect = evidence.interrogate()
    top = int(LEVEL * families.noise_levels(suspect.pipe))
    times = [top - top * step // STEPS for step in range(STEPS)]

    def score(denoiser: Denoiser, latents: Tensor) -> Tensor:
        likeness = torch.zeros(len(latents), device=latents.device)
        for noise in suspect.draws.noise[:NOISES]:
            laid = noise.to(latents.device).expand_as(latents)
            place = families.add_noise(suspect.pipe, latents, laid, denoiser.times(latents, top))
            for time, after in pairwise(times):
                place = denoiser.move(place, time, after)
            clean = families.take_noise(
                suspect.pipe, place, denoiser.noise_in(place, times[-1]), denoiser.times(latents, times[-1])
            )
            likeness = likeness + compare_bands(latents, clean)
        return likeness

    return score_batches(suspect, score)


def compare_bands(one: Tensor, other: Tensor) -> Tensor:
    """Structural similarity of the middle frequencies of (B, C, h, w) and the same, from -1 to 1, as (B,).

    Without the lowest frequency both have mean 0, and the index is twice the covariance over the sum of variances.
    """
    first, second = _keep_middle(one), _keep_middle(other)
    shared, total = (first * second).mean((2, 3)), (first.square() + second.square()).mean((2, 3))
    return (2 * shared / total.clamp(min=1e-12)).mean(1)


def _keep_middle(latents: Tensor) -> Tensor:
    height, width = latents.shape[-2:]
    rows = torch.fft.fftfreq(height, device=latents.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=latents.device)[None]
    radius = 2 * (rows.square() + columns.square()).sqrt()
    kept = (radius >= LOW) & (radius <= HIGH)
    middle: Tensor = torch.fft.irfft2(torch.fft.rfft2(latents.float()) * kept, s=(height, width))
    return middle
