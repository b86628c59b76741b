"""What a scanner does to a varied phantom: blur, uneven sensitivity, exposure, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embhub.phantoms.coordinates import Array, Plane, Random, blurred


@dataclass(frozen=True)
class Scanner:
    """Settings of one picture: `blur` in pixels of 128 an image, `gamma` and `contrast` of the exposure, `offset` of
    its brightness, `uneven` the deviation of sensitivity over the image, `noise` the deviation of each pixel,
    `grain` the width of its grains in pixels of 128."""

    blur: float
    gamma: float
    contrast: float
    offset: float
    uneven: float
    noise: float
    grain: float

    @classmethod
    def drawn(cls, view: Random) -> Scanner:
        """One of many scanners; none blurs or rushes so much that a finding's shape is lost."""
        return cls(
            blur=float(view.uniform(0.3, 1.1)),
            gamma=float(np.exp(np.clip(view.normal(0, 0.12), -0.25, 0.25))),
            contrast=float(view.uniform(0.85, 1.05)),
            offset=float(view.uniform(-0.03, 0.05)),
            uneven=float(view.uniform(0, 0.04)),
            noise=float(view.uniform(0.004, 0.018)),
            grain=float(view.uniform(0.3, 0.9)),
        )

    def picture(self, image: Array, plane: Plane, view: Random) -> NDArray[np.uint8]:
        """A phantom (S, S) or (S, S, 3), 0 to 1, as this scanner shows it, uint8 (S, S, 3)."""
        colour = image if image.ndim == 3 else image[..., None]
        pixel = plane.side / 128
        shown = np.moveaxis(blurred(np.moveaxis(colour, -1, 0), self.blur * pixel), 0, -1)
        shown = np.clip(shown, 0, 1) ** self.gamma
        shown = (shown - 0.5) * self.contrast + 0.5 + self.offset
        shown = shown * (1 + self.uneven * plane.texture(view, 0.5)[..., None])
        grain = blurred(view.standard_normal((plane.side, plane.side)).astype(np.float32), self.grain * pixel)
        shown = shown + (self.noise * grain / (grain.std() + 1e-6))[..., None]
        grey: NDArray[np.uint8] = (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)
        return np.repeat(grey, 3, axis=2) if grey.shape[2] == 1 else grey
