"""Whether a compact adapter will fit into a file, before anything is learned: a ledger takes no charge back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from embhub.artifact import embedding as artifact
from embhub.artifact.adapter import MOST_RANK, TARGETS, TOOL
from embhub.errors import UsageError
from embhub.formats import tensors

_MORE = 10_000
"""Bytes: more than the facts of a training and a privacy claim take in a header."""


def check(unet: Any, rank: int, *, token: str, base: Mapping[str, Any], base_name: str) -> None:
    """Refuse a rank whose matrices make too large a file.

    Raises:
        UsageError: it does, and which ranks fit.
    """
    shapes = {name: part.weight.shape for name, part in unet.named_modules() if re.fullmatch(TARGETS, name)}

    def fits(tried: int) -> bool:
        matrices = {}
        for name, (out, width) in shapes.items():
            matrices[f"unet.{name}.lora_A.weight"] = np.zeros((tried, width), np.float16)
            matrices[f"unet.{name}.lora_B.weight"] = np.zeros((out, tried), np.float16)
        try:
            made = artifact.build(matrices, token=token, base=base, base_name=base_name, training={"tool": TOOL})
        except tensors.FileTooLargeError:
            return False
        return len(made.data) + _MORE <= tensors.MAX_BYTES

    if fits(rank):
        return
    most = max((tried for tried in range(1, min(rank, MOST_RANK)) if fits(tried)), default=0)
    raise UsageError(
        f"an adapter of rank {rank} for {base_name} does not fit into a file of {tensors.MAX_BYTES:,} bytes",
        f"choose --rank {most}; nothing was trained" if most else "no rank fits: train an embedding instead",
    )
