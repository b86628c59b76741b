"""Checkpoints of a training run: one file, replaced whole, so that a killed run loses minutes and never its state."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

NAME = "checkpoint.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint in `folder` by `state` (tensors and plain values) in one rename."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{NAME}.part"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / NAME)


def load(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint in `folder`, or None where there is none."""
    path = folder / NAME
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
