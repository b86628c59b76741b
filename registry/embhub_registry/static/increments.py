"""Increments for sticks: what an earlier export lacks, and what it has to lose.

An increment holds the files that differ, the list of all files, and `removed.txt`. The registry notes what it exported
at each checkpoint, so that a checkpoint is enough to say what the other side has.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.log import checkpoints, notes
from embhub.log.errors import LogError
from embhub_registry.static import continuing, export_paths, items, layout, writing
from embhub_registry.static.items import LARGEST_MANIFEST, LAST, MANIFEST, REMOVED, Item
from embhub_registry.static.refusing import refused
from embhub_registry.static.writing import Written

MEMORY = "exports"  # in the registry's folder
KEPT = 50  # checkpoints
MOST_BYTES = 20_000_000_000  # that an increment brings, if the person who applies it does not say another number
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
                files = items.read_manifest(data).files
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


def apply(increment: Path, folder: Path, *, most: int = MOST_BYTES) -> Written:
    """Bring an earlier export in `folder` up to date. It then is what a whole export would have written.

    The list of all files and `README.txt`, which tells a person what to type, are written anew.

    Args:
        increment: the folder of the increment.
        folder: that of the earlier export.
        most: bytes of files that the export does not have; each file counts as in `writing.room_of`.

    Raises:
        UsageError: the increment is none, is damaged, is too large, or begins after what is there. Nothing was changed.
        ConfigError: the folder cannot be written, or has no room. Otherwise as `continuing.check`.
    """
    try:
        listed = items.read_manifest(_read(increment / MANIFEST))
    except ValueError as error:
        raise UsageError(f"{increment} cannot be used: {error}", "copy it again") from error
    found, held, left = list[Item](), items.in_place(folder), most
    for path, digest in listed.files.items():
        item = layout.readme() if path == layout.README_PATH else _find(path, digest, (increment, folder))
        found.append(item)
        left -= 0 if held.get(path) == digest else writing.room_of(item.size)
        if left < 0:
            raise UsageError(
                f"the increment has more than {most:,} bytes that this export does not have",
                "nothing was changed; if whoever made it says that it is so large, give a larger --max-bytes",
            )
    continuing.check({item.path: item for item in found}, folder)
    made = items.manifest(found, registry=listed.registry, checkpoint=listed.checkpoint)
    return writing.put([*found, made], folder)


def _find(path: str, digest: str, folders: Iterable[Path]) -> Item:
    known, larger = export_paths.place_of(path), False
    if known is None:
        raise refused(f"it has {path}, which is no file of an export")
    for folder in folders:
        try:
            data = _bytes_of(folder / path, known.limit)
        except _TooLargeError:
            larger = True
            continue
        if data is not None and hashlib.sha256(data).hexdigest() == digest:
            reading = partial(_read_again, folder / path, digest, known.limit)
            return Item(path, digest, len(data), reading, known.stage)
    if larger:
        raise refused(f"{path} has more than {known.limit:,} bytes")
    raise UsageError(
        f"neither the increment nor the export has {path} as it was written",
        "apply the increments before this one first, or copy a whole export; nothing was changed",
    )


def _read_again(place: Path, digest: str, limit: int) -> bytes:
    """The bytes that were there when it was found: a device may answer otherwise each time that it is read."""
    with contextlib.suppress(_TooLargeError):
        data = _bytes_of(place, limit)
        if data is not None and hashlib.sha256(data).hexdigest() == digest:
            return data
    raise UsageError(f"{place} changed while it was read", "copy the increment again; nothing was changed")


class _TooLargeError(Exception):
    """A file has more bytes than one of its path may have."""


def _bytes_of(place: Path, limit: int) -> bytes | None:
    """The bytes of a file; None where there is none. No more are read than it may have, whatever a device says.

    Raises:
        _TooLargeError: it has more.
        UsageError: it cannot be read.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK)  # nobody waits for the other end of a pipe
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(place, error) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return None
        if facts.st_size > limit:
            raise _TooLargeError
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            data = stream.read(facts.st_size + 1)
    except OSError as error:
        raise _unreadable(place, error) from error
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise _TooLargeError
    return data


def _unreadable(place: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot read {place}: {error.strerror}", _HINT)


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
        data = _bytes_of(path, LARGEST_MANIFEST)
    except _TooLargeError as error:
        raise UsageError(f"{path} is too large", _HINT) from error
    if data is None:
        raise UsageError(f"there is no file {path}", _HINT)
    return data
