"""Compact adapters for tests, of a U-Net with two places that read text, and of all its attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embhub.artifact.adapter import TOOL
from embhub.artifact.embedding import Embedding, build
from tests.support.releases import BASE

TINY = tuple(
    f"{block}.attentions.0.transformer_blocks.0.attn2" for block in ("down_blocks.1", "mid_block", "up_blocks.0")
)
"""Places of the U-Net of `tests.support.pipelines`, whose attention is 32 wide."""
PLACES = ("down_blocks.0.attentions.0.transformer_blocks.0.attn2", "mid_block.attentions.0.transformer_blocks.0.attn2")


def make_matrices(
    *, rank: int = 2, width: int = 32, out: int = 48, places: tuple[str, ...] = PLACES, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Matrices under diffusers' names."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for place in places:
        for part in ("to_k", "to_v"):
            found[f"unet.{place}.{part}.lora_A.weight"] = rng.normal(size=(rank, width)) * 0.1
            found[f"unet.{place}.{part}.lora_B.weight"] = rng.normal(size=(out, rank)) * 0.1
    return found


def make_attention(
    *, rank: int = 2, width: int = 32, hidden: int = 48, places: tuple[str, ...] = PLACES, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Matrices of all linear layers of these places and of the self-attention beside them."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for place in (*places, *(place.replace("attn2", "attn1") for place in places)):
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            reads = width if place.endswith("attn2") and part in ("to_k", "to_v") else hidden
            found[f"unet.{place}.{part}.lora_A.weight"] = rng.normal(size=(rank, reads)) * 0.1
            found[f"unet.{place}.{part}.lora_B.weight"] = rng.normal(size=(hidden, rank)) * 0.1
    return found


def make_adapter(
    matrices: Mapping[str, NDArray[Any]] | None = None, *, base: Mapping[str, Any] | None = BASE, **changes: Any
) -> Embedding:
    """A checked adapter."""
    given: dict[str, Any] = {"token": "<cspca>", "base": base, "base_name": "builtin", "training": {"tool": TOOL}}
    return build(make_matrices() if matrices is None else matrices, **{**given, **changes})
