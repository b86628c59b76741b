"""A small convolutional classifier: the judge of what samples show, and the learner of the downstream comparison.

Deterministic for a seed on one machine; about 200 steps fit in three seconds of one core.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

_SIDE = 64
_LOOKS = 20
Factory = Callable[[int], nn.Module]
"""Takes the number of classes, gives a network from images (N, 3, H, W) in [-1, 1] to scores (N, classes)."""


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier; `classes` names its outputs, `exclusive` says whether exactly one of them holds."""

    network: nn.Module
    classes: tuple[str, ...]
    exclusive: bool
    side: int = _SIDE

    @torch.no_grad()
    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities (N, classes) of uint8 images (N, H, W) or (N, H, W, 3).

        Rows add up to 1 where classes exclude each other; else each column stands alone.
        """
        self.network.eval()
        parts = [self.network(part) for part in self.batches(images)]
        scores = torch.cat(parts).double().cpu()
        found: NDArray[np.float64] = (scores.softmax(1) if self.exclusive else scores.sigmoid()).numpy()
        return found

    def batches(self, images: NDArray[np.uint8]) -> Iterator[Tensor]:
        """The images as the network takes them, at most 200 at a time, where the network is."""
        device = next(self.network.parameters()).device
        for start in range(0, len(images), 200):
            yield _tensor(images[start : start + 200], self.side).to(device)


def fit(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    classes: Sequence[str],
    steps: int = 200,
    seed: int = 0,
    batch: int = 32,
    width: int = 16,
    noise: float = 0.05,
    rate: float = 2e-3,
    mirror: bool = True,
    network: Factory | None = None,
    side: int = _SIDE,
    device: str = "cpu",
    chances: NDArray[np.float64] | None = None,
    begin: Classifier | None = None,
    held: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None,
) -> Classifier:
    """Fit a classifier to uint8 images (N, H, W) or (N, H, W, 3), any size (they are brought to `side` x `side`).

    `labels` is int (N,), one index into `classes` an image, or 0/1 (N, classes) where several may hold. AdamW under
    one cycle of the rate; every batch is flipped at random (unless `mirror` is off), shifted, re-lit and covered with
    Gaussian `noise` (in units of the half range). `network` makes another than the small one, which takes `width`
    and a side of 16 or more; `begin` is one to go on with, which stays as it is. `chances` (N,) say how often each
    image is taken, else all alike. With `held` images and labels the weights of the lowest loss on them count. Same
    arguments, same classifier, on a processor. Raises ValueError where lengths do not fit.
    """
    truth = torch.from_numpy(np.asarray(labels))
    if len(images) != len(truth) or len(images) == 0:
        raise ValueError(f"{len(images)} images and {len(truth)} labels: need as many, and at least one")
    exclusive = truth.ndim == 1
    if not exclusive and truth.shape[1] != len(classes):
        raise ValueError(f"{truth.shape[1]} columns of labels for {len(classes)} classes")
    pixels = _tensor(images, side)
    with torch.random.fork_rng(devices=[]):  # dropout and first weights draw from the global generator
        torch.manual_seed(seed)
        if begin is not None:
            learner = copy.deepcopy(begin.network)
        else:
            learner = small_network(len(classes), width, side) if network is None else network(len(classes))
        learner.to(device)
        often = None if chances is None else torch.from_numpy(np.asarray(chances))
        best = None if held is None else _Best(_tensor(held[0], side).to(device), torch.from_numpy(held[1]).to(device))
        optimizer = torch.optim.AdamW(learner.parameters(), rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate * 2, total_steps=max(steps, 2))
        learner.train()
        for step in range(steps):
            if often is None:
                chosen = torch.randint(len(pixels), (batch,))
            else:
                chosen = torch.multinomial(often, batch, replacement=True)
            scores = learner(_varied(pixels[chosen].to(device), noise, mirror))
            if exclusive:
                loss = F.cross_entropy(scores, truth[chosen].long().to(device))
            else:
                loss = F.binary_cross_entropy_with_logits(scores, truth[chosen].float().to(device))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            if best is not None and (step % max(1, steps // _LOOKS) == 0 or step == steps - 1):
                best.look(learner)
        if best is not None:
            learner.load_state_dict(best.weights)
    return Classifier(learner.eval(), tuple(classes), exclusive, side)


class _Best:
    """Early stopping: the weights with the lowest loss on held-out images."""

    def __init__(self, pixels: Tensor, truth: Tensor) -> None:
        self._pixels, self._truth = pixels, truth.long()
        self._lowest = float("inf")
        self.weights: dict[str, Tensor] = {}

    @torch.no_grad()
    def look(self, learner: nn.Module) -> None:
        """Keep the weights if they are the best so far."""
        learner.eval()
        loss = float(F.cross_entropy(learner(self._pixels), self._truth))
        learner.train()
        if loss < self._lowest or not self.weights:
            self._lowest, self.weights = loss, copy.deepcopy(learner.state_dict())


def area_under_curve(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counted half."""
    positive, negative = scores[truth], scores[~truth]
    if len(positive) == 0 or len(negative) == 0:
        return float("nan")
    difference = positive[:, None] - negative[None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def small_network(outputs: int, width: int, side: int) -> nn.Module:
    """The untrained network that `fit` takes where no other is asked for: images (N, 3, side, side) to (N, outputs)."""

    def block(inputs: int, filters: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, filters, 3, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)]

    first = [nn.Conv2d(3, width, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    layers = [*first, *block(width, 2 * width), *block(2 * width, 3 * width), *block(3 * width, 4 * width)]
    head = nn.Linear(4 * width * ((side + 1) // 2 // 8) ** 2, outputs)
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), head).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch types `to` without memory_format


def _tensor(images: NDArray[np.uint8], side: int) -> Tensor:
    """Float (N, 3, side, side) in [-1, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    pixels = pixels[..., None].expand(-1, -1, -1, 3) if pixels.ndim == 3 else pixels
    values = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    if values.shape[2:] != (side, side):
        values = F.interpolate(values, size=(side, side), mode="area")
    return values.contiguous(memory_format=torch.channels_last)


def _varied(images: Tensor, noise: float, mirror: bool) -> Tensor:
    """The batch shifted by up to a twentieth of its side, re-lit, half of it mirrored, with noise."""
    count, side = len(images), images.shape[-1]
    most = side * 3 // 64
    left, top = (int(value) for value in torch.randint(2 * most + 1, (2,)))
    moved = F.pad(images, (most,) * 4, mode="replicate")[..., top : top + side, left : left + side]
    if mirror:
        flip = torch.rand(count, device=images.device) < 0.5
        moved = torch.where(flip.view(-1, 1, 1, 1), moved.flip(-1), moved)
    light = 1 + 0.1 * (torch.rand(count, 1, 1, 1, device=images.device) * 2 - 1)
    grain = noise * torch.randn(images.shape, device=images.device)
    return (moved * light + grain).contiguous(memory_format=torch.channels_last)
