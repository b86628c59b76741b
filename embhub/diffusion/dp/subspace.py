"""Where private rows may go: along the main directions of the base's own token table, which are public.

Noise falls on every number that is learned, what patients have in common does not grow with their number: so few
numbers are learned. A row is its public start plus a few steps along the first principal components of the table (cf.
the public subspaces of Zhou, Wu and Banerjee 2020, arXiv 2007.03813). A step of 1 is as long as the base's token rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from embhub.diffusion.bases.live_fingerprint import base_rows
from embhub.diffusion.families import encoders
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.rows import starting_rows

_PUBLIC_SEED = 0
"""The rows to start from are no secret: anybody can compute them."""
EVERY = 2**31
"""For `dimensions` of `lay`: all principal components, however many there are."""


@dataclass(frozen=True)
class Frame:
    """Rows as coordinates: for each encoder `start` (K, D) and `directions` (k, D), float32."""

    start: Mapping[str, Tensor]
    directions: Mapping[str, Tensor]

    @property
    def size(self) -> int:
        """How many numbers are learned."""
        return sum(len(rows) * len(self.directions[name]) for name, rows in self.start.items())

    def rows(self, coordinates: Tensor) -> dict[str, Tensor]:
        """Rows (..., K, D) for each encoder, from coordinates (..., size); differentiable."""
        made, first = {}, 0
        for name, start in self.start.items():
            along = self.directions[name]
            count = len(start) * len(along)
            part = coordinates[..., first : first + count]
            part = part.reshape(*part.shape[:-1], len(start), len(along))
            made[name] = start + part @ along
            first += count
        return made

    def coordinates(self, rows: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `rows`: coordinates (size,), of the nearest rows that there are where none fit.

        It needs directions that are at right angles, as `lay` makes them.
        """
        parts = []
        for name, start in self.start.items():
            along = self.directions[name]
            parts.append(((rows[name].to(start) - start) @ along.T / along.square().sum(1)).flatten())
        return torch.cat(parts).cpu()


def lay(pipe: Pipeline, words: str, vectors: int, dimensions: int | None) -> Frame:
    """The frame for `vectors` rows that start from `words`; with None for `dimensions` rows may go anywhere.

    It depends on the base and on the arguments alone. Where the base reads no words, its vector may go anywhere.
    """
    generator = torch.Generator().manual_seed(_PUBLIC_SEED)
    start = starting_rows(pipe, words, vectors, generator=generator)
    directions = {}
    for name, rows in start.items() if not encoders(pipe) else ():  # no table to tell main directions of
        directions[name] = torch.eye(rows.shape[1], device=pipe.device)
    for encoder in encoders(pipe):
        table = encoder.table.detach()[: base_rows(encoder)].double().cpu()
        length = float(table.norm(dim=1).mean())
        axes = _principal(table)[:dimensions] if dimensions else torch.eye(table.shape[1], dtype=torch.float64)
        directions[encoder.name] = (axes * length).float().to(pipe.device)
    return Frame({name: rows.to(pipe.device) for name, rows in start.items()}, directions)


def _principal(table: Tensor) -> Tensor:
    """Orthonormal axes (D, D) of a table's rows about their mean, of the largest variance first."""
    centred = table - table.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    axes = axes.flip(1).T
    # An axis has no sign of its own: its largest number is positive, so that two machines agree.
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    signed: Tensor = axes * largest.sign()
    return signed
