"""The files of an export: each with its place, its digest, and where its bytes come from when it is written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embhub.formats import strict_json

MANIFEST = "embhub/v1/static.json"
SCHEMA = "embhub.static/1"
REMOVED = "removed.txt"
LARGEST_MANIFEST = 200_000_000  # bytes
_MOST_NAMES = 2_500_000  # in it: no path of an export is so short that more fit in
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,239}|\.gitattributes")
_OF_COMMIT = re.compile(r"[^/]+/[^/]+/resolve/[0-9a-f]{40}/(?=.)")
_DIGEST = re.compile(r"[0-9a-f]{64}")

# What a reader that comes in between must find is put in place first: files before what names them.
FILES, TILES, CHECKPOINT, TRUST, STANDING, REVISIONS, LISTS, LAST = range(8)


@dataclass(frozen=True)
class Item:
    """One file. `stage` is when it is put in place, `final` whether its bytes never change under this path.

    `in_place`: whether somebody looked already, and the folder has these bytes.
    """

    path: str
    digest: str
    size: int
    read: Callable[[], bytes]
    stage: int
    final: bool = False
    in_place: bool = False


def of_bytes(path: str, data: bytes, *, stage: int) -> Item:
    """A file whose bytes are at hand."""
    return Item(path, hashlib.sha256(data).hexdigest(), len(data), lambda: data, stage)


def of_json(path: str, value: Any, *, stage: int) -> Item:
    """A JSON document: the same value gives the same bytes. A web server may call it HTML: it has no tag."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return of_bytes(path, text.replace("<", "\\u003c").encode() + b"\n", stage=stage)


def without_clashes(items: Iterable[Item]) -> list[Item]:
    """The items that can be files of one folder: none is a folder that another one needs, or comes twice."""
    found: dict[str, Item] = {}
    folders: set[str] = set()
    for item in sorted(items, key=lambda item: (item.stage, item.path)):
        above = {item.path.rsplit("/", depth)[0] for depth in range(1, item.path.count("/") + 1)}
        if item.path not in folders and item.path not in found and not above & found.keys():
            found[item.path] = item
            folders |= above
    return list(found.values())


def manifest(items: Iterable[Item], *, registry: str, checkpoint: str) -> Item:
    """The list of all files, which is written last: an export is whole when it is there."""
    files = {item.path: item.digest for item in items}
    value = {"schema": SCHEMA, "registry": registry, "checkpoint": checkpoint, "files": files}
    return of_json(MANIFEST, value, stage=LAST)


@dataclass(frozen=True)
class Listed:
    """What a list of all files says. `files` is digest by path."""

    registry: str
    checkpoint: str
    files: dict[str, str]


def read_manifest(data: bytes) -> Listed:
    """Read a list of all files.

    Raises:
        ValueError: it is none, or names a path that leads out of the folder.
    """
    try:
        said = strict_json.read_object(data, limit=LARGEST_MANIFEST, nodes=_MOST_NAMES, items=_MOST_NAMES)
    except strict_json.JsonError as error:
        raise ValueError("it is not the list of an export") from error
    files, texts = said.get("files"), [said.get(name) for name in ("registry", "checkpoint")]
    registry, checkpoint = (text if isinstance(text, str) and len(text) <= 1_000 else None for text in texts)
    if said.get("schema") != SCHEMA or not isinstance(files, dict) or registry is None or checkpoint is None:
        raise ValueError("it is not the list of an export")
    for path, digest in files.items():
        if not is_path(path) or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError(f"it names {path[:80]!a}, which is no file of an export")
    return Listed(registry, checkpoint, files)


def is_path(path: str) -> bool:
    """Whether this is the path of a file below a folder, without a name that any system reads in its own way."""
    return len(path) <= 1_000 and all(map(_PART.fullmatch, path.split("/")))


def in_place(folder: Path) -> dict[str, str]:
    """Digest by path of what an export has, by its list; where that is gone, of its commits, as their files are."""
    try:
        return read_manifest((folder / MANIFEST).read_bytes()).files
    except (OSError, ValueError):
        paths = (path for path in folder.glob("*/*/resolve/*/**/*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def commit_of(path: str) -> str | None:
    """The folder of the commit that this path is in, such as `radboud/one/resolve/` and 40 hex digits."""
    found = _OF_COMMIT.match(path)
    return found[0].rstrip("/") if found else None
