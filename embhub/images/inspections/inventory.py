"""What lies in a folder and is not read, by kind, and what to do about it. Names are looked at and not kept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from embhub.images.inspections.report import Ignored
from embhub.images.manifests.manifest import NAME
from embhub.images.readers.sniffing import kind_of

_RAW = (".tga", ".ppm", ".pgm")
_SUFFIXES = {
    "NIfTI": (".nii", ".nii.gz"),
    "other volume": (".mha", ".mhd", ".nrrd", ".mgz", ".raw", ".hdr", ".img"),
    "whole slide": (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".czi"),
    "other image": (".webp", ".bmp", ".gif", ".jfif", ".jpe", ".apng", ".jxl", ".jp2", ".j2k", ".heic", ".avif", *_RAW),
    "archive": (".zip", ".tar", ".gz", ".tgz", ".7z", ".bz2", ".xz"),
    "table": (".csv", ".tsv", ".xlsx", ".xls", ".json", ".parquet"),
}
_REMEDIES = {
    "NIfTI": "say in a volumes file which slices show the finding",
    "other volume": "write the slices that show the finding as 16-bit PNG",
    "whole slide": "cut tiles and write them as PNG",
    "other image": "write them as PNG",
    "archive": "unpack them",
    "table": "name it with --manifest if it lists the images",
    "images that no row names": "add rows, or leave them out on purpose",
    "hidden": "nothing: files that begin with a dot are left alone",
    "folders that may not be opened": "grant the right to read them, or leave them out",
}


def list_ignored(folder: Path, manifest: Path | None, listed: Collection[Path]) -> tuple[Ignored, ...]:
    """Files under `folder` that are not among `listed` (resolved paths), the most frequent kind first."""
    counts: Counter[str] = Counter()

    def closed(_: OSError) -> None:
        counts["folders that may not be opened"] += 1

    for place, folders, files in os.walk(folder, onerror=closed):
        counts["hidden"] += sum(name.startswith(".") for name in (*folders, *files))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(place, name)
            if not name.startswith(".") and path != manifest and name != NAME and not _is_listed(path, listed):
                counts[_kind(path, whole_folder=manifest is None)] += 1
    del counts[""]
    return tuple(
        Ignored(kind=kind, files=number, remedy=_REMEDIES.get(kind, ""))
        for kind, number in counts.most_common()
        if number
    )


def _is_listed(path: Path, listed: Collection[Path]) -> bool:
    try:
        return path.resolve() in listed
    except (OSError, RuntimeError):  # a link to itself: its error would tell the path
        return False


def _kind(path: Path, *, whole_folder: bool) -> str:
    name = path.name.lower()
    if kind_of(path) in ("picture", "dicom"):
        return "" if whole_folder else "images that no row names"  # in a folder each was read, or is a problem
    for kind, endings in _SUFFIXES.items():
        if name.endswith(endings):
            return kind
    return "other"
