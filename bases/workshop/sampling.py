"""Drawing from a base for measurement: the stock pipeline, a prompt, a seed, uint8 pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.per_layer import insert

_AT_ONCE = 16


def sample(
    pipe: Pipeline,
    prompt: str,
    count: int,
    *,
    guidance: float,
    steps: int = 20,
    seed: int = 0,
    at_once: int = _AT_ONCE,
) -> NDArray[np.uint8]:
    """`count` pictures (N, H, W, 3) of `prompt`. Seed and `at_once` decide the noise that they begin with."""
    parts = []
    for first in range(0, count, at_once):
        number = min(at_once, count - first)
        drawn = pipe(
            [prompt] * number,
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="np",
            generator=torch.Generator().manual_seed(seed + first),
        )
        parts.append((np.clip(drawn.images, 0, 1) * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def sample_with(
    pipe: Pipeline,
    rows: Mapping[str, Tensor],
    caption: str,
    count: int,
    *,
    guidance: float,
    steps: int = 20,
    seed: int = 0,
    at_once: int = _AT_ONCE,
) -> NDArray[np.uint8]:
    """`count` pictures of `caption` with learned `rows` in place of `{}`."""
    token = "<measured>"  # noqa: S105  # a word of prompts, no secret
    inserted = insert(pipe, token, rows)
    with inserted.active():
        prompt = inserted.expand(caption.replace("{}", token))
        return sample(pipe, prompt, count, guidance=guidance, steps=steps, seed=seed, at_once=at_once)
