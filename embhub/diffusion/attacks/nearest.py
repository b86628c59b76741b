"""Extraction: does what the embedding draws come nearer to training images than to others of the same kind?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from embhub.diffusion.attacks.evidence import Evidence, Suspect
from embhub.diffusion.generation.generation import draw
from embhub.diffusion.training.inversion import encode_images
from embhub.diffusion.training.per_layer import insert

DRAWN = 32
STEPS, GUIDANCE = 20, 1.0
"""Without guidance the pictures are those that the embedding was fitted to."""


def score_by_nearest(evidence: Evidence) -> Tensor:
    """Minus the distance, in latents, from each image to the nearest of 32 drawn ones.

    Non-members are the control distribution: that a drawn image resembles some training image means nothing before it
    is known how much it resembles images that nobody learned from. After Carlini et al. 2023, arXiv 2301.13188.

    Raises:
        ValueError: no embedding to ask.
    """
    suspect = evidence.interrogate()
    latents = encode_images(suspect.pipe, draw_pictures(suspect))
    distances = torch.cdist(suspect.latents.flatten(1).double(), latents.cpu().flatten(1).double())
    return -distances.min(1).values


def draw_pictures(suspect: Suspect) -> Tensor:
    """32 pictures (32, 3, H, W) in [-1, 1] drawn with the embedding; drawn once, and then remembered by the suspect."""
    if suspect.drawn:
        return suspect.drawn[0]
    rows = insert(suspect.pipe, suspect.token, suspect.rows)
    prompt = rows.expand(suspect.caption.replace("{}", suspect.token))
    with rows.active(), torch.no_grad():
        side = suspect.images.shape[-1] if suspect.images is not None else None
        drawn = draw(
            suspect.pipe, prompt, n=DRAWN, seed=suspect.seed, steps=STEPS, guidance_scale=GUIDANCE, side=side
        )  # fmt: skip
    pixels = np.stack([np.asarray(image.convert("RGB"), np.float32) for image in drawn]) / 127.5 - 1
    suspect.drawn.append(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    return suspect.drawn[0]
