"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from embhub.errors import ConfigError


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` under `path` so that a crash or a full disk leaves the old file or none, never a part.

    A temporary file in the same folder is written, fsynced and renamed; the folder is fsynced after.

    Raises:
        ConfigError: the folder is missing, read-only or full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError(
            f"cannot write in {path.parent}: {error.strerror}", "choose a folder that you may write to"
        ) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
        sync(path.parent)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", "free space or choose another folder") from error
    finally:
        Path(name).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
