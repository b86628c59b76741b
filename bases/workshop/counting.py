"""What both kinds of base are counted with: images as tensors, decibels, means of a judge's scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embhub.diffusion.adaptation.base_training.latent_pictures import rebuilt
from embhub.diffusion.evaluation import classifier
from embhub.diffusion.families.pipeline import Pipeline

Figures = dict[str, Any]
Pictures = NDArray[np.uint8]
Report = Callable[[str], None]
Keep = Callable[[str, Pictures], None]


def tensor(images: Pictures) -> torch.Tensor:
    """uint8 (N, H, W, 3) as float (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def decibels(pipe: Pipeline, images: Pictures) -> float:
    """Peak signal-to-noise ratio of images that went through the pipeline's autoencoder, in dB."""
    error = torch.nn.functional.mse_loss(rebuilt(pipe.vae, tensor(images)), tensor(images))
    return round(float(10 * torch.log10(4 / error)), 1)


def between(scores: NDArray[np.float64], labels: NDArray[np.int64], low: int, high: int) -> float:
    """AUC of a judge's scores (N, classes) between two of its classes."""
    either = (labels == low) | (labels == high)
    difference = scores[either, high] - scores[either, low]
    return round(classifier.area_under_curve(labels[either] == high, difference), 3)


def nearest(images: Pictures, others: Pictures) -> float:
    """Mean over `images` of the distance to the nearest of `others`: root mean square of pixels in [-1, 1], at half
    the size."""
    small, large = (torch.nn.functional.avg_pool2d(tensor(part)[:, :1], 2).flatten(1) for part in (images, others))
    distances = torch.cdist(small, large).min(1).values / small.shape[1] ** 0.5
    return round(float(distances.mean()), 3)
