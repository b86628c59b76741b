"""Phantoms: drawn, captioned stand-ins for medical images, free of any person, for examples, tests and base models.

Every finding is a combination of attributes (tone, size, edge, shape, place, side). Some combinations are held out
(`HELD_OUT`): no base model sees or reads of them, so that an embedding which draws one has learned something new.
"""

from __future__ import annotations

from embhub.phantoms.dataset import NORMAL, write_dataset
from embhub.phantoms.findings import HELD_OUT, MODALITIES, Finding, caption, is_held_out, target_finding
from embhub.phantoms.varied import draw, draw_many, near_misses, random_shape

__all__ = [
    "HELD_OUT",
    "MODALITIES",
    "NORMAL",
    "Finding",
    "caption",
    "draw",
    "draw_many",
    "is_held_out",
    "near_misses",
    "random_shape",
    "target_finding",
    "write_dataset",
]
