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

    def draw(self, chosen: Sequence[int], count: int, generator: torch.Generator) -> Tensor:
        """Latents (P x count, C, h, w) of the chosen units, one unit after the other, its images as evenly as can be.

        What a unit gets depends on nobody else's images.
        """
        return self.take(self.draw_places(chosen, count, generator))

    def draw_places(self, chosen: Sequence[int], count: int, generator: torch.Generator) -> list[int]:
        """Where these latents are, P x count places."""
        places = []
        for unit in chosen:
            own = self.images[unit]
            order = torch.randperm(len(own), generator=generator).tolist()
            places += [own[order[number % len(own)]] for number in range(count)]
        return places

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
