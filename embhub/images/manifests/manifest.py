"""A folder of images, or a table `path,patient_id,label?,split?`, as a list of samples."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.errors import EmbhubError, UsageError
from embhub.images.manifests.captions import check_caption
from embhub.images.manifests.columns import (
    check_columns,
    describe_unused,
    find_separator,
    list_columns,
    rename,
)
from embhub.images.manifests.problems import Watcher
from embhub.images.manifests.sample import Listing, Sample
from embhub.images.manifests.volumes import NAMES as VOLUMES
from embhub.images.readers import spreadsheet
from embhub.images.readers.sniffing import kind_of
from embhub.site.memory.patients import key_patient, tidy

if TYPE_CHECKING:
    from embhub.images.readers.dicom_header import Header

NAME = "manifest.csv"
_MAX_BYTES = 50_000_000
MAX_ROWS = 500_000  # a row costs some hundred bytes of memory however short it is
_SPLITS = {"": "train", "train": "train", "training": "train", "holdout": "holdout"}


def find(source: Path, manifest: Path | None = None) -> tuple[Path, Path | None]:
    """The folder of images, and its manifest or volumes file where it has one or one is named.

    Raises:
        UsageError: neither a folder nor a file, or two manifests.
    """
    if manifest is not None and not manifest.is_file():  # a pipe would wait for ever
        raise UsageError(f"there is no manifest {manifest}", "name a CSV file with the columns path,patient_id")
    if source.is_file():
        if manifest is not None and not manifest.samefile(source):
            raise UsageError(
                "two manifests are named", "name the folder of images and --manifest, or one manifest alone"
            )
        return source.parent, source
    if not source.is_dir():
        raise UsageError(f"there is no folder or manifest {source}", "name a folder of images or a manifest")
    if manifest is None:
        manifest = next((source / name for name in (NAME, *VOLUMES) if (source / name).is_file()), None)
    return source, manifest


def scan(folder: Path, watcher: Watcher, *, headers: bool = True) -> Listing:
    root = folder.resolve()
    found = sorted(path for path in walk(root, watcher) if kind_of(path) in ("picture", "dicom"))
    if not found:
        raise UsageError(
            "there is no image in the folder", f"PNG, JPEG, TIFF and DICOM files are read; volumes by a {VOLUMES[0]}"
        )
    samples, relative, opened = [], [], _Headers(watcher, reads=headers)
    for number, path in enumerate(found, start=1):
        try:
            sample = Sample(reach(path, root, f"image {number}"), None, row=number)
        except EmbhubError as error:
            watcher.problem(error, [number])
            continue
        if (seen := opened.look(sample, "image")) is not None:
            samples.append(seen)
            relative.append(str(path.relative_to(root)))
    if not samples and opened.without_picture:
        raise UsageError("there is no image in the folder", "its DICOM files hold no pictures")
    return Listing(
        tuple(samples), tuple(relative), "image", headers=opened.found, without_picture=opened.without_picture
    )


class _Headers:
    """Headers of the DICOM files among samples; patients that nobody named come from there, keyed."""

    def __init__(self, watcher: Watcher, *, reads: bool) -> None:
        self.found: dict[int, tuple[Header, ...]] = {}
        self.without_picture = 0
        self._watcher = watcher
        self._reads = reads

    def look(self, sample: Sample, kind: str) -> Sample | None:
        """The sample with its patient; None for a file that is left out."""
        if not self._reads or kind_of(sample.path) != "dicom":
            return sample
        from embhub.images.readers.dicom_file import NoPictureError
        from embhub.images.readers.dicom_header import take

        try:
            header = take(sample.path, f"{kind} {sample.row}")
        except NoPictureError:
            self.without_picture += 1
            return None
        except UsageError as error:
            self._watcher.problem(error, [sample.row])
            return None
        self.found[sample.row] = (header,)
        return replace(sample, patient_id=header.patient) if sample.patient_id is None else sample


def walk(root: Path, watcher: Watcher) -> Iterator[Path]:
    """All that is not hidden. A folder that may not be opened is a problem: its images would be missing unseen."""
    closed: list[OSError] = []
    for place, folders, files in os.walk(root, onerror=closed.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in (*folders, *files) if not name.startswith("."))
    if closed:
        error = UsageError(
            f"{len(closed)} of the folders may not be opened",
            "grant the right to read them, or move them out: what they hold would be left out unseen",
        )
        watcher.problem(error)


def read_manifest(
    manifest: Path, folder: Path, where: str | None, watcher: Watcher, *, headers: bool = True,
    columns: Mapping[str, str] | None = None,
) -> Listing:  # fmt: skip
    rows = read_rows(manifest, columns)
    column, value = parse_where(where, rows)
    samples, relative, chosen, left_out, opened = [], [], 0, 0, _Headers(watcher, reads=headers)
    for number, row in enumerate(rows, start=2):
        if column and row.get(column, "").strip() != value:
            continue
        split = _SPLITS.get(row.get("split", "").strip().lower(), "")
        if column == "split":
            split = split or "train"
        if not split:
            left_out += 1
            continue
        chosen += 1
        try:
            sample = Sample(
                path=_find(row["path"], manifest, folder, number),
                patient_id=_patient(row, number),
                label=row.get("label", "").strip(),
                split=split,
                row=number,
                caption=check_caption(row["caption"], number) if "caption" in row else None,
            )
        except EmbhubError as error:
            watcher.problem(error, [number])
            continue
        if (seen := opened.look(sample, "row")) is not None:
            samples.append(seen)
            relative.append(row["path"])
    if not chosen:
        raise UsageError(
            "no row of the manifest has what --where asks for" if where else "the manifest lists no image to train on",
            "see the column that --where names" if where else "add rows with the split train, or none",
        )
    return Listing(
        tuple(samples),
        tuple(relative),
        "row",
        left_out,
        opened.found,
        opened.without_picture,
        notes=(unused,) if (unused := describe_unused(rows[0], column)) else (),
        issuers=frozenset(tidy(row.get("issuer", "")) for row in rows),
    )


def read_rows(manifest: Path, columns: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """The rows of a table, CSV or Excel's. `columns` are its own names by ours; where given, cp1252 is read, too."""
    hint = "name a folder of images, or a CSV or Excel file with a first line such as path,patient_id,label"
    try:
        if manifest.stat().st_size > _MAX_BYTES:
            raise UsageError("the manifest is larger than 50 MB", hint)
        data, own = manifest.read_bytes(), columns or {}
        if spreadsheet.is_workbook(data):
            text, separator = spreadsheet.to_csv(data, most_rows=MAX_ROWS), ","
        else:
            text = _decode(data, other=columns is not None)
            separator = find_separator(text.partition("\n")[0].rstrip("\r"), own.get("path", "path"))
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        names = rename([name.strip() for name in reader.fieldnames or []], own)
        check_columns(names)
        if "path" not in names or len(set(names)) != len(names):
            said = f"its columns are {listed}. " if (listed := list_columns(names)) else ""
            raise UsageError("the manifest has no column `path`, or a column twice", said + hint)
        reader.fieldnames = names
        rows = list(islice(reader, MAX_ROWS + 1))
    except OSError as error:
        raise UsageError(f"cannot read the manifest: {error.strerror}", "check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError("the manifest is not a CSV file in UTF-8", f"save it as CSV UTF-8; or {hint}") from error
    if len(rows) > MAX_ROWS:
        raise UsageError(f"the manifest has more than {MAX_ROWS:,} rows", "split it, and train on a part")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values() or not row["path"].strip():
            raise UsageError(f"row {number} of the manifest has not as many fields as the first line, or no path", hint)
    return rows


def _decode(data: bytes, *, other: bool) -> str:
    """The text of a table in UTF-8; `other`: or in Windows' western code (cp1252), in which Excel saves CSV."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError("the manifest is UTF-16", "save it as CSV in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if not other:
            raise
        return data.decode("cp1252")


def parse_where(where: str | None, rows: list[dict[str, str]]) -> tuple[str, str]:
    if not where:
        return "", ""
    column, equals, value = (part.strip() for part in where.partition("="))
    if not equals or (rows and column not in rows[0]):
        raise UsageError(
            "--where names no column of the manifest",
            f"write it as label=pneumonia; the columns are {list_columns(rows[0] if rows else ())}",
        )
    return column, value


def _find(path: str, manifest: Path, folder: Path, number: int) -> Path:
    """The file of a row, relative to the manifest, else to the folder of images."""
    for root in (manifest.parent, folder):
        try:
            if (candidate := root / path.strip()).exists():
                return reach(candidate, root, f"the image of row {number}")
        except OSError:  # a name too long for any file, a folder that may not be entered
            continue
    raise UsageError(f"the image of row {number} is not there", "paths are relative to the manifest")


def reach(path: Path, root: Path, name: str) -> Path:
    """The real file. A path that says `..` is taken at its word; a link that quietly leads elsewhere is not."""
    try:
        real = path.resolve()
        found = real.is_file()
    except (OSError, RuntimeError) as error:  # a folder that may not be entered, a link to itself: both tell the path
        raise UsageError(f"{name} cannot be reached", "list image files that you may read") from error
    if not found:
        raise UsageError(f"{name} is not a file", "list image files only")
    if not _is_text(str(real)):
        raise UsageError(f"{name} has a name that is not UTF-8", "rename it, or the folder that it lies in")
    spelled_inside = path.is_relative_to(root) and ".." not in path.relative_to(root).parts
    if spelled_inside and not real.is_relative_to(root.resolve()):
        raise UsageError(f"{name} is a link that leads out of its folder", "copy the file into the folder")
    return real


def _is_text(name: str) -> bool:
    """Whether a name can be written into this site's record, which is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _patient(row: dict[str, str], number: int) -> str | None:
    if "patient_id" not in row:
        return None
    if not (patient := tidy(row["patient_id"])):
        raise UsageError(f"row {number} has no patient id", "give every image a patient, or drop the column patient_id")
    issuer = tidy(row.get("issuer", ""))
    return key_patient(patient, issuer=issuer) if issuer else patient
