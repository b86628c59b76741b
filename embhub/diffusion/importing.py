"""Embeddings of other programs, read without running anything in them, written as an embhub file.

Known shapes: AUTOMATIC1111's `.pt` (`string_to_param`), diffusers' `.bin` (`{token: rows}`), and safetensors of
diffusers, kohya and ComfyUI (one matrix under any name). Pickles go through torch's restricted unpickler
(`weights_only`) alone, which builds tensors and plain containers and refuses everything else.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from embhub import embedding as artifact
from embhub.embedding import MAX_BYTES, Embedding
from embhub.errors import ArtifactError, UsageError
from embhub.site.files import write_atomic

_LARGEST = 16_000_000
"""Files of other programs may carry an optimizer's state beside the rows."""
_HEADER_ROOM = 8_000

FAMILIES = {"sd1": ("stable-diffusion-v1", 768), "sd2": ("stable-diffusion-2", 1024), "builtin": ("builtin", 128)}
"""Base families that an import can be for: the name to publish, and the width of their token rows."""


def import_file(
    path: str | Path,
    *,
    base_family: str,
    token: str,
    base_name: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Embedding:
    """Read a foreign embedding for one text encoder, and write it to `out` where that is given.

    Numbers stay float32 where the file then fits the size limit, so that nothing is lost; else they become float16.

    Args:
        base_family: `sd1`, `sd2` or `builtin`; no fingerprint is known, so loading can only compare widths.
        token: how prompts shall call it; whatever the file says is ignored.
        base_name: the base as its publisher calls it, such as `stabilityai/stable-diffusion-2-base`.

    Raises:
        UsageError: no such file or family, or `out` exists.
        ArtifactError: not an embedding, one of another width, or a pickle that asks for more than tensors.
    """
    artifact.check_token(token)
    if base_family not in FAMILIES:
        raise UsageError(f"no base family {base_family!r}", f"choose one of {', '.join(FAMILIES)}")
    target = Path(out) if out is not None else None
    if target is not None and target.exists() and not overwrite:
        raise UsageError(f"{target} exists", "choose another name, or say --overwrite")
    name, width = FAMILIES[base_family]
    rows, facts = _read(Path(path))
    if rows.shape[1] != width:
        raise ArtifactError(
            f"rows are {rows.shape[1]} wide; {base_family} needs {width}", "name the family that it was trained for"
        )
    imported = artifact.build(
        {"emb_params": rows},
        token=token,
        base=None,
        base_name=base_name or name,
        training={**facts, "vectors": len(rows), "tool": "embhub import"},
        dtype="float32" if rows.nbytes + _HEADER_ROOM <= MAX_BYTES else "float16",
    )
    if target is not None:
        write_atomic(target, imported.data)
    return imported


def _read(path: Path) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Rows (n, d) float32, and what the file says of its training that may be published."""
    try:
        size = path.stat().st_size
        if not path.is_file() or size > _LARGEST:
            raise ArtifactError(f"{path.name} is no embedding: {size:,} bytes", f"at most {_LARGEST:,} are read")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check the path") from error
    pickled = data[:2] == b"PK" or data[:1] == b"\x80"
    content = _read_pickle(path) if pickled else _read_safetensors(data, path)
    return _find_rows(content)


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on pickle protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArtifactError(
            f"{path.name} is a pickle that asks for more than tensors; nothing of it was run",
            "do not open it with other programs either; ask its author for a safetensors file",
        ) from error
    except Exception as error:
        raise ArtifactError(f"{path.name} is damaged", "fetch the file again") from error


def _read_safetensors(data: bytes, path: Path) -> Any:
    try:
        return load_safetensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{path.name} is no embedding file of a known kind", "use .pt, .bin or .safetensors"
        ) from error


def _find_rows(content: Any) -> tuple[NDArray[np.float32], dict[str, Any]]:
    facts: dict[str, Any] = {"source_format": "diffusers"}
    if isinstance(content, dict) and isinstance(content.get("string_to_param"), dict):
        facts = {"source_format": "AUTOMATIC1111"}
        if isinstance(steps := content.get("step"), int) and not isinstance(steps, bool):
            facts["source_steps"] = steps
        content = content["string_to_param"]
    if isinstance(content, torch.Tensor):
        content = {"": content}
    found = [value for value in content.values() if _is_rows(value)] if isinstance(content, dict) else []
    if len(found) != 1:
        raise ArtifactError(
            f"the file holds {len(found)} matrices of rows where one is expected",
            "embeddings for several text encoders are not imported yet",
        )
    rows = found[0].detach().to(torch.float32)
    return (rows[None] if rows.ndim == 1 else rows).contiguous().numpy(), facts


def _is_rows(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim in (1, 2) and value.numel() > 0
