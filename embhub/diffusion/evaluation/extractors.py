"""Features of another network than the classifier's own: the published one, or a function of the site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embhub.diffusion.evaluation import pretrained
from embhub.diffusion.evaluation.cells import Pictures
from embhub.diffusion.evaluation.classifier import Classifier, small_network
from embhub.diffusion.evaluation.fidelity import Extract, before_last_layer
from embhub.diffusion.evaluation.networks import Learner, import_factory, trial_images
from embhub.errors import UsageError

_HINT = "a factory takes nothing and returns a function from images (N, 3, H, W) in [-1, 1] to features (N, d)"
_OTHER = "end the network in torch.nn.Linear, or take features of another one: --features"
_AT_ONCE = 64


def find(name: str, side: int, device: str = "cpu") -> Extract:
    """The features of the published network, `pretrained`, or those that a factory makes, tried on two images.

    Raises:
        UsageError: the published network is not installed; there is no such factory, it fails, gives anything but
            finite numbers (N, d), or always the same.
    """
    if name == pretrained.NAME:
        return pretrained.network(device)
    factory = import_factory(name, "feature extractor", _HINT)
    try:
        network = factory()
        if isinstance(network, torch.nn.Module):
            network = network.eval().to(device)
    except Exception as error:  # a site's own code: whatever it raises is said in words
        raise UsageError(f"{name} failed: {type(error).__name__}: {error}", _HINT) from error
    if not callable(network):
        raise UsageError(f"{name} returned {type(network).__name__}, which cannot be called", _HINT)

    def extract(images: Pictures) -> Tensor:
        parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
        return torch.cat([_features(name, network, part, device) for part in parts])

    dark, bright = extract(trial_images(side))
    if torch.equal(dark, bright):
        raise UsageError(f"{name} gives the same features for different images", _HINT)
    return extract


def check_classifier(learner: Learner, side: int) -> None:
    """Try whether features can be taken from a classifier, as they are once it is trained.

    Raises:
        UsageError: it has no linear layer, or its last one is not used once for each image.
    """
    images = trial_images(side)
    with torch.random.fork_rng(devices=[]):
        network = learner.factory(2) if learner.factory else small_network(2, 16, side)
    try:
        rows = len(before_last_layer(Classifier(network, ("negative", "positive"), True, side), images))
    except UsageError:
        raise
    except Exception as error:  # a site's own code: whatever it raises is said in words
        raise UsageError(
            f"no features of {learner.name} can be taken: {type(error).__name__}: {error}", _OTHER
        ) from error
    if rows != len(images):
        raise UsageError(f"the last linear layer of {learner.name} is not used once for each image", _OTHER)


@torch.no_grad()
def _features(name: str, network: Callable[[Tensor], Any], images: Pictures, device: str) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    try:
        found = network(pixels.to(device))
        values = torch.as_tensor(found).detach().float().cpu()
    except Exception as error:
        raise UsageError(
            f"{name} does not take images of {tuple(pixels.shape[2:])} pixels: {type(error).__name__}: {error}", _HINT
        ) from error
    if values.ndim != 2 or len(values) != len(images) or not values.shape[1]:
        raise UsageError(f"{name} gives features of shape {tuple(values.shape)} for {len(images)} images", _HINT)
    if not bool(torch.isfinite(values).all()):
        raise UsageError(f"{name} gives features that are not finite numbers", _HINT)
    return values
