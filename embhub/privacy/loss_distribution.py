"""Privacy-loss distributions of composed Gaussian mechanisms on Poisson samples: figures tighter than RDP. Pure.

The loss of a step is put on a grid so that it dominates the true one (Doroshenko, Ghazi, Kamath, Kumar and Manurangsi
2022, "Connect the Dots", arXiv 2207.04380); steps are composed by a fast Fourier transform (Koskela, Jälkö and Honkela
2020, arXiv 1906.03049). Each direction, one unit more and one unit less, is composed by itself (Zhu, Dong and Wang
2022, arXiv 2106.08567, theorem 10). What the grid leaves out, what the transform wraps around and what it rounds is
added to delta, so every figure is an upper bound. Where each step reads every unit the Gaussian formula is exact
(Balle and Wang 2018, arXiv 1805.06530, theorem 8).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from embhub.privacy import normal
from embhub.privacy.mechanisms import GRID, Mechanism

if TYPE_CHECKING:
    from embhub.privacy.loss_grid import Losses

__all__ = ["GRID", "Mechanism", "epsilon_of", "most_likely"]
_GUARD = 1e-9  # relative: another machine may differ in its last digits


def epsilon_of(mechanisms: Iterable[Mechanism], *, delta: float) -> float:
    """The epsilon of everything together at `delta`, an upper bound; infinite where the grid gives none.

    Args:
        mechanisms: in any order. What each computes may depend on earlier results; its parameters may not.

    Raises:
        ValueError: delta is not between 0 and 1, or a mechanism has parameters that none has.
    """
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta {delta} is not between 0 and 1")
    return _epsilon(_gather(mechanisms), delta)


def most_likely(mechanisms: Iterable[Mechanism], *, chance: float) -> float:
    """The largest probability, with a unit, of any event that without the unit has probability `chance` at most.

    That is the power of the best test at this level (Neyman and Pearson), of outcomes with the unit against outcomes
    without. An upper bound; 1 where the grid gives none.

    Raises:
        ValueError: chance is not between 0 and 1, or a mechanism has parameters that none has.
    """
    if not 0.0 < chance < 1.0:
        raise ValueError(f"a chance of {chance} is not between 0 and 1")
    gathered = _gather(mechanisms)
    if not gathered:
        return chance
    if (loss := _gaussian_loss(gathered)) is not None:
        return min(1.0, normal.cdf(normal.quantile(chance) + loss) * (1 + _GUARD))
    composed = _composed(gathered)
    return 1.0 if composed is None else min(1.0, composed[0].most(chance) * (1 + _GUARD))


def group_epsilon_of(mechanism: Mechanism, *, size: int, delta: float) -> float:
    """The epsilon of a mechanism for `size` units together, added or removed; an upper bound, infinite for none.

    Ganesh 2024 (arXiv 2401.10294). Where each step reads every unit it is the Gaussian formula, `size` times as far.

    Raises:
        ValueError: delta is not between 0 and 1, `size` below 1, or the mechanism has parameters that none has.
    """
    if not (0.0 < delta < 1.0 and size >= 1):
        raise ValueError(f"no group of {size} units has an epsilon at delta {delta}")
    gathered = _gather([mechanism])
    if not gathered:
        return 0.0
    if (loss := _gaussian_loss(gathered)) is not None:
        return _gaussian_epsilon(size * loss, delta)
    composed = _composed(gathered, size)
    return math.inf if composed is None else max(part.epsilon(delta) for part in composed) * (1 + _GUARD)


def _gather(mechanisms: Iterable[Mechanism]) -> tuple[Mechanism, ...]:
    """Those that cost something, equal ones as one, and all that read every unit as one, in a fixed order."""
    steps: dict[tuple[float, float], int] = {}
    whole = 0.0
    for q, sigma, count in mechanisms:
        if not (0.0 <= q <= 1.0 and math.isfinite(sigma) and sigma > 0.0 and count >= 0):
            raise ValueError(f"no mechanism has q {q}, sigma {sigma}, steps {count}")
        if q == 1.0:
            whole += count / sigma**2
        elif q > 0.0 and count:
            steps[q, sigma] = steps.get((q, sigma), 0) + count
    gathered = [Mechanism(q, sigma, count) for (q, sigma), count in sorted(steps.items())]
    return (*gathered, Mechanism(1.0, 1 / math.sqrt(whole), 1)) if whole else tuple(gathered)


def _gaussian_loss(gathered: tuple[Mechanism, ...]) -> float | None:
    """Distance of the two Gaussians in standard deviations, where there is nothing but one of them."""
    return 1 / gathered[0].sigma if len(gathered) == 1 and gathered[0].q == 1.0 else None


@lru_cache(maxsize=4096)
def _epsilon(gathered: tuple[Mechanism, ...], delta: float) -> float:
    if not gathered:
        return 0.0
    if (loss := _gaussian_loss(gathered)) is not None:
        return _gaussian_epsilon(loss, delta)
    composed = _composed(gathered)
    return math.inf if composed is None else max(part.epsilon(delta) for part in composed) * (1 + _GUARD)


def _gaussian_epsilon(loss: float, delta: float) -> float:
    def spent(epsilon: float) -> float:
        one, other = normal.log_cdf(loss / 2 - epsilon / loss), epsilon + normal.log_cdf(-loss / 2 - epsilon / loss)
        return float(math.exp(one) * -math.expm1(min(other - one, 0.0))) * (1 + _GUARD)

    if spent(0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while spent(high) > delta:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= delta else (middle, high)
    return high * (1 + _GUARD)


@lru_cache(maxsize=8)
def _composed(gathered: tuple[Mechanism, ...], size: int = 1) -> tuple[Losses, Losses] | None:
    """Losses with the unit against without, and the other way round; None where the grid would be too large."""
    from embhub.privacy.loss_grid import FINENESS, WIDEST  # here: it imports numpy, and most releases claim nothing

    total = sum(item.steps for item in gathered)
    variance = math.fsum(item.steps * _variance(item, size) for item in gathered) / total
    width = min(WIDEST, FINENESS * math.sqrt(variance))
    for coarser in (1, 2, 4, 8, 16):
        one = _direction(gathered, coarser * width, size, reverse=False)
        other = _direction(gathered, coarser * width, size, reverse=True) if one else None
        if one and other:
            return one, other
    return None


def _direction(gathered: tuple[Mechanism, ...], width: float, size: int, *, reverse: bool) -> Losses | None:
    from embhub.privacy.loss_grid import compose, discretise

    steps = [discretise(item, width, reverse=reverse, size=size) for item in gathered]
    whole = [step for step in steps if step is not None]
    return compose(whole, [item.steps for item in gathered], width) if len(whole) == len(steps) else None


def _variance(item: Mechanism, size: int) -> float:
    """Of a step's likelihood ratio, and at most 1: a measure for the width of cells, no part of any bound."""
    return min(1.0, (size * item.q) ** 2 * math.expm1(min(1 / item.sigma**2, 50.0)))
