"""Vectors of patients as whole numbers that are summed modulo 2^32, and sums of them as numbers again.

A vector is rounded towards zero, number by number. None of its numbers grows, but for the last bit of the scaling: that
no vector is too long, a check in whole numbers decides. With 2^16 units to the longest vector, 1,024 numbers lose 1
part in 5,100 of it by rounding, and 6,144 numbers 1 in 2,100.

Rounding makes whole units of the least change. So a patient's vector has to have the same bits whoever else is in the
batch, or a patient's presence could move more of the sum than the patient's own vector. With padded batches it does on
a processor (measured: docs/explanation/private-training.md). It was not measured on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embhub.privacy.studies import MOST_CLIP_UNITS, SMALLEST_SHARE
from embhub.study import discrete_gaussian

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Residues = NDArray[np.uint32]

MODULUS: Final = 1 << 32
CLIP_UNITS: Final = 1 << 16
_STANDARD_DEVIATIONS = 10.0


@dataclass(frozen=True)
class Grid:
    """How real vectors become whole numbers.

    Attributes:
        clip: length of the longest vector of a patient.
        clip_units: the same in units of the grid.
        share_variance: of the noise that this site lays on each number, in squared units.

    Raises:
        ValueError: a clip that is no length, or numbers of units that no study has (`embhub.privacy.studies`).
    """

    clip: float
    clip_units: int
    share_variance: int

    def __post_init__(self) -> None:
        whole = type(self.clip_units) is int and type(self.share_variance) is int
        if not (whole and 1 <= self.clip_units <= MOST_CLIP_UNITS and 0.0 < self.clip < math.inf):
            raise ValueError(f"no grid has {self.clip_units} units to a clip of {self.clip}")
        if not SMALLEST_SHARE <= self.share_variance <= discrete_gaussian.LARGEST_VARIANCE:
            raise ValueError(f"no grid has noise of variance {self.share_variance}")

    def round(self, vectors: Floats) -> Whole:
        """Vectors of P patients (P, d), none longer than `clip`, as whole numbers of units, none longer than
        `clip_units`: checked in whole numbers. A longer one, or one that is no number, counts as zero."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.trunc(vectors * (self.clip_units / self.clip))
        near = (np.abs(scaled) <= self.clip_units).all(1, keepdims=True)  # false for what is no number
        whole = np.where(near, scaled, 0.0).astype(np.int64)
        within = (whole**2).sum(1, keepdims=True) <= self.clip_units**2
        return np.asarray(np.where(within, whole, 0))

    def protect(self, total: Whole) -> Residues:
        """A site's sum (d,) with its share of noise, modulo 2^32: what may be masked, and no more than that."""
        return wrap(total + discrete_gaussian.draw(total.size, self.share_variance))

    def mean(self, total: Residues, denominator: int) -> Floats:
        """The sum over sites (d,) as real numbers, over a public number of patients; the same bits on any machine."""
        signed = total.view(np.int32).astype(np.float64)
        return np.asarray(signed * self.clip / self.clip_units / denominator)


def wrap(whole: Whole) -> Residues:
    """Whole numbers modulo 2^32."""
    return np.asarray((whole & (MODULUS - 1)).astype(np.uint32))


def check_room(*, clip_units: int, share_variance: int, sites: int, patients: int) -> None:
    """Refuse a grid on which a sum might wrap around. That would spoil the sum, and tell nothing of anybody.

    Args:
        patients: whose vectors may all point the same way in a step: a multiple of those that are expected.

    Raises:
        ValueError: there is no room.
    """
    noise = _STANDARD_DEVIATIONS * math.sqrt(sites * share_variance)
    if patients * clip_units + noise >= MODULUS / 2:
        raise ValueError(f"{patients} patients and the noise of {sites} sites do not fit into 32 bits")
