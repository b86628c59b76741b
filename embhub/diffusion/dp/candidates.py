"""What patients vote on: candidates for the rows, as coordinates. Nothing here reads an image of a patient.

The first candidates are the start, words of the base, and points about the start. Later ones lie about the mean of what
stood out of the noise. So all are functions of the base and of noisy counts: post-processing, which costs no privacy.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.diffusion.bases.live_fingerprint import base_rows
from embhub.diffusion.dp.subspace import Frame
from embhub.diffusion.families import encoders
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.rows import starting_rows
from embhub.errors import UsageError

_PUBLIC_SEED = 0
"""Candidates are no secret: anybody can compute the first ones."""
_REACH, _SHRINK = 2.0, 0.6
"""How far from the start points lie at first, in mean norms of the base's token embeddings; what is left each round."""
STANDS_OUT = 2.0
"""Counts weigh nothing below so many standard deviations of the noise."""
_SHORTEST_WORD, _TRIES = 4, 5000


class Candidates:
    """`points` (M, size) float64 to vote on, always as many, and the `centre` (size,) that votes led to.

    `scale` (size,) is how far a point may lie along each coordinate, relative to the others; 0 for not at all.
    `followed` has the points and the counts (M,) of every round that was followed: all that the centre rests on.
    """

    def __init__(self, first: Tensor, scale: Tensor, *, rows: int = 1) -> None:
        self.scale, self._reach = scale.double(), _REACH * rows**0.5
        self._generator = torch.Generator().manual_seed(_PUBLIC_SEED)
        self.points, self.centre = first.double(), first[0].double()
        self.followed: list[tuple[Tensor, NDArray[np.float64]]] = []

    def __len__(self) -> int:
        return len(self.points)

    def add_about_centre(self, count: int) -> None:
        """Add random points at the present distance from the centre."""
        drawn = torch.randn(count, len(self.scale), generator=self._generator, dtype=torch.float64)
        drawn *= (self.scale > 0).double()
        drawn /= drawn.norm(dim=1, keepdim=True).clamp(min=1e-300)
        self.points = torch.cat([self.points, self.centre + drawn * self.scale * self._reach])

    def follow(self, shares: NDArray[np.float64], *, noise: float) -> None:
        """Move the centre to the mean of what stood out of the noise, and make new points about it.

        Where nothing stood out it stays: the largest count would most likely be the noise's choice.

        Args:
            shares: (M,) noisy counts over the declared number of patients.
            noise: their standard deviation.
        """
        self.followed.append((self.points, shares.copy()))
        count, best = len(self), self.points[int(np.argmax(shares))]
        weights = torch.from_numpy(np.maximum(shares - STANDS_OUT * noise, 0.0))
        if weights.sum() > 0:
            self.centre = weights @ self.points / weights.sum()
        self._reach *= _SHRINK
        self.points = torch.stack([self.centre, best])
        self.add_about_centre(count - len(self))


def first_candidates(pipe: Pipeline, frame: Frame, count: int, directions: int) -> Candidates:
    """`count` candidates: the start, words for half of what is left, and points about the start.

    Points are spread along the first `directions` axes of each row, 0 for all.

    Raises:
        UsageError: more candidates than the rows have numbers.
    """
    if count > frame.size:
        raise UsageError(f"{count} candidates for {frame.size} numbers", f"choose --num-candidates up to {frame.size}")
    generator = torch.Generator().manual_seed(_PUBLIC_SEED)
    vectors = len(next(iter(frame.start.values())))
    words = pick_words(pipe, (count - 1) // 2, generator)
    spelled = [
        frame.coordinates(starting_rows(pipe, word, vectors, generator=generator, **_spread(vectors))) for word in words
    ]
    start = torch.zeros(1, frame.size)
    first = torch.cat([start, *(row[None].float() for row in spelled)])
    made = Candidates(first, _scale(pipe, frame, directions), rows=vectors)
    made.add_about_centre(count - len(made))
    return made


def pick_words(pipe: Pipeline, count: int, generator: torch.Generator) -> list[str]:
    """At most `count` words at random, each one token of the base's first tokenizer; none where it reads no words."""
    if not encoders(pipe):
        return []
    encoder, found = encoders(pipe)[0], list[str]()
    for number in torch.randperm(base_rows(encoder), generator=generator)[:_TRIES].tolist():
        if len(found) == count:
            break
        text = encoder.tokenizer.decode([number]).strip()
        is_word = len(text) >= _SHORTEST_WORD and text.isalpha() and text.isascii() and text.lower() not in found
        if is_word and encoder.tokenizer(text, add_special_tokens=False).input_ids == [number]:
            found.append(text.lower())
    return found


def _spread(vectors: int) -> dict[str, float]:
    """One vector is the word's own; several would stay equal."""
    return {"spread": 0.0} if vectors == 1 else {}


def _scale(pipe: Pipeline, frame: Frame, directions: int) -> Tensor:
    """1 for the leading axes of each row, 0 for the others; without words, the norm of the start."""
    parts = []
    for name, start in frame.start.items():
        axes = len(frame.directions[name])
        row = (torch.arange(axes) < (directions or axes)).float()
        if not encoders(pipe):  # axes have no length of their own there
            row = torch.full((axes,), float(start.norm(dim=1).mean()))
        parts.append(row.repeat(len(start)))
    return torch.cat(parts)
