"""Is there a mark of one of these keys in the noise of an image?

Noise is compared with every pattern of every key. For random signs s and any fixed numbers g, P(sum s_i g_i >= t |g|)
is at most 3.18 times that of a normal number (Bentkus and Dzindzalieta 2015, Bernoulli 21(2)). That times the number of
comparisons bounds the chance of a false match, whatever the image shows. What an image loses when it is changed
are small numbers: large ones are cut, and each channel has a mean of 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from embhub.diffusion.generation.noise_mark import INDEXES, signs

LIMIT = 1e-6
"""The largest chance of a false match, for one image and all that it is compared with."""
_CUT = 2.0
_TIGHT = 1 / (4 * float(norm.sf(math.sqrt(2))))


@dataclass(frozen=True)
class Match:
    """A mark: its key, the seed modulo `INDEXES`, and log10 of the bound on the chance of a false match."""

    key: str
    index: int
    log10_chance: float


def match(noise: npt.NDArray[np.float32], keys: Sequence[str], *, tries: int = 1) -> Match | None:
    """The best match of noise (variants, C, h, w) of one image with the keys; None where none is below `LIMIT`.

    `tries` is how often the image is compared in all, with other variants or other bases.
    """
    if not keys or not len(noise) or not np.isfinite(noise).all():
        return None
    found = max((_best(_settle(noise), key) for key in keys), key=lambda one: one[0])
    comparisons = tries * len(keys) * INDEXES * len(noise)
    chance = (float(norm.logsf(found[0])) + math.log(_TIGHT * comparisons)) / math.log(10)
    return Match(found[2], found[1], round(chance, 2)) if chance <= math.log10(LIMIT) else None


def _settle(noise: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows of length 1, (variants, C h w)."""
    wide = np.clip(noise.astype(np.float64), -1e9, 1e9)
    centred = wide - wide.mean(axis=(2, 3), keepdims=True)
    scale = centred.std(axis=(1, 2, 3), keepdims=True)
    rows = np.clip(centred / np.maximum(scale, 1e-6), -_CUT, _CUT).reshape(len(noise), -1)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return np.asarray(rows, np.float32)


def _best(rows: npt.NDArray[np.float32], key: str) -> tuple[float, int, str]:
    scores = (_patterns(key, rows.shape[1]).astype(np.float32) @ rows.T).max(axis=1)
    index = int(scores.argmax())
    return float(scores[index]), index, key


@lru_cache(maxsize=64)
def _patterns(key: str, size: int) -> npt.NDArray[np.int8]:
    return np.stack([signs(key, index, size) for index in range(INDEXES)])
