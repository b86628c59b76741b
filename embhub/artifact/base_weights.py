"""All weights of a base as one SHA-256, for a claim that holds for this very base alone.

A fingerprint (`embhub.artifact.fingerprint`) reads samples with a tolerance, so that copies in other number formats
agree; biases, norms and most matrices may differ unseen. This digest covers every number of every part.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from embhub.formats.slices import BadWeightsError, SliceReader, find_weights

_BESIDE = frozenset({"safety_checker"})
"""Parts that have no say in what is generated or learned; some copies of a base leave them out."""


def digest(folder: Path) -> str:
    """SHA-256 (hex) of names, number types, shapes and bytes of all tensors of a pipeline in diffusers' folder format.

    How tensors are spread over files does not matter, and neither does the metadata of the files.

    Raises:
        BadWeightsError: a part with pickled weights alone, a damaged file, or a tensor that is there twice.
    """
    total = hashlib.sha256()
    for part in sorted(path for path in Path(folder).iterdir() if _is_part(path)):
        with SliceReader(find_weights(part)) as weights:
            if weights.repeated:
                raise BadWeightsError(
                    f"{part} holds the tensor {ascii(weights.repeated[0])[:80]} twice", "download the base model again"
                )
            for name, extent in sorted(weights.extents.items()):
                content = hashlib.sha256()
                for piece in weights.read_pieces(name):
                    content.update(piece)
                line = [part.name, name, extent.kind, list(extent.shape), content.hexdigest()]
                total.update(json.dumps(line).encode("ascii") + b"\n")
    return total.hexdigest()


def _is_part(path: Path) -> bool:
    weights = (*path.glob("*.safetensors"), *path.glob("*.bin")) if path.is_dir() else ()
    return path.name not in _BESIDE and bool(weights)
