"""All weights of a loaded base as one SHA-256, for a claim that holds for this very base alone.

A fingerprint (`embhub.artifact.fingerprint`) reads samples with a tolerance, so that copies in other number formats
agree; biases, norms and most matrices may differ unseen. This digest covers every number. It looks at what is in
memory, not at files: which of the files in a folder count, and what is added to them, is for the loaders to decide
(indices, `transformers_weights`, adapters that lie beside a model).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from embhub.diffusion.families.pipeline import Pipeline

_BESIDE = frozenset({"safety_checker"})
"""Parts that have no say in what is generated or learned; some copies of a base leave them out."""


def digest(pipe: Pipeline) -> str:
    """SHA-256 (hex) of the weights of a pipeline as it was loaded, before anything is plugged into it.

    It is that of lines, sorted: for each weight and each buffer of numbers that a part saves, its part, number format,
    shape and SHA-256. Names are left out, since libraries rename weights between versions. The number format is that in
    memory, so that two devices agree only where the base is loaded alike on both.
    """
    lines = sorted(
        json.dumps([name, str(tensor.dtype), list(tensor.shape), _hash(tensor)])
        for name, part in pipe.components.items()
        if isinstance(part, nn.Module) and name not in _BESIDE
        for tensor in _numbers(part)
    )
    return hashlib.sha256("\n".join(lines).encode("ascii")).hexdigest()


def _numbers(part: nn.Module) -> Iterator[Tensor]:
    """Each parameter once, tied ones too; and buffers of fractions that are saved, such as running means."""
    yield from part.parameters()
    saved = part.state_dict()
    yield from (buffer for name, buffer in part.named_buffers() if name in saved and buffer.is_floating_point())


def _hash(tensor: Tensor) -> str:
    content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(content.numpy().data).hexdigest()
