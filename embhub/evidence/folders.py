"""A folder that appears whole or not at all, and replaces nothing but an earlier one of its kind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Set
from pathlib import Path

from embhub import destinations
from embhub.durable import write_atomic
from embhub.errors import ArtifactError, ConfigError


def check(folder: Path, document: str, parse: Callable[[bytes], object], *, beside: Set[str], what: str) -> None:
    """Refuse a folder that `write_whole` must not replace, before the work rather than after.

    An earlier one holds a `document` that parses, and nothing else but files of the names `beside`.

    Raises:
        ConfigError: it holds something that is no earlier one, or cannot be written.
    """
    destinations.check_folder(folder)
    found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    try:
        if not found or (found <= {document, *beside} and parse((folder / document).read_bytes())):
            return
    except (OSError, ArtifactError):
        pass
    raise ConfigError(f"{folder} is not empty, and holds no {what}", "name a new folder")


def write_whole(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files under their names, in place of what is in the folder.

    Raises:
        ConfigError: the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise ConfigError(f"cannot write in {folder.parent}: {error.strerror}", "choose another folder") from error
    try:
        new, old = room / "new", room / "old"
        for name, data in files.items():
            write_atomic(new / name, data)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        raise ConfigError(f"cannot write {folder}: {error.strerror}", "choose another folder") from error
    finally:
        shutil.rmtree(room, ignore_errors=True)
