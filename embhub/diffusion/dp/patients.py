"""Images by whose they are: the unit that joins a step as a whole, and is protected as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Patients:
    """`latents` (N, C, h, w) of all images, and for each unit the places of its own."""

    latents: Tensor
    images: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.images)

    def draw_places(self, unit: int, count: int, generator: torch.Generator) -> list[int]:
        """`count` places of a unit's images, as evenly as can be. They depend on nobody else's images."""
        own = self.images[unit]
        order = torch.randperm(len(own), generator=generator).tolist()
        return [own[order[number % len(own)]] for number in range(count)]

    def take(self, places: Sequence[int]) -> Tensor:
        """The latents at some places."""
        return self.latents[torch.tensor(places, dtype=torch.long, device=self.latents.device)]


def group(units: Sequence[str], most: int) -> tuple[tuple[int, ...], ...]:
    """The places of each unit's images, the first `most` of them; units in the order of their first image.

    Which images of a unit are used does not depend on other units.
    """
    found: dict[str, list[int]] = {}
    for place, unit in enumerate(units):
        found.setdefault(unit, []).append(place)
    return tuple(tuple(places[:most]) for places in found.values())
