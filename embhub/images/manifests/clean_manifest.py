"""A manifest of the images that can be read, from a folder or a table that somebody else made."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.images.manifests.sample import Sample
from embhub.images.manifests.volumes import is_volumes_file


def check_place(out: Path, listed_in: Path | None) -> None:
    """Refuse before anything is read.

    Raises:
        UsageError: the file exists, or the images are slices of volumes, which no manifest lists.
    """
    if listed_in is not None and is_volumes_file(listed_in):
        raise UsageError("a volumes file lists slices, which no manifest can", "leave out --write-manifest")
    if out.exists():
        raise UsageError(f"{out} exists already", "name a new file for the manifest")


def write(samples: Sequence[Sample], out: Path) -> None:
    """Write a manifest in UTF-8 that its owner alone may read: paths from its own folder, and what is known of each.

    A header tells that images have captions of their own. So that column is written where the source has it, whether
    or not an image has a caption: else the only one who has a caption would decide.

    Raises:
        UsageError: there is no image to list. ConfigError: it cannot be written.
    """
    if not samples:
        raise UsageError("no image could be read, so there is no manifest to write", "see what inspect says of them")
    rows = [_row(sample, out.resolve().parent) for sample in samples]
    names = [name for name in ("path", "patient_id", "label", "split") if any(row.get(name) for row in rows)]
    names += ["caption"] if any(sample.caption is not None for sample in samples) else []
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    try:
        write_atomic(out, text.getvalue().encode("utf-8"), mode=0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot write {out}: {error.strerror}", "name a file in a folder that you may write"
        ) from error


def _row(sample: Sample, folder: Path) -> dict[str, str]:
    return {
        "path": os.path.relpath(sample.path, folder),
        "patient_id": sample.patient_id or "",
        "label": sample.label,
        "split": "" if sample.split == "train" else sample.split,
        "caption": sample.caption or "",
    }
