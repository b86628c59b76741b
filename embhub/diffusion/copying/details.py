"""Which training image has the same details, in the same arrangement, as a piece of an image?

Every blob of an image is matched with the one of each training image that looks most like it. A match counts by how
far it stands out among those with the other training images: a rib that everybody has says nothing. Matches vote for
the one movement that they agree on (any turn, size and place, mirrored or inverted), and the best supported one counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.diffusion.copying.keypoints import FORMS, Keypoints

_UNUSUAL, _MOST_WEIGHT = 2.5, 4.0
"""Standard deviations beyond which a match counts, and the most that one counts."""
_VOTES = 48
_NEAR, _NEAR_SHARE = 2.0, 0.06
"""Pixels, and the share of the distance between two blobs, that these may be off: a film may be bent or stretched."""
_TURN, _SIZE = 0.35, 0.3
_BACKGROUND = 20.0
IMAGES = 16
_VOTERS = 4


@torch.no_grad()
def measure(asked: Keypoints, known: Keypoints, on_part: Callable[[], None]) -> NDArray[np.float64]:
    """Distances (N, M) from 0 to 1 of the blobs of N images to those of M training images; lower where more agree.

    `on_part` is called after every 16 of the N images.
    """
    found = []
    for first in range(0, len(asked.x), IMAGES):
        part = asked[slice(first, first + IMAGES)]
        likeness, which = _match(part, known)
        weights = _stand_out(likeness) * part.real[:, None]
        for row in range(0, len(part.x), _VOTERS):
            rows = slice(row, row + _VOTERS)
            found.append(_vote(part[rows], known, weights[rows], which[rows]))
        on_part()
    distances: NDArray[np.float64] = (_BACKGROUND / (torch.cat(found).double() + _BACKGROUND)).numpy()
    return distances


def _match(asked: Keypoints, known: Keypoints) -> tuple[Tensor, Tensor]:
    """The likeness (N, M, K) of each blob to the most similar one of each training image in any form, and which."""
    mine, theirs = asked.looks.transpose(1, 2).contiguous(), known.looks.permute(0, 2, 3, 1).contiguous()
    likeness = mine.new_empty(len(mine), len(theirs), mine.shape[2])
    which = torch.empty_like(likeness, dtype=torch.long)
    for row, one in enumerate(mine):  # two images at a time: their products stay in a processor's cache
        for column, other in enumerate(theirs):
            first, second, third, fourth = one @ other
            plain, mirrored = first + second, first - second
            plain += (third + fourth).abs_()  # or inverted
            mirrored += (third - fourth).abs_()
            likeness[row, column], which[row, column] = torch.maximum(plain, mirrored).max(1)
    return likeness, which


def _stand_out(likeness: Tensor) -> Tensor:
    """Weights (N, M, K): how many standard deviations a likeness lies above those with the other training images."""
    others = likeness.shape[1] - 1
    above = likeness - likeness.mean(1, keepdim=True)
    square = ((above**2).sum(1, keepdim=True) - above**2) / others
    deviation = (square - (above / others) ** 2).clamp_min(1e-6).sqrt()
    weights: Tensor = ((above + above / others) / deviation - _UNUSUAL).clamp(0, _MOST_WEIGHT)
    return weights


def _vote(asked: Keypoints, known: Keypoints, weights: Tensor, which: Tensor) -> Tensor:
    """The weight (N, M) of the matches that agree with the best supported one."""
    count, others, blobs = weights.shape
    weight, voter = weights.topk(min(_VOTES, blobs), 2)
    blob = which.gather(2, voter)
    row, column = torch.arange(count)[:, None, None], torch.arange(others)[None, :, None]
    form = ((asked.looks[row, voter] * known.looks[column, blob]).sum(-1) @ FORMS).argmax(-1)
    x, angle = (values[form, column, blob] for values in known.forms())

    def here(values: Tensor) -> Tensor:
        return values[row, voter]

    def there(values: Tensor) -> Tensor:
        return values[column, blob]

    larger, turned = there(known.size) - here(asked.size), angle - here(asked.angle)
    cos, sin = (part[..., None] * larger.exp()[..., None] for part in (torch.cos(turned), torch.sin(turned)))
    right, below = _between(here(asked.x)), _between(here(asked.y))
    to_right, to_below = _between(x), _between(there(known.y))
    off = torch.hypot(cos * right - sin * below - to_right, sin * right + cos * below - to_below)
    agree = off < _NEAR + _NEAR_SHARE * torch.hypot(to_right, to_below)
    agree &= (torch.remainder(_between(turned) + math.pi, 2 * math.pi) - math.pi).abs() < _TURN
    agree &= (_between(larger).abs() < _SIZE) & (_between(form) == 0)
    support = (agree * weight[..., None, :]).sum(-1) * (weight > 0)
    most: Tensor = support.amax(-1)
    return most


def _between(values: Tensor) -> Tensor:
    """What each value (..., T) has over each other, (..., T, T): [i, j] is that of j less that of i."""
    return values[..., None, :] - values[..., None]
