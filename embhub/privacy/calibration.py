"""The smallest noise that keeps a promise: sigma for a wanted epsilon, by the same accountant that checks the claim.

The core calibrates by itself, so that the noise of a run and the recomputation of its claim cannot disagree; Opacus's
calibration is what the tests compare it with.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from embhub.errors import PrivacyError
from embhub.privacy import epsilon as epsilons
from embhub.privacy import rdp
from embhub.privacy.choices import LARGEST_SIGMA, SMALLEST_SIGMA
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.studies import GUARD, RESERVE, SMALLEST_SHARE, check_sites

_UNITS = 10_000  # sigma is found in steps of 1 / _UNITS


def calibrate_sigma(*, epsilon: float, delta: float, q: float, steps: int) -> float:
    """The smallest noise multiplier, in steps of 0.0001, whose claim says at most `epsilon`.

    Args:
        epsilon: what the claim may say at most: the smaller of its two figures, as it is published.
        delta: as in (epsilon, delta)-differential privacy.
        q: sampling rate, 1 for a mechanism that reads every unit.
        steps: steps of the whole training.

    Raises:
        PrivacyError: epsilon is not a positive number, or no noise within reason gets there.
    """
    if not (math.isfinite(epsilon) and epsilon > 0.0):
        raise PrivacyError(f"epsilon {epsilon} is no privacy budget", "epsilon is a positive number, such as 2 or 4")

    def by_losses(units: int) -> bool:
        return epsilons.publish(epsilons.loss_epsilon([Mechanism(q, units / _UNITS, steps)], delta=delta)) <= epsilon

    def by_rdp(units: int) -> bool:
        curve = rdp.gaussian_curve(q=q, sigma=units / _UNITS, steps=steps)
        return rdp.publish_epsilon(rdp.epsilon_of(curve, delta=delta)) <= epsilon

    low, high = round(SMALLEST_SIGMA * _UNITS), round(LARGEST_SIGMA * _UNITS)
    reached = by_losses(high)
    if not (reached or by_rdp(high)):
        raise PrivacyError(
            f"epsilon {epsilon:g} cannot be reached with delta {delta:g} in {steps} steps at sampling rate {q:g}",
            "ask for a larger epsilon, or take fewer steps or smaller batches",
        )
    if by_losses(low) or by_rdp(low):
        return low / _UNITS
    # A claim states the smaller figure. That of losses takes a twentieth of the time and nearly always is the smaller.
    if reached:
        high = _smallest(by_losses, low, high)
    if by_rdp(high - 1):
        high = _smallest(by_rdp, low, high - 1)
    return high / _UNITS


def _smallest(enough: Callable[[int], bool], low: int, high: int) -> int:
    """The least of whole numbers that is enough; `low` is not, `high` is."""
    while high - low > 1:
        middle = math.isqrt(low * high) if high > 4 * low else (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def calibrate_share(
    *, epsilon: float, delta: float, q: float, steps: int, sites: int, dropouts: int, clip_units: int
) -> int:
    """The variance of a site's share, in squared units, with which `against_outsiders` has at most this epsilon.

    Raises:
        PrivacyError: as `calibrate_sigma`.
        ValueError: as `check_sites`.
    """
    check_sites(sites, dropouts, 0)
    # Half a step of calibration is far more than what `closeness` may add.
    sigma = calibrate_sigma(epsilon=epsilon, delta=delta, q=q, steps=steps)
    needed = ((sigma * clip_units) ** 2 * (1 + 4 * GUARD) + RESERVE) / (sites - dropouts)
    return max(SMALLEST_SHARE, math.ceil(needed))
