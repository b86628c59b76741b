"""How well a patient's images can be rebuilt from what a mechanism released: upper bounds from its parameters. Pure.

Hayes, Mahloujifar and Balle 2023, "Bounding Training Data Reconstruction in DP-SGD" (arXiv 2302.07225), theorem 2: an
attacker who knows everything but one unit's data, all other units and the settings included, and who would rebuild
those with probability `chance` without the release, does so with at most the power of the best test at level `chance`
of outcomes with the unit against outcomes without. It holds for every measure of what counts as rebuilt, and whatever
the attack. With a list of equally likely candidates, of which one is true, the chance is 1 / candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from embhub.privacy import loss_distribution
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import ORDERS, Curve, compose, gaussian_curve

_GUARD = 1e-9  # relative: another machine may differ in its last digits


def most_rebuilt(mechanisms: Iterable[Mechanism], *, chance: float) -> float:
    """The largest probability of rebuilding one unit's data from all releases of these mechanisms, 0 to 1.

    Args:
        mechanisms: all that read the unit; none at all leave the chance as it was.
        chance: probability of success without any release, between 0 and 1; a prior of 1 in 100 is 0.01.

    Raises:
        ValueError: chance is not between 0 and 1, or a mechanism has parameters that none has.
    """
    parts = list(mechanisms)
    curve = compose(gaussian_curve(q=q, sigma=sigma, steps=steps) for q, sigma, steps in parts)
    return min(loss_distribution.most_likely(parts, chance=chance), most_rebuilt_by_curve(curve, chance=chance))


def most_rebuilt_by_curve(curve: Curve, *, chance: float) -> float:
    """The same where only an RDP curve is known; 1 where it says nothing.

    Mironov 2017 (arXiv 1702.07476), proposition 10: an event of probability p without the unit has at most
    (p e^D)^((a - 1) / a) with it, where D is the loss at order a.

    Raises:
        ValueError: chance is not between 0 and 1.
    """
    if not 0.0 < chance < 1.0:
        raise ValueError(f"a chance of {chance} is not between 0 and 1")
    if not any(curve):
        return chance
    logs = [(math.log(chance) + loss) * (order - 1) / order for order, loss in zip(ORDERS, curve, strict=True)]
    return min(1.0, math.exp(min(0.0, *logs)) * (1 + _GUARD))
