"""Between two embeddings of one start: rows on the arc between theirs, at lengths between theirs.

Only siblings have a between. Rows that were learned from one start, with one number of vectors, still point nearly
the same way, and row i of one stands where row i of the other does. Unrelated rows are all but orthogonal: what lies
between them stands for neither, and their plain mean is a third shorter than they are. To mix those, mix what is
predicted of their prompts (`embhub.diffusion.generation.composition`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embhub.artifact import embedding as artifact
from embhub.artifact.embedding import Embedding
from embhub.errors import ArtifactError

LEAST_COSINE = 0.5
"""Siblings are above it, unrelated rows about 0 (measured: docs/explanation/using-embeddings.md)."""

Rows = NDArray[Any]


class NotSiblingsError(ArtifactError):
    """Two embeddings with nothing between them: other bases, shapes, or starts."""


def check_siblings(start: Embedding, end: Embedding) -> float:
    """The mean cosine of their rows, one by one, where the two are siblings.

    Raises:
        NotSiblingsError: another base, other encoders, another number of vectors, or rows that share no start.
    """
    hint = "mix what their prompts generate instead: --interpolate-to, or --and with a weight each"
    names = f"{start.token} and {end.token}"
    if start.base != end.base or start.base_name != end.base_name:
        raise NotSiblingsError(
            f"{names} were made for different bases, {start.base_name} and {end.base_name}",
            "interpolate embeddings of one base",
        )
    shapes = [{name: rows.shape for name, rows in one.tensors.items()} for one in (start, end)]
    if shapes[0] != shapes[1]:
        counts = " and ".join(str(len(next(iter(one.tensors.values())))) for one in (start, end))
        raise NotSiblingsError(
            f"{names} differ in their vectors ({counts}): no row of one stands for one of the other", hint
        )
    cosine = min(mean_cosine(start.tensors[name], end.tensors[name]) for name in start.tensors)
    if cosine < LEAST_COSINE:
        raise NotSiblingsError(
            f"the rows of {names} have a mean cosine of {cosine:.2f}; rows learned from one start have {LEAST_COSINE} "
            "or more, and between others lies nothing that either was taught",
            hint,
        )
    return cosine


def slerp(start: Embedding, end: Embedding, share: float) -> Embedding:
    """The embedding at `share` (0 to 1) of the way from `start` to its sibling `end`, under the token of `start`.

    Each row is turned along the great circle between the two (Shoemake 1985, "Animating rotation with quaternion
    curves") and has a length between theirs. At 0 and 1 the rows are those of the ends.

    Raises:
        NotSiblingsError: as `check_siblings`; ValueError: a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share} is not between 0 and 1")
    check_siblings(start, end)
    rows = {name: _between(start.tensors[name], end.tensors[name], share) for name in start.tensors}
    return artifact.build(
        rows, token=start.token, base=start.base, base_name=start.base_name, training={}, dtype="float32"
    )


def mean_cosine(start: Rows, end: Rows) -> float:
    """Mean cosine of rows (n, d) and (n, d), one by one."""
    return float(np.mean(np.sum(_directions(start) * _directions(end), axis=1)))


def _between(start: Rows, end: Rows, share: float) -> NDArray[np.float64]:
    if share in (0, 1):
        return (end if share else start).astype(np.float64)
    one, two = _directions(start), _directions(end)
    angle = np.arccos(np.clip(np.sum(one * two, axis=1, keepdims=True), -1, 1))
    sine = np.where(angle < 1e-4, 1.0, np.sin(angle))
    first = np.where(angle < 1e-4, 1 - share, np.sin((1 - share) * angle) / sine)
    second = np.where(angle < 1e-4, share, np.sin(share * angle) / sine)
    lengths = (1 - share) * _lengths(start) + share * _lengths(end)
    turned: NDArray[np.float64] = (first * one + second * two) * lengths
    return turned


def _lengths(rows: Rows) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True))


def _directions(rows: Rows) -> NDArray[np.float64]:
    directions: NDArray[np.float64] = rows.astype(np.float64) / np.maximum(_lengths(rows), 1e-12)
    return directions
