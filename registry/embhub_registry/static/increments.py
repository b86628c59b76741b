"""Increments for sticks: what an earlier export lacks, and what it has to lose.

An increment holds the files that differ, the list of all files, and `removed.txt`. The registry notes what it exported
at each checkpoint, so that a checkpoint is enough to say what the other side has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.log import checkpoints, notes
from embhub.log.errors import LogError
from embhub_registry.static import continuing, export_paths, items, writing
from embhub_registry.static.items import LARGEST_MANIFEST, LAST, MANIFEST, REMOVED, Item
from embhub_registry.static.refusing import refused
from embhub_registry.static.writing import Written

MEMORY = "exports"  # in the registry's folder
KEPT = 50  # checkpoints
_HINT = "give the folder of the earlier export, its embhub/v1/static.json, its log/checkpoint, or SIZE:ROOT"


@dataclass(frozen=True)
class Held:
    """What the other side has: final files surely, by path; and all paths that it may have."""

    files: dict[str, str]
    paths: frozenset[str]


def note(found: Sequence[Item], checkpoint: str, folder: Path, *, include: Collection[str] = ()) -> None:
    """Remember what was exported at a checkpoint: of several exports at one, what all of them held.

    Exports that include other things are remembered apart: a public increment names nothing private.

    Raises:
        ConfigError: the registry's folder cannot be written.
    """
    if not checkpoint:
        return
    path = _memory(checkpoint, folder, include)
    files = {item.path: item.digest for item in found if item.final}
    paths = {item.path for item in found}
    if path.exists():
        before = _recall(path)
        files = {name: digest for name, digest in files.items() if before.files.get(name) == digest}
        paths |= before.paths
    value = {"files": files, "paths": sorted(paths)}
    write_atomic(path, json.dumps(value, sort_keys=True).encode(), mode=0o600)
    for old in sorted(path.parent.glob("*.json"), key=lambda old: int(old.name.partition("-")[0]))[:-KEPT]:
        old.unlink()


def since(text: str, folder: Path, *, include: Collection[str] = ()) -> Held:
    """What the other side has, by an earlier export, the list of its files, or a checkpoint.

    Raises:
        UsageError: it is none of these, or this registry exported nothing at that checkpoint.
    """
    path = Path(text)
    if path.is_dir():
        path = path / MANIFEST
    if path.is_file():
        data = _read(path)
        if data.lstrip().startswith(b"{"):
            try:
                files = items.read_manifest(data)
            except ValueError as error:
                raise UsageError(f"{path} cannot be used: {error}", _HINT) from error
            return Held(files, frozenset(files))
        text = _of_checkpoint(data, path)
    known = _memory(text, folder, include) if _is_checkpoint(text) else None
    if known is None:
        raise UsageError(f"{text[:80]!a} is no earlier export and no checkpoint", _HINT)
    if not known.exists():
        raise UsageError(
            f"this registry noted no export at the checkpoint {text.partition(':')[0]}:…",
            "give the folder of the earlier export, or its embhub/v1/static.json; or export everything",
        )
    return _recall(known)


def write(found: Sequence[Item], held: Held, folder: Path) -> Written:
    """Write the increment from what is held to `found`. Raises as `writing.put`."""
    chosen = [item for item in found if item.path == MANIFEST or held.files.get(item.path) != item.digest]
    gone = sorted(held.paths - {item.path for item in found})
    listed = items.of_bytes(REMOVED, "".join(f"{path}\n" for path in gone).encode(), stage=LAST)
    done = writing.put([*chosen, listed], folder)
    return Written(done.written, len(gone), len(chosen))


def apply(increment: Path, folder: Path) -> Written:
    """Bring an earlier export in `folder` up to date. It then is what a whole export would have written.

    Raises:
        UsageError: the increment is none, is damaged, or begins after what is there. Nothing was changed.
        ConfigError: the folder cannot be written. Otherwise as `continuing.check`.
    """
    listed = _read(increment / MANIFEST)
    try:
        files = items.read_manifest(listed)
    except ValueError as error:
        raise UsageError(f"{increment} cannot be used: {error}", "copy it again") from error
    found = [_find(path, digest, (increment, folder)) for path, digest in files.items()]
    continuing.check({item.path: item for item in found}, folder)
    return writing.put([*found, items.of_bytes(MANIFEST, listed, stage=LAST)], folder)


def _find(path: str, digest: str, folders: Iterable[Path]) -> Item:
    stage = export_paths.stage_of(path)
    if stage is None:
        raise refused(f"it has {path}, which is no file of an export")
    for folder in folders:
        place = folder / path
        if place.is_file() and hashlib.sha256(data := place.read_bytes()).hexdigest() == digest:
            return Item(path, digest, len(data), partial(_read_again, place, digest), stage)
    raise UsageError(
        f"neither the increment nor the export has {path} as it was written",
        "apply the increments before this one first, or copy a whole export; nothing was changed",
    )


def _read_again(place: Path, digest: str) -> bytes:
    """The bytes that were there when it was found: a device may answer otherwise each time that it is read."""
    data = place.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise UsageError(f"{place} changed while it was read", "copy the increment again; nothing was changed")
    return data


def _of_checkpoint(data: bytes, path: Path) -> str:
    try:
        signed = checkpoints.parse(notes.parse(data))
    except LogError as error:
        raise UsageError(f"{path} cannot be used: {error.message}", _HINT) from error
    return f"{signed.size}:{signed.root.hex()}"


def _is_checkpoint(text: str) -> bool:
    size, colon, root = text.partition(":")
    return bool(colon) and size.isdecimal() and len(root) == 64 and set(root) <= set("0123456789abcdef")


def _memory(checkpoint: str, folder: Path, include: Collection[str]) -> Path:
    size, _, root = checkpoint.partition(":")
    return folder / MEMORY / f"{size}-{'-'.join([root[:32], *sorted(include)])}.json"


def _recall(path: Path) -> Held:
    said = json.loads(path.read_bytes())
    return Held(said["files"], frozenset(said["paths"]))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_MANIFEST + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", _HINT) from error
    if len(data) > LARGEST_MANIFEST:
        raise UsageError(f"{path} is too large", _HINT)
    return data
