"""A site's part of a study, watched as `embhub.diffusion.dp.watch` does, before each sum is masked.

Vectors have to become whole numbers that are no longer than they were, their sum and nothing else has to be protected,
and what is laid on it has to be noise of the size of this site's share, new in each step. Counts are equal and noise is
what is left of the sum without its vectors, so that for code that is right nothing of it depends on a patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.watch import ALPHA, Watch, is_noise
from embhub.study.grid import Floats, Grid, Residues, Whole, wrap

_TRIED = 16


class SharedWatch(Watch):
    """What this site's part of a study did; `mechanism`, `patients` and `grid` of it are what the training has to use.

    `steps` is how many sums there are at most: noise is tested at each, so that in all right noise fails at `ALPHA`.
    """

    def __init__(self, mechanism: Mechanism, names: Sequence[str], grid: Grid, *, steps: int) -> None:
        super().__init__(mechanism, names)
        self.grid: Grid = _WatchedGrid(grid.clip, grid.clip_units, grid.share_variance, watch=self)
        self._alpha, self._rounded, self._whole = ALPHA / steps, 0, np.zeros(1, dtype=np.int64)
        self._last = np.zeros(0, dtype=np.int32)

    def try_grid(self, width: int) -> None:
        """Made-up vectors of `width` numbers, as long as may be, become whole numbers as they should.

        Raises:
            BrokenMechanismError: they do not.
        """
        made_up = np.random.default_rng().standard_normal((_TRIED, width))
        self.grid.round(made_up * (self.grid.clip / np.linalg.norm(made_up, axis=1, keepdims=True)))
        self._rounded, self._whole = 0, np.zeros(1, dtype=np.int64)
        self.refuse()

    def rounded(self, vectors: Floats, whole: Whole) -> None:
        """These vectors became whole numbers."""
        exact = vectors * (self.grid.clip_units / self.grid.clip)
        kept = whole.any(1)
        nearer = (np.abs(whole) <= np.abs(exact)) & (np.abs(exact - whole) < 1)
        short = (whole.astype(np.int64) ** 2).sum(1) <= self.grid.clip_units**2
        if whole.dtype != np.int64 or not nearer[kept].all() or not short.all():
            self._faults.add("whole numbers of the grid")
        self._rounded += len(whole)
        self._whole = self._whole + whole.sum(0)

    def protected(self, total: Whole, out: Residues) -> None:
        """The step's sum has its share of noise."""
        if not np.array_equal(np.broadcast_to(self._whole, total.shape), total) or self._rounded != self._vectors:
            self._faults.add("the sum and the vectors in it")
        laid = (out - wrap(total)).view(np.int32)
        left = laid / np.sqrt(self.grid.share_variance)
        self.energy, self.values = self.energy + float(left @ left), self.values + len(left)
        if not is_noise(self.energy, self.values, alpha=self._alpha) or np.array_equal(laid, self._last):
            self._faults.add("noise on the sum")
        self._last, self._rounded, self._whole = laid, 0, np.zeros(1, dtype=np.int64)
        self.end_step()


@dataclass(frozen=True)
class _WatchedGrid(Grid):
    watch: SharedWatch

    def round(self, vectors: Floats) -> Whole:
        whole = super().round(vectors)
        self.watch.rounded(vectors, whole)
        return whole

    def protect(self, total: Whole) -> Residues:
        out = super().protect(total)
        self.watch.protected(total, out)
        return out
