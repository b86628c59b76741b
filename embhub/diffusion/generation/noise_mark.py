"""A mark in the first noise: its signs follow from a key and the image's seed, its sizes from the seed alone.

After Gaussian shading (Yang et al. 2024, arXiv 2404.04956). Normal noise keeps its size |z| and gets pseudo-random
signs, so that the noise of one image is as normal as before, and that of images with different indexes is independent.
The index is the seed modulo `INDEXES`. The key is the SHA-256 of a published file: everybody who has the release can
look for the mark, and could make it (ADR 0029). Nothing here depends on an image that was trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from embhub.diffusion.families import find
from embhub.diffusion.families.pipeline import Pipeline

INDEXES = 1 << 8
"""Patterns of one key. Two images of a key have the same signs where their seeds are equal modulo this."""
SCHEME = "gaussian-shading/1"
_DOMAIN = b"embhub.mark/1\0"
_FAMILIES = ("sd", "sdxl", "sd3")
_RANDOM = ("DDPM", "Ancestral", "SDE", "LCM", "TCD", "EDMDPM")


def signs(key: str, index: int, size: int) -> npt.NDArray[np.int8]:
    """The pattern, (size,) of -1 and 1, for a key (64 hexadecimal digits) and an index."""
    stream = hashlib.shake_256(_DOMAIN + bytes.fromhex(key) + index.to_bytes(2, "big")).digest((size + 7) // 8)
    bits = np.unpackbits(np.frombuffer(stream, np.uint8))[:size]
    return (2 * bits.astype(np.int8) - 1).astype(np.int8)


def why_unmarked(pipe: Pipeline) -> str | None:
    """Why a pipeline's images cannot be marked; None where they can be."""
    family = find(pipe)
    if family is None or family.name not in _FAMILIES or family.draw is not None:
        return f"no mark for a {type(pipe).__name__}"
    scheduler = pipe.scheduler
    kind, algorithm = type(scheduler).__name__, str(getattr(scheduler.config, "algorithm_type", ""))
    if any(word in kind for word in _RANDOM) or ("DPMSolver" in kind and algorithm.startswith("sde")):
        return "the scheduler adds noise of its own at every step"
    return None


def describe(pipe: Pipeline, key: str | None) -> dict[str, Any]:
    """What a manifest says of the mark: its scheme and key, or why there is none."""
    why = "not wanted" if key is None else why_unmarked(pipe)
    return {"scheme": SCHEME, "key": key} if why is None else {"scheme": None, "why": why}


@contextmanager
def marked(pipe: Pipeline, key: str | None, seeds: Sequence[int]) -> Iterator[None]:
    """While open, a call of the pipeline for images of these seeds starts from marked noise; with no key, from plain.

    The generators are used up as without a mark, and an image does not depend on its batch.
    """
    if key is None or why_unmarked(pipe) is not None:
        yield
        return
    drawing: Any = pipe
    plain = drawing.prepare_latents

    def prepare(*args: Any, **kwargs: Any) -> torch.Tensor:
        noise: torch.Tensor = plain(*args, **kwargs)
        size = noise[0].numel()
        pattern = np.stack([signs(key, seed % INDEXES, size) for seed in seeds])
        return noise.abs() * torch.from_numpy(pattern).to(noise).view_as(noise)

    drawing.prepare_latents = prepare
    try:
        yield
    finally:
        del drawing.prepare_latents
