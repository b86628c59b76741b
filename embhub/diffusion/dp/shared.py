"""DP-SGD on the patients of several sites: each adds a sum of whole numbers with its share of noise, all take one step.

`SharedDescent` is a site's side. It differs from a private training on one site in the last of three parts: patients
are sampled and bounded by the same `Mechanism`, and `release` is a share of noise here and a masked sum over sites. The
mechanism's sampling rate and denominator are those of all sites together.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from embhub.diffusion.dp.dpsgd import PrivateDescent
from embhub.diffusion.dp.gradients import Contributions
from embhub.diffusion.dp.mechanism import Mechanism, Vectors
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.study.grid import Grid, Residues, Whole


class SharedDescent:
    """One site of a private training of `coordinates` (size,), which are the same at all sites, bit for bit.

    `mechanism` is that of all sites together; of its noise, `grid.share_variance` is this site's part.

    Raises:
        ValueError: the grid has another clip than the mechanism: the noise would be sized for other vectors.
    """

    def __init__(self, loss: Contributions, mechanism: Mechanism, recipe: ResolvedRecipe, grid: Grid) -> None:
        if grid.clip != mechanism.max_grad_norm:
            raise ValueError(f"a grid with a clip of {grid.clip}, and vectors are cut to {mechanism.max_grad_norm}")
        self.grid, self._descent = grid, PrivateDescent(loss, mechanism, recipe)

    @property
    def coordinates(self) -> Tensor:
        """What was learned so far (size,), float64: public."""
        return self._descent.coordinates

    def contribute(self) -> Residues:
        """This site's sum over its sampled patients with its share of noise, modulo 2^32: for a mask, and no other use.

        Call inside `PatientLoss.active`. Nothing is said of who came, nor of losses that are no numbers.
        """
        total = self._descent.gather(self._round)  # of whole numbers below 2^53, so that no sum of them is rounded
        return self.grid.protect(total.astype(np.int64))

    def follow(self, total: Residues) -> None:
        """Take the step along a sum over sites (size,), which is public.

        Raises:
            DivergedError: as `move`.
        """
        self._descent.move(torch.from_numpy(self.grid.mean(total, self._descent.mechanism.denominator)))

    def digest(self) -> str:
        """SHA-256 (hex) of rows and momentum: sites that were shown different sums have different ones."""
        parts = [part.numpy().astype("<f8").tobytes() for _, part in sorted(self._descent.state().items())]
        return hashlib.sha256(b"embhub.study-step/1 %d " % self._descent.taken + b"".join(parts)).hexdigest()

    def _round(self, vectors: Vectors) -> Whole:
        return self.grid.round(self._descent.mechanism.bound(vectors))
