"""What folders of drawn images say of themselves: embeddings, base, and how the training images were fitted."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from embhub.builtin_bases import NAMES
from embhub.diffusion.generation.redrawn_files import SCHEMA as REDRAWN
from embhub.images.manifests.columns import find_separator
from embhub.images.manifests.manifest import NAME as MANIFEST
from embhub.options.preprocessing import FITS, Fit

_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_MOST = 50_000_000


def class_folders(place: Path) -> list[Path]:
    """The folders of a folder without a manifest: each is named after its label."""
    if not place.is_dir() or (place / MANIFEST).is_file():
        return []
    return sorted(one for one in place.iterdir() if one.is_dir() and not one.name.startswith("."))


def fits(place: Path) -> set[Fit]:
    """What `embhub research dataset` and `embhub generate` wrote down of how images are fitted, where they did."""
    folder = place.parent if place.is_file() else place
    said: list[Any] = []
    for path in (folder / "dataset.json", *(one / "manifest.json" for one in class_folders(folder))):
        try:
            values = json.loads(_text(path) or "{}")
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict):
            said += [values.get("fit")] if values.get("embeddings") else []
            said += [item.get("fit") for item in _items(values, "classes") for item in _items(item, "embeddings")]
    return {fit for fit in FITS if fit in said}


def _items(values: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = values.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def read(place: Path) -> tuple[tuple[str, ...], bool, bool, tuple[str, ...]]:
    """Embeddings and bases that `embhub research dataset` or `embhub generate` wrote down, as `Drawn` has them."""
    table = place if place.is_file() else place / MANIFEST
    if table.is_file():
        found, told = _in_table(table)
        return tuple(sorted(found)), told, False, _table_bases(table)
    lists = [_in_list(one / "manifest.json") for one in class_folders(place)]
    digests = {digest for item in lists if item is not None for digest in item[0]}
    redrawn = any(item is not None and item[1] for item in lists)
    return tuple(sorted(digests)), None not in lists, redrawn, _listed_bases(place)


def _in_table(path: Path) -> tuple[set[str], bool]:
    """The digests of a manifest's column `embedding`, and whether it has one."""
    if (text := _text(path)) is None:
        return set(), False
    separator = find_separator(text.partition("\n")[0])
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    found = {digest for row in rows for digest in _DIGEST.findall(row.get("embedding") or "")}
    return found, "embedding" in (rows.fieldnames or ())


def _table_bases(path: Path) -> tuple[str, ...]:
    """The digests of a manifest's column `base`; none where a row has none."""
    if (text := _text(path)) is None:
        return ()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=find_separator(text.partition("\n")[0])))
    found = [row.get("base") or "" for row in rows]
    return tuple(sorted(set(found))) if all(_DIGEST.fullmatch(one) for one in found) else ()


def _listed_bases(place: Path) -> tuple[str, ...]:
    """The bases that each label's `manifest.json` names, built-in ones by name; none where one names none."""
    found = list(_each_base(place))
    return tuple(sorted(set(found))) if all(one in NAMES or _DIGEST.fullmatch(one) for one in found) else ()


def _each_base(place: Path) -> Iterator[str]:
    for one in class_folders(place):
        try:
            values = json.loads(_text(one / "manifest.json") or "")
        except (ValueError, RecursionError):
            values = None
        told = values if isinstance(values, dict) else {}
        yield str(told.get("base") if told.get("base") in NAMES else told.get("base_fingerprint"))


def _in_list(path: Path) -> tuple[set[str], bool] | None:
    """The digests that a `manifest.json` names, and whether it is of redrawn images; None where it says none."""
    try:
        values = json.loads(_text(path) or "")
    except (ValueError, RecursionError):
        return None
    items = values.get("embeddings") if isinstance(values, dict) else None
    if not isinstance(items, list):
        return None
    digests = [item.get("sha256") for item in [*items, values.get("slerp_to")] if isinstance(item, dict)]
    known = {digest for digest in digests if isinstance(digest, str) and _DIGEST.fullmatch(digest)}
    return known, values.get("schema") == REDRAWN


def _text(path: Path) -> str | None:
    if not path.is_file() or path.stat().st_size > _MOST:
        return None
    return path.read_bytes().decode("utf-8", errors="replace")
