"""How large the rows of a base's own token tables are, and an optimizer whose rate is in units of that size."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from embhub.diffusion.families import encoders, image_vectors
from embhub.diffusion.families.pipeline import Pipeline


def token_norms(pipe: Pipeline) -> dict[str, float]:
    """Mean length of the base's own token rows, for each encoder; infinite where the base reads no words, so that no
    row is long beside it."""
    if not encoders(pipe):
        return {image_vectors.NAME: math.inf}
    return {part.name: float(part.table.detach().float().norm(dim=1).mean()) for part in encoders(pipe)}


def token_units(pipe: Pipeline) -> dict[str, float]:
    """The unit of the learning rate for each encoder: the size of a typical number of its token rows, their mean length
    divided by the root of their width. It is a figure of the public base alone, 1 where the base reads no words.
    """
    widths = {part.name: int(part.table.shape[1]) for part in encoders(pipe)}
    norms = token_norms(pipe)
    return {name: norms[name] / math.sqrt(width) if norms[name] > 0 else 1.0 for name, width in widths.items()}


def row_optimizer(rows: Mapping[str, Tensor], units: Mapping[str, float]) -> torch.optim.AdamW:
    """AdamW on rows measured in `units`, so that the rows of every encoder move alike beside its own table."""
    groups = []
    for name, part in rows.items():
        unit = units.get(name, 1.0)
        groups.append({"params": [part], "unit": unit, "eps": 1e-8 / unit})
    return torch.optim.AdamW(groups, weight_decay=0.0)
