"""Whether a compact adapter will fit into a file, before anything is learned: a ledger takes no charge back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from embhub.artifact import embedding as artifact
from embhub.artifact.adapter import TARGETS, TOOL
from embhub.errors import UsageError
from embhub.formats import tensors
from embhub.options.adapter import AdapterRecipe, TargetModules

_MORE = 10_000
"""Bytes: more than the facts of a training and a privacy claim take in a header."""


def check(unet: Any, recipe: AdapterRecipe, *, token: str, base: Mapping[str, Any], base_name: str) -> None:
    """Refuse a rank and target modules whose matrices make too large a file.

    Raises:
        UsageError: they do, and what fits.
    """

    def fits(modules: TargetModules, tried: int) -> bool:
        matrices = {}
        for name, part in unet.named_modules():
            if not re.fullmatch(TARGETS[modules], name):
                continue
            out, width = part.weight.shape
            matrices[f"unet.{name}.lora_A.weight"] = np.zeros((tried, width), np.float16)
            matrices[f"unet.{name}.lora_B.weight"] = np.zeros((out, tried), np.float16)
        try:
            made = artifact.build(matrices, token=token, base=base, base_name=base_name, training={"tool": TOOL})
        except tensors.FileTooLargeError:
            return False
        return len(made.data) + _MORE <= tensors.MAX_BYTES

    if fits(recipe.target_modules, recipe.rank):
        return
    smaller = [
        f"--target-modules {modules} --rank {rank}"
        for rank in range(recipe.rank, 0, -1)
        for modules in TARGETS
        if fits(modules, rank)
    ]
    raise UsageError(
        f"an adapter of rank {recipe.rank} for {base_name} does not fit into a file of {tensors.MAX_BYTES:,} bytes",
        f"choose {smaller[0]}; nothing was trained" if smaller else "no rank fits: train an embedding instead",
    )
