"""One step's privacy loss on a grid, and many composed: what `embhub.privacy.loss_distribution` computes with. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embhub.privacy import mixtures, normal
from embhub.privacy.mechanisms import Mechanism

Floats = NDArray[np.float64]

MOST_CELLS = 1 << 17
"""Of a grid: with more, a registry would not recompute a claim within 50 ms."""
FINENESS = 0.04  # cells are this share of a step's standard deviation: their variance is 1 to 4 in 10,000 of its own
WIDEST = 0.02
_REACH = 9.5  # standard deviations of the noise: beyond lies a share of 1e-21
_TAIL = 1e-15  # of the composed losses, outside the window on either side
_ROUNDING = 1e-13  # of delta, a step: several times what the transform was seen to lose
_SHIFT = 4e-16  # of a loss, a step and cell: the ends of a cell are rounded
_LOWEST, _HIGHEST = -50.0, 600.0  # beyond, bounds are left loose: no delta or chance that is asked for is near


@dataclass(frozen=True)
class Losses:
    """Composed losses of one direction: `masses` at `losses` (ascending, equally spaced), `endless` at infinity."""

    losses: Floats
    masses: Floats
    endless: float
    shift: float

    def deltas(self) -> Floats:
        """The hockey-stick divergence at each of `losses`, read as an epsilon."""
        above = self._above()
        paid = np.where(self.losses < _HIGHEST, np.exp(np.minimum(self.losses, _HIGHEST)) * self._weight(), 0.0)
        return np.maximum(self.endless + above - paid, self.endless)

    def epsilon(self, delta: float) -> float:
        """The smallest epsilon from 0 at which the divergence is at most `delta`; infinite where none is."""
        if self.endless >= delta:
            return math.inf
        deltas = self.deltas()
        reached = deltas <= delta
        if not reached.any():
            return float(self.losses[-1]) + self.shift
        first = int(reached.argmax())
        weight = float(self._weight()[first])
        excess = self.endless + float(self._above()[first]) - delta
        found = math.log(excess / weight) if weight > 0.0 and excess > 0.0 else float(self.losses[first])
        return max(0.0, min(found, float(self.losses[first])) + self.shift)

    def most(self, chance: float) -> float:
        """The largest probability, with the unit, of any event that has at most `chance` without it."""
        with np.errstate(over="ignore"):
            bounds = chance * np.exp(self.losses + self.shift) + self.deltas()
        return min(1.0, float(bounds.min()))

    def _above(self) -> Floats:
        return np.cumsum(self.masses[::-1])[::-1]

    def _weight(self) -> Floats:
        return np.cumsum((self.masses * np.exp(-self.losses))[::-1])[::-1]


class Step(NamedTuple):
    start: int
    masses: Floats
    endless: float


def discretise(item: Mechanism, width: float, *, reverse: bool, size: int = 1) -> Step | None:
    """One step's losses on whole multiples of `width`: in each cell two masses that keep both probabilities.

    The loss is the logarithm of the mixture over the plain Gaussian; `reverse` turns pair and loss around. None where
    the grid would be too large. For a group of `size` units, who join by coins of their own, the mixture has a Gaussian
    for each number of them that may join (Ganesh 2024, arXiv 2401.10294).
    """
    low = math.floor(_log_ratio(item, -_REACH * item.sigma, size) / width)
    high = math.ceil(_log_ratio(item, size + _REACH * item.sigma, size) / width)
    if high - low >= MOST_CELLS:
        return None
    plain, mixed, unsure = _probabilities(item, low, high, width, size)
    if reverse:
        one, other, start = plain[::-1], mixed[::-1], -high
    else:
        one, other, start = mixed, plain, low
    losses = (start + np.arange(high - low + 1)) * width
    cells = one[1:-1]
    upper = np.clip((cells - np.exp(losses[:-1]) * other[1:-1]) / -math.expm1(-width), 0.0, cells)
    masses = np.zeros(high - low + 1)
    masses[1:] += upper
    masses[:-1] += cells - upper
    masses[0] += one[0]
    return Step(start, masses, float(one[-1]) + unsure)


@lru_cache(maxsize=2)
def _probabilities(item: Mechanism, low: int, high: int, width: float, size: int) -> tuple[Floats, Floats, float]:
    """Of outcomes below the grid, in each cell, and above it: without the unit, and with it. Both directions ask.

    The third is what to add to delta for a step, because ends of cells were found by iteration: were each off by d,
    the divergence would change by less than 4 d.
    """
    edges = np.arange(low, high + 1, dtype=np.float64) * width
    places, off = (
        (_places(item, edges), 0.0) if size == 1 else mixtures.places(mixtures.weigh(item.q, size), item.sigma, edges)
    )
    plain = _cut(places / item.sigma)
    mixed = (1 - item.q) ** size * plain
    for present, weight in enumerate(mixtures.weigh(item.q, size)[1:], 1):
        mixed = mixed + weight * _cut((places - present) / item.sigma)
    return plain, mixed, 4 * off


def _places(item: Mechanism, edges: Floats) -> Floats:
    """Outcomes at which the log ratio has these values; -infinity where it is larger everywhere."""
    inner = np.expm1(edges) / item.q
    with np.errstate(divide="ignore"):
        return np.asarray(item.sigma**2 * np.log1p(np.maximum(inner, -1.0)) + 0.5, dtype=np.float64)


def _cut(z: Floats) -> Floats:
    """Probabilities that a standard normal number is below the first of `z`, between each two, above the last."""
    tails = normal.cdf_of(-np.abs(z))
    left, right = np.where(z <= 0, tails, 1 - tails), np.where(z > 0, tails, 1 - tails)
    between = np.where(z[:-1] > 0, right[:-1] - right[1:], left[1:] - left[:-1])
    return np.concatenate(([left[0]], np.maximum(between, 0.0), [right[-1]]))


def _log_ratio(item: Mechanism, z: float, size: int) -> float:
    if size > 1:
        return float(mixtures.log_ratios(mixtures.weigh(item.q, size), item.sigma, np.array([z]))[0][0])
    exponent = (2 * z - 1) / (2 * item.sigma**2)
    if item.q == 1.0:
        return exponent
    if exponent > 30.0:
        return exponent + math.log(item.q) + math.log1p((1 - item.q) / item.q * math.exp(-exponent))
    return math.log1p(item.q * math.expm1(exponent))


def compose(steps: list[Step], counts: list[int], width: float) -> Losses | None:
    """All steps together, by one transform over a window that holds all but `_TAIL` of the losses on either side."""
    window = window_of(steps, counts, width)
    if window is None:
        return None
    low, length = window
    spectrum: NDArray[Any] = np.zeros(length // 2 + 1, dtype=np.complex128)
    for step, count in zip(steps, counts, strict=True):
        where = (step.start + np.arange(len(step.masses))) % length
        folded = np.bincount(where, weights=step.masses, minlength=length)
        with np.errstate(divide="ignore"):
            spectrum += count * np.log(np.fft.rfft(folded))
    whole = np.fft.irfft(np.exp(spectrum), n=length)
    masses: Floats = np.maximum(whole[(low + np.arange(length)) % length], 0.0)
    losses: Floats = (low + np.arange(length, dtype=np.float64)) * width
    total = sum(counts)
    endless = sum(count * step.endless for step, count in zip(steps, counts, strict=True))
    cells = max(len(step.masses) for step in steps)
    start = min(int(np.searchsorted(losses, _LOWEST)), length - 1)
    masses[start] += masses[:start].sum()
    return Losses(
        losses[start:],
        masses[start:],
        endless + 2 * _TAIL + (total + 10) * _ROUNDING,
        total * cells * _SHIFT,
    )


def window_of(steps: list[Step], counts: list[int], width: float) -> tuple[int, int] | None:
    """First cell and number of cells of the composed losses, by Chernoff's bound; None where they are too many."""
    places: list[Floats] = [(step.start + np.arange(len(step.masses), dtype=np.float64)) * width for step in steps]
    with np.errstate(divide="ignore"):
        logs = [np.log(step.masses) for step in steps]
    variance = 0.0
    for step, at, count in zip(steps, places, counts, strict=True):
        mean = float(step.masses @ at)
        variance += count * float(step.masses @ (at - mean) ** 2)
    best = math.sqrt(-2 * math.log(_TAIL) / max(variance, 1e-30))
    ends = []
    for sign in (1.0, -1.0):
        bounds = []
        for share in (0.125, 0.25, 0.5, 1.0, 2.0):
            rate, total = best * share, 0.0
            for weights, at, count in zip(logs, places, counts, strict=True):
                total += count * _log_sum(sign * rate * at + weights)
            bounds.append((total - math.log(_TAIL)) / rate)
        ends.append(min(bounds))
    furthest = sum(count * (step.start + len(step.masses) - 1) for step, count in zip(steps, counts, strict=True))
    nearest = sum(count * step.start for step, count in zip(steps, counts, strict=True))
    low = max(nearest, math.floor(-ends[1] / width))
    high = min(furthest, math.ceil(ends[0] / width))
    length = _round_length(high - low + 1)
    return None if length > MOST_CELLS else (low, length)


def _log_sum(logs: Floats) -> float:
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))


def _round_length(cells: int) -> int:
    """The next number of the form 2^k or 3 * 2^k, which a transform likes."""
    power = 1 << max(4, (cells - 1).bit_length())
    return power * 3 // 4 if power * 3 // 4 >= cells else power
