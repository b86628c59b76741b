"""Which file a message means by "image 12" or "row 12": for the person at the site alone, in no report and no file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from embhub.images.inspections.report import Inspection
from embhub.images.manifests.manifest import find, read_rows, walk
from embhub.images.manifests.problems import Watcher
from embhub.images.manifests.volumes import is_volumes_file
from embhub.images.readers.sniffing import kind_of

_NUMBERS = r"(\d+(?:, \d+)*)"


class _GoesOn(Watcher):
    """The report has said already what cannot be opened."""

    def problem(self, *_: object) -> None:
        """Nothing is refused here."""


def find_rows(found: Inspection) -> list[int]:
    """The numbers of images that a report speaks of, each once, in order."""
    numbers = {row for refusal in found.refusals for row in refusal.rows}
    for text in (*(refusal.message for refusal in found.refusals), *found.warnings, *found.remarks):
        for match in re.finditer(rf"\b{found.row_name}s? {_NUMBERS}", text):
            numbers |= {int(number) for number in match[1].split(", ")}
    return sorted(numbers)


def name_files(
    source: Path, manifest: Path | None, rows: Iterable[int], *, columns: Mapping[str, str] | None = None
) -> dict[int, str]:
    """The file behind each number, as the manifest spells it, or relative to the folder.

    Pictures of a volumes file are slices of scans, which no single file is: there the answer is empty.

    Raises:
        UsageError: no such folder or manifest, or one that is malformed.
    """
    folder, table = find(source, manifest)
    if table is not None and is_volumes_file(table):
        return {}
    if table is not None:
        names = {number: row["path"] for number, row in enumerate(read_rows(table, columns), start=2)}
    else:
        root = folder.resolve()
        kept = sorted(path for path in walk(root, _GoesOn()) if kind_of(path) in ("picture", "dicom"))
        names = {number: str(path.relative_to(root)) for number, path in enumerate(kept, start=1)}
    return {row: names[row] for row in rows if row in names}
