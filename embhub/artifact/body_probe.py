"""Figures of the weights beside those of the token space: the bodies of encoders and denoiser, and the autoencoder.

Without them a fine-tune of convolutions or of self-attention alone, or another decoder, would read as the same base.
Each figure is one row projected by fixed signs and divided by the row's length, so that small tensors count as much as
large ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from embhub.artifact.base_identity import BODY_ROWS, BODY_TENSORS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Groups = dict[str, list[float]]


class Rows(Protocol):
    """What gives rows of tensors: `matrices` those of two dimensions, `kernels` those of convolutions, each as (rows,
    width)."""

    matrices: dict[str, tuple[int, int]]
    kernels: dict[str, tuple[int, int]]

    def read_row(self, key: str, row: int) -> NDArray[np.float64]:
        """One row as float64."""
        ...


def take(weights: Rows, *, but: Callable[[str], object] = lambda _: False) -> Groups:
    """Figures of the matrices and of the kernels, at most BODY_TENSORS x BODY_ROWS each; an empty group is left out."""
    groups = {"matrices": {k: s for k, s in weights.matrices.items() if not but(k)}, "kernels": weights.kernels}
    return {name: _probe(weights, shapes) for name, shapes in groups.items() if shapes}


def pick_row(index: int, rows: int) -> int:
    """The row that figure `index` is taken of."""
    return int.from_bytes(hashlib.sha256(f"embhub.base/1 row {index}".encode()).digest()[:8], "big") % rows


def fixed_signs(width: int) -> NDArray[np.float64]:
    """+1 or -1 a column, from SHAKE-256: the same on every machine and with every version of numpy."""
    import numpy as np

    raw = hashlib.shake_256(b"embhub.base/1 signs").digest((width + 7) // 8)
    bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8))[:width]
    return bits.astype(np.float64) * 2 - 1


def _probe(weights: Rows, shapes: Mapping[str, tuple[int, int]]) -> list[float]:
    keys = sorted(shapes)
    chosen = sorted({keys[index * len(keys) // BODY_TENSORS] for index in range(BODY_TENSORS)})
    return [
        _figure(weights.read_row(key, row))
        for key in chosen
        for row in sorted({pick_row(index, shapes[key][0]) for index in range(BODY_ROWS)})
    ]


def _figure(row: NDArray[np.float64]) -> float:
    import numpy as np

    length = float(np.linalg.norm(row))
    return float(f"{float(row @ fixed_signs(len(row))) / length:.4g}") if length else 0.0
