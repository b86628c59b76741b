"""The steps that privacy is accounted for, by their parameters; no arithmetic, so that reading them costs nothing."""

from __future__ import annotations

from typing import Final, NamedTuple

GRID: Final = "embhub-losses/1"
"""The grid of losses that figures named `pld` follow."""


class Mechanism(NamedTuple):
    """`steps` steps of Gaussian noise `sigma` (a multiple of the sensitivity), each on a Poisson sample of rate `q`."""

    q: float
    sigma: float
    steps: int
