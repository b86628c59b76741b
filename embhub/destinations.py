"""Whether a result can be written where it is wanted, found out before the work and not after it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from embhub.errors import ConfigError, UsageError


def check_file(path: Path) -> None:
    """Refuse a file's place that cannot be written; nothing is left there.

    Raises:
        UsageError: a folder of that name is in the way.
        ConfigError: its folder cannot be made or written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "name a file")
    _probe(nearest(path.parent))


def check_embedding(out: str | Path | None, *, overwrite: bool) -> Path | None:
    """The place of an embedding's file, refused where it cannot be written or a file is there; None stays None.

    Raises:
        UsageError: another ending than .safetensors, or the file exists and `overwrite` is off.
        ConfigError: its folder cannot be made or written.
    """
    if out is None:
        return None
    path = Path(out)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path} does not end in .safetensors", "name the file to write, such as cspca.safetensors")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists", "choose another name, or use --overwrite")
    folder = nearest(path.absolute().parent)
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"cannot write {path}", "choose a folder that you may write to")
    return path


def check_folder(path: Path) -> None:
    """Refuse a folder that can neither be made nor written; nothing is left there.

    Raises:
        ConfigError: a file of that name is in the way, or the folder cannot be made or written.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file", "choose another folder")
    _probe(nearest(path))


def nearest(path: Path) -> Path:
    """`path` itself or the nearest of its parents that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _probe(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"cannot write in {folder}: {error.strerror}"
        raise ConfigError(reason, "choose a folder that you may write to") from error
