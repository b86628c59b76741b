"""Putting files in place: a reader who comes in between finds the state before or the state after, never a mixture.

All that is new is written beside the export first, so that a full disk changes nothing. Then each file is renamed into
its place, in the order of `items`: what others name comes before them. What is gone is removed last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embhub import durable
from embhub.errors import ConfigError, UsageError
from embhub_registry.static.items import MANIFEST, Item

STAGING = ".embhub-export"
BLOCK = 4_096  # bytes that a file may take beside its own


@dataclass(frozen=True)
class Written:
    """What changed in the folder: files written, files removed, and how many there are."""

    written: int
    removed: int
    files: int


def put(found: Sequence[Item], folder: Path) -> Written:
    """Make `folder` hold these files and no others.

    Args:
        found: the files, the list of them among them.

    Raises:
        UsageError: the folder holds other things than an export.
        ConfigError: it cannot be written, has no room for what is new, or another process writes it. It then is as it
            was before.
    """
    _check(folder)
    with durable.alone(folder):
        changed = [item for item in found if not (item.in_place or _holds(folder / item.path, item))]
        _check_room(changed, folder)
        staged = _stage(changed, folder)
        try:
            _switch(staged, folder)
            removed = _remove_others({item.path for item in found}, folder)
        except OSError as error:
            raise _unwritable(folder, error) from error
    return Written(len(changed), removed, len(found))


def _check(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise ConfigError(
            f"cannot write {folder}: {error.strerror}", "choose a folder that you may write to"
        ) from error
    if names and STAGING not in names and not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} holds other things than an export: nothing was changed", "choose a new folder")


def room_of(size: int) -> int:
    """The most bytes of a disk that a file of this size takes."""
    return size + BLOCK


def _check_room(changed: Sequence[Item], folder: Path) -> None:
    """All that is new lies beside the old until it is whole, so a disk without room for it is not filled in vain."""
    needed = sum(room_of(item.size) for item in changed)
    facts = os.statvfs(folder)
    free = facts.f_bavail * facts.f_frsize
    if needed > free:
        what = f"what is new takes up to {needed:,} bytes, and {free:,} bytes are free in {folder}"
    elif facts.f_files and len(changed) > facts.f_favail:  # some filesystems count no files
        what = f"{len(changed):,} files are new, and {facts.f_favail:,} more files can be made in {folder}"
    else:
        return
    if changed:
        raise ConfigError(what, "free space or choose another folder; what was there stays")


def _holds(path: Path, item: Item) -> bool:
    try:
        return path.stat().st_size == item.size and hashlib.sha256(path.read_bytes()).hexdigest() == item.digest
    except OSError:
        return False


def _stage(changed: Sequence[Item], folder: Path) -> list[tuple[Path, Item]]:
    staging, made = folder / STAGING, list[tuple[Path, Item]]()
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        for number, item in enumerate(changed):
            path = staging / str(number)
            data = item.read()
            if hashlib.sha256(data).hexdigest() != item.digest:
                raise ConfigError(f"{item.path} changed while it was exported", "run it again")
            with path.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            path.chmod(0o644)
            made.append((path, item))
    except BaseException as error:
        _discard(folder)
        if isinstance(error, OSError):
            raise _unwritable(folder, error) from error
        raise
    return made


def _discard(folder: Path) -> None:
    """Remove what was staged."""
    shutil.rmtree(folder / STAGING, ignore_errors=True)


def _switch(staged: Sequence[tuple[Path, Item]], folder: Path) -> None:
    places = set()
    for path, item in sorted(staged, key=lambda pair: (pair[1].stage, pair[1].path)):
        place = folder / item.path
        _make_way(place, folder)
        path.replace(place)
        places.add(place.parent)
    for place in sorted(places):
        durable.sync(place)


def _make_way(place: Path, folder: Path) -> None:
    """The folders above a file, which all users may read as the files; what was a file before and is a folder now, or
    the reverse, is removed."""
    for above in reversed(place.relative_to(folder).parents[:-1]):
        step = folder / above
        if step.is_symlink() or (step.exists() and not step.is_dir()):
            step.unlink()
        if not step.exists():
            step.mkdir()
            step.chmod(0o755)  # whatever the umask: a web server is another user
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)


def _remove_others(kept: set[str], folder: Path) -> int:
    shutil.rmtree(folder / STAGING)
    removed = 0
    for top, _, files in os.walk(folder, topdown=False):
        below = os.path.relpath(top, folder)
        others = [name for name in files if (name if below == "." else f"{below}/{name}") not in kept]
        for name in others:
            (Path(top) / name).unlink()
        removed += len(others)
        if below != "." and len(others) == len(files) and not os.listdir(top):  # noqa: PTH208  # no paths are made
            Path(top).rmdir()
    return removed


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot write {folder}: {error.strerror or error}", "free space or choose another folder; what was there stays"
    )
