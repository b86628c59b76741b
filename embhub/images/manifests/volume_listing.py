"""From a volumes file to a list of pictures: finds scans, chooses slices of them, says whose they are.

Messages name entries and scans by number; no path, UID or description is repeated.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path

from embhub.errors import EmbhubError, PrivacyError, UsageError
from embhub.images.manifests.channels import Joined, join_series, join_volumes
from embhub.images.manifests.dicom_series import choose_slices, find_series
from embhub.images.manifests.manifest import MAX_ROWS, parse_where, reach, read_rows, walk
from embhub.images.manifests.problems import Watcher
from embhub.images.manifests.sample import Listing, Sample
from embhub.images.manifests.slices import choose
from embhub.images.manifests.volumes import Entry, Slices, Volumes, parse
from embhub.images.readers.dicom_header import Header, take
from embhub.images.readers.nifti_file import AXES, Volume, read_volume
from embhub.images.readers.sniffing import kind_of
from embhub.images.readers.view import Plane, View
from embhub.site.memory.patients import key_patient

_MAX_BYTES = 1_000_000
_HEAD = re.compile(r"_T1w|_FLAIR|_bold|mprage|brain|head|skull|cranial", re.I)  # BIDS suffixes, and plain words


@dataclass
class _Found:
    samples: list[Sample] = field(default_factory=list)
    relative: list[str] = field(default_factory=list)
    headers: dict[int, tuple[Header, ...]] = field(default_factory=dict)
    further: dict[int, tuple[str, ...]] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    without_picture: int = 0
    heads: int = 0
    partly: int = 0


def list_volumes(file: Path, where: str | None, watcher: Watcher) -> Listing:
    """The pictures that a volumes file names, headers read and pixels not (masks apart).

    `--where` keeps those of one label or split.

    Raises:
        PrivacyError: several slices of a volume and nobody whose they are.
        UsageError: a malformed file, an entry that finds nothing, a series or slice that cannot be chosen.
        ConfigError: the site's key cannot be read.
    """
    config = parse(_read(file))
    root = (file.parent / config.folder).resolve()
    if not root.is_dir():
        raise UsageError("the folder of the volumes file is not there", "it is relative to the file")
    entries = config.volumes or config.rows(read_rows(reach(root / str(config.table), root, "the table of volumes")))
    column, value = parse_where(where, [{"label": "", "split": ""}])
    found = _Found()
    for number, entry in enumerate(entries, start=1):
        if column and getattr(entry, column) != value:
            continue
        try:
            _list_entry(config, entry, root, f"volume entry {number}", found, watcher)
        except EmbhubError as error:
            watcher.problem(error)
    if not found.samples:
        raise UsageError("the volumes file names no picture to train on", "see the entries, and --where")
    notes = []
    if found.words:
        notes.append(
            f"words in the headers of NIfTI files ({', '.join(sorted(found.words))}): training reads voxels only"
        )
    if found.heads:
        notes.append(
            f"{found.heads:,} NIfTI volumes are of a head, by their names: faces can be drawn from slices, and learned"
        )
    if found.partly:
        notes.append(f"{found.partly:,} pictures have a channel that covers a part of them: there the rest is black")
    return Listing(
        tuple(found.samples),
        tuple(found.relative),
        "picture",
        headers=found.headers,
        without_picture=found.without_picture,
        statement=config.deidentification,
        notes=tuple(notes),
        issuers=frozenset({config.issuer or ""}),
        further=found.further,
    )


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            return source.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the volumes file: {error.strerror}", "check the path") from None


def _list_entry(config: Volumes, entry: Entry, root: Path, where: str, found: _Found, watcher: Watcher) -> None:
    dicom: dict[Path, list[Path]] = defaultdict(list)
    volumes = []
    for match in _matches(root, entry.path):
        for path in sorted(walk(match, watcher)) if match.is_dir() else [match]:
            kind = kind_of(path)
            if kind == "dicom":
                dicom[match if match.is_dir() else path.parent].append(path)
            elif kind == "nifti" and path == match:
                volumes.append(path)
            elif path == match:
                raise UsageError(f"{where} names a file that is neither DICOM nor NIfTI", "see `embhub inspect`")
    if not dicom and not volumes:
        raise UsageError(f"{where} finds no DICOM files and no volumes", "the path is relative to the folder")
    for number, (_, paths) in enumerate(sorted(dicom.items()), start=1):
        _add_dicom(config, entry, root, f"scan {number} of {where}", paths, found, watcher)
    for number, path in enumerate(sorted(volumes), start=1):
        _add_nifti(config, entry, root, f"volume {number} of {where}", path, found)


def _matches(root: Path, pattern: str) -> list[Path]:
    """What the pattern finds under the folder, hidden things apart."""
    if not any(letter in pattern for letter in "*?["):
        return [root / pattern] if (root / pattern).exists() else []
    try:
        matches = root.glob(pattern)
        return sorted(m for m in matches if not any(part.startswith(".") for part in m.relative_to(root).parts))
    except (ValueError, NotImplementedError, OSError) as error:
        raise UsageError("a path of the volumes file cannot be searched for", "see the entries") from error


def _add_dicom(
    config: Volumes,
    entry: Entry,
    root: Path,
    where: str,
    paths: Sequence[Path],
    found: _Found,
    watcher: Watcher,
) -> None:
    opened = list(_open(config, root, where, paths, found, watcher))
    if entry.channels:
        for joined in join_series(opened, entry, where):
            _add_slice(config, entry, root, where, joined, found)
        return
    series, films = find_series(opened, entry, where)
    for slices in series:
        for place in range(len(slices)) if films else choose_slices(slices, entry, where):
            _add_slice(config, entry, root, where, Joined(slices[place]), found)


def _open(
    config: Volumes, root: Path, where: str, paths: Sequence[Path], found: _Found, watcher: Watcher
) -> Iterator[tuple[Path, Header]]:
    from embhub.images.readers.dicom_file import NoPictureError

    for place, path in enumerate(paths, start=1):
        try:
            real = reach(path, root, f"file {place} of {where}")
            yield real, take(real, f"file {place} of {where}", issuer=config.issuer or "")
        except NoPictureError:
            found.without_picture += 1
        except EmbhubError as error:
            watcher.problem(error)


def _add_slice(config: Volumes, entry: Entry, root: Path, where: str, joined: Joined, found: _Found) -> None:
    first = joined.first
    for number, channel in enumerate(joined.channels, start=2):
        for file, _ in channel.files:
            _refuse_another(config, entry, root, (first.path, Path(file)), f"channel {number} of {where}")
    view = entry.parts()[0].view(first.frame, joined.channels)
    _add(config, entry, root, first.path, view, first.header.patient, found, partly=joined.partly)
    found.headers[len(found.samples)] = (first.header, *joined.headers)


def _add_nifti(config: Volumes, entry: Entry, root: Path, where: str, path: Path, found: _Found) -> None:
    first, *_ = entry.parts()
    real = reach(path, root, where)
    volume = _read_nifti(first, real, where, found)
    plane: Plane = entry.plane or "axial"
    areas = None
    if isinstance(entry.slices, Slices) and entry.slices.largest_mask:
        areas = _areas(entry, root, real, where, plane, volume.shape[:3])
    chosen = choose(entry.slices, volume.shape[AXES[plane]], where, areas)
    if len(chosen) > 1 and entry.patient_id is None and entry.patient_folder is None:
        raise PrivacyError(
            f"{len(chosen)} slices of {where} come without a patient",
            "say whose they are by patient_id, patient_folder or a table: slices of one patient must stay together",
        )
    volumes = [(first, real, volume, where), *_further(config, entry, root, real, where, found)]
    for place, (channels, partly) in zip(chosen, join_volumes(volumes, plane, chosen, where), strict=True):
        _add(config, entry, root, real, first.view(place, channels, plane), None, found, partly=partly)


def _read_nifti(entry: Entry, path: Path, where: str, found: _Found) -> Volume:
    volume = read_volume(path, where)
    found.words |= set(volume.words)
    if path.with_name(f"{_stem(path)}.json").exists():
        found.words.add("side-car files")
    found.heads += _HEAD.search(path.name) is not None
    if entry.time >= volume.times:
        raise UsageError(f"{where} has {volume.times} times and no number {entry.time}", "choose another `time`")
    return volume


def _further(
    config: Volumes, entry: Entry, root: Path, first: Path, where: str, found: _Found
) -> Iterator[tuple[Entry, Path, Volume, str]]:
    """The volumes of the channels after the first, of the same patient by their folders."""
    here = first.relative_to(root)
    for number, (channel, part) in enumerate(zip(entry.channels[1:], entry.parts()[1:], strict=True), start=2):
        called = f"channel {number} of {where}"
        if channel.path is None:
            raise UsageError(f"{called} has no path", "NIfTI: say where its file lies, such as {folder}/*_ADC.nii.gz")
        known = {"folder": str(here.parent), "stem": _stem(here)}
        if entry.patient_folder is not None:
            known["patient_folder"] = str(_folder_of_patient(entry, here))
        parts = (escape(known.get(part, part)) if place % 2 else part
                 for place, part in enumerate(re.split(r"\{(\w+)\}", channel.path)))  # fmt: skip
        files = _matches(root, "".join(parts))
        if len(files) != 1 or kind_of(files[0]) != "nifti":
            raise UsageError(
                f"{called} is {len(files)} files, and one NIfTI volume is needed", "see `path` of the channel"
            )
        real = reach(files[0], root, called)
        _refuse_another(config, entry, root, (first, real), called)
        yield part, real, _read_nifti(part, real, called, found), called


def _areas(entry: Entry, root: Path, path: Path, where: str, plane: Plane, shape: tuple[int, ...]) -> list[int]:
    """Pixels of the mask in every slice. In its path `{folder}` and `{stem}` are those of the volume."""
    inside = path.parent.relative_to(root).as_posix()
    name = str(entry.mask).replace("{folder}", inside).replace("{stem}", _stem(path))
    if Path(name).is_absolute() or ".." in Path(name).parts or kind_of(root / name) != "nifti":
        raise UsageError(f"the mask of {where} is no NIfTI file in the folder", "see `mask`")
    mask = read_volume(reach(root / name, root, f"the mask of {where}"), f"the mask of {where}")
    if mask.shape[:3] != shape:
        raise UsageError(f"the mask of {where} has another shape than the volume", "give the mask of this volume")
    return [int((mask.values(plane, place) > 0.5).sum()) for place in range(shape[AXES[plane]])]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _add(
    config: Volumes,
    entry: Entry,
    root: Path,
    path: Path,
    view: View,
    patient: str | None,
    found: _Found,
    *,
    partly: bool,
) -> None:
    if len(found.samples) >= MAX_ROWS:
        raise UsageError(f"the volumes file names more than {MAX_ROWS:,} pictures", "split it, and train on a part")
    row = len(found.samples) + 1
    patient = _patient_of(config, entry, path.relative_to(root)) or patient
    sample = Sample(path, patient, entry.label, entry.split or "train", row, view=view)
    found.samples.append(sample)
    found.partly += partly
    found.relative.append(str(path.relative_to(root)))
    found.further[row] = tuple(str(file.relative_to(root)) for file in sample.paths[1:])


def _patient_of(config: Volumes, entry: Entry, relative: Path) -> str | None:
    """The keyed patient of a file, as the entry states it; None where it leaves that to the header."""
    said = entry.patient_id if entry.patient_folder is None else _folder_of_patient(entry, relative).name
    return None if said is None else key_patient(said, issuer=config.issuer or "")


def _refuse_another(config: Volumes, entry: Entry, root: Path, paths: Sequence[Path], where: str) -> None:
    """Files that lie in the folders of several patients."""
    if len({_patient_of(config, entry, path.relative_to(root)) for path in paths}) > 1:
        raise PrivacyError(
            f"{where} lies in the folder of another patient", "all channels of a picture are of one patient"
        )


def _folder_of_patient(entry: Entry, relative: Path) -> Path:
    """The first folder that `patient_folder` fits; never the file itself: two of one patient would be two patients."""
    for folder in reversed(relative.parents[:-1]):
        if fnmatchcase(folder.name, str(entry.patient_folder)):
            return folder
    raise UsageError(
        "a path has no folder that `patient_folder` fits",
        "see the entries of the volumes file; patient_id or a table says whose a file is that lies in none",
    )
