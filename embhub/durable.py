"""Files written whole or not at all, and by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embhub.errors import ConfigError


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` under `path` so that a crash or a full disk leaves the old file or none, never a part.

    A temporary file in the same folder is written, fsynced and renamed; the folder is fsynced after.

    Raises:
        ConfigError: the folder is missing, read-only or full.
    """
    import tempfile  # and what it needs, which no reader does

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


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time reads and writes `path`: what another one wrote meanwhile is not lost.

    The lock is a file beside it. The folder is made where it is missing, for its owner alone.

    Raises:
        ConfigError: the folder cannot be written.
    """
    lock = path.with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {lock}: {error.strerror}", "choose a home that you may write to") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes that ask out of the folder while open; a process that dies lets go.

    Raises:
        ConfigError: another process is at it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another process is writing {folder}", "wait, or choose another folder") from error
        yield
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
