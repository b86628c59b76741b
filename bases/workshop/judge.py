"""What a judge says of images: the held-out finding, another finding, both or neither; and what it is trained on.

A judge is made hard to flatter by blurred images, and by images that went through the autoencoder of a base, as all
generated ones have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from bases.workshop.counting import tensor
from embhub.builtin_bases import resolve
from embhub.diffusion.adaptation.base_training.latent_pictures import rebuilt

Images = NDArray[np.uint8]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Verdict:
    """For each image: does it show the `target`, does it show any `other` finding; bool (N,) each."""

    target: Marks
    other: Marks

    @property
    def target_only(self) -> Marks:
        """Images that show the target and nothing else."""
        marks: Marks = self.target & ~self.other
        return marks

    def shares(self) -> dict[str, float]:
        """Shares of the images: target, target and nothing else, another finding, nothing."""
        nothing = ~self.target & ~self.other
        names = {"target": self.target, "target_only": self.target_only, "other": self.other, "nothing": nothing}
        return {name: round(float(marks.mean()), 3) for name, marks in names.items()}


Judge = Callable[[Images], Verdict]


def blurred(images: Images, width: float) -> Images:
    """Copies smoothed by a Gaussian of `width` pixels."""
    return np.stack([gaussian_filter(image.astype(np.float32), (width, width, 0)) for image in images]).astype(np.uint8)


def reconstructed(images: Images, base: str | Path, device: str = "cpu") -> Images:
    """Copies that went through the autoencoder of `base`, uint8 (N, H, W, 3)."""
    folder = resolve(base)
    model = AutoencoderKL.from_pretrained(str(folder), subfolder="vae", torch_dtype=torch.float32).eval().to(device)
    copies: Images = ((rebuilt(model, tensor(images)) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return copies
