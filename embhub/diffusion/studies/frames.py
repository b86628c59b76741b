"""A frame as bytes: rows and directions that all sites start from, the same to the last bit.

An eigendecomposition differs between machines, so that sites that laid frames of their own would learn different rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from embhub.diffusion.dp.subspace import Frame
from embhub.errors import ArtifactError

MAX_BYTES = 31_000_000


def frame_to_bytes(frame: Frame) -> bytes:
    """Safetensors with `start.ENCODER` (K, D) and `directions.ENCODER` (k, D), float32."""
    tensors = {f"start.{name}": rows.cpu().contiguous() for name, rows in frame.start.items()}
    tensors |= {f"directions.{name}": rows.cpu().contiguous() for name, rows in frame.directions.items()}
    return bytes(safetensors.torch.save(tensors))


def frame_from_bytes(
    data: bytes, *, digest: str, start: Mapping[str, Tensor], width: int, device: torch.device
) -> Frame:
    """The frame whose file has this SHA-256 (hex), on a device.

    Args:
        start: rows (K, D) for each encoder of the base that is at hand, for their shapes alone.
        width: how many numbers are learned.

    Raises:
        ArtifactError: another file, or rows and directions that do not fit the base.
    """
    if len(data) > MAX_BYTES or hashlib.sha256(data).hexdigest() != digest:
        raise ArtifactError("the frame is not the study's")
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError("the frame is no safetensors file") from error
    names = {f"{kind}.{name}" for kind in ("start", "directions") for name in start}
    sound = set(tensors) == names and all(
        part.dtype == torch.float32 and part.ndim == 2 and bool(torch.isfinite(part).all()) for part in tensors.values()
    )
    if not sound:
        raise ArtifactError("the frame is of other encoders than the base's, or not of numbers")
    frame = Frame(
        {name: tensors[f"start.{name}"].to(device) for name in start},
        {name: tensors[f"directions.{name}"].to(device) for name in start},
    )
    fits = all(
        frame.start[name].shape == rows.shape and frame.directions[name].shape[1] == rows.shape[1]
        for name, rows in start.items()
    )
    if not fits or frame.size != width:
        raise ArtifactError("the frame's rows do not fit the base, or not the study's width")
    return frame
