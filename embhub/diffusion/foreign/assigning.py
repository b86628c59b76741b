"""Which matrix of a foreign file belongs to which text encoder: by its name, else by its width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from embhub.diffusion.foreign.contents import Contents
from embhub.errors import ArtifactError

_NAME = "name the family that it was trained for"
_CHAT = ("gemma", "mistral", "qwen")
"""How the kinds of chat models begin; their rows have the component's name."""


def assign(files: Sequence[Contents], wanted: Mapping[str, int], family: str) -> dict[str, torch.Tensor]:
    """Matrices under the tensor names of a layout.

    Args:
        files: what each file holds; one for each encoder, or one for all.
        wanted: tensor name -> width of its rows, from the base.

    Raises:
        ArtifactError: a matrix too many, one missing, or one of another width.
    """
    named = [item for file in files for item in file.named.items()]
    unnamed = [rows for file in files for rows in file.unnamed]
    if len(named) + len(unnamed) != len(wanted):
        raise ArtifactError(
            f"{_the_files(files)} {len(named) + len(unnamed)} matrices of rows where {family} has {len(wanted)}",
            _NAME if len(named) + len(unnamed) > 1 else f"a file for each of {', '.join(wanted)} is read with it",
        )
    found: dict[str, torch.Tensor] = {}
    for encoder, rows in named:
        # A base of one encoder has it under a name of its own.
        _place(found, encoder if encoder in wanted or len(wanted) > 1 else next(iter(wanted)), rows, wanted, family)
    for rows in unnamed:
        fitting = [encoder for encoder, width in wanted.items() if width == rows.shape[1] and encoder not in found]
        _place(found, fitting[0] if fitting else next(iter(set(wanted) - set(found))), rows, wanted, family)
    return found


def read_widths(fingerprint: Mapping[str, Any]) -> dict[str, int]:
    """Tensor names and widths for a base, from its fingerprint: the kinds of its encoders tell the layout."""
    encoders = [fingerprint["encoders"][name] for name in sorted(fingerprint["encoders"])]
    if any(encoder["kind"].lower().startswith(_CHAT) for encoder in encoders):
        return {name: encoder["dim"] for name, encoder in sorted(fingerprint["encoders"].items())}
    kinds = tuple("t5" if "t5" in encoder["kind"].lower() else "clip" for encoder in encoders)
    names = {
        ("clip",): ("emb_params",),
        ("t5",): ("t5xxl",),
        ("clip", "clip"): ("clip_l", "clip_g"),
        ("clip", "t5"): ("clip_l", "t5xxl"),
        ("clip", "clip", "t5"): ("clip_l", "clip_g", "t5xxl"),
    }
    if kinds == ("clip",) and fingerprint["prediction_type"] == "sample":
        return {"clip_g": encoders[0]["dim"]}  # Kandinsky 2.2's prior, the one that predicts what it denoises itself
    if kinds not in names:
        raise ArtifactError("no layout is known for a base with these text encoders", "pass --base-family instead")
    return {name: encoder["dim"] for name, encoder in zip(names[kinds], encoders, strict=True)}


def _place(
    found: dict[str, torch.Tensor], encoder: str, rows: torch.Tensor, wanted: Mapping[str, int], family: str
) -> None:
    if encoder in found or encoder not in wanted:
        reason = "twice" if encoder in found else f"which {family} does not have"
        raise ArtifactError(f"there are rows for {encoder}, {reason}", _NAME)
    if rows.shape[1] != wanted[encoder]:
        needs = f"{wanted[encoder]}" if len(wanted) == 1 else f"{wanted[encoder]} for {encoder}"
        raise ArtifactError(f"rows are {rows.shape[1]} wide; {family} needs {needs}", _NAME)
    found[encoder] = rows


def _the_files(files: Sequence[Contents]) -> str:
    return "the file holds" if len(files) == 1 else "the files hold"
