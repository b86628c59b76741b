"""From a volumes file to a list of pictures: finds scans, groups them by series, puts slices in order, chooses some.

Messages name entries and scans by number; no path, UID or description is repeated.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import numpy as np

from embhub.errors import EmbhubError, PrivacyError, UsageError
from embhub.images.manifests.manifest import MAX_ROWS, parse_where, reach, read_rows, walk
from embhub.images.manifests.problems import Watcher
from embhub.images.manifests.sample import Listing, Sample
from embhub.images.manifests.slices import choose
from embhub.images.manifests.volumes import Entry, Slices, Volumes, parse
from embhub.images.readers.dicom_header import Header, take
from embhub.images.readers.nifti_file import AXES, read_volume
from embhub.images.readers.sniffing import kind_of
from embhub.images.readers.view import Plane, View, Window
from embhub.site.memory.patients import key_patient

_MAX_BYTES = 1_000_000
_SAME_PLACE = 1e-3  # mm
_SAME_WAY = 0.999
_HEAD = re.compile(r"_T1w|_FLAIR|_bold|mprage|brain|head|skull|cranial", re.I)  # BIDS suffixes, and plain words


@dataclass
class _Found:
    samples: list[Sample] = field(default_factory=list)
    relative: list[str] = field(default_factory=list)
    headers: dict[int, Header] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    without_picture: int = 0
    heads: int = 0


@dataclass(frozen=True)
class _Slice:
    """A frame of a DICOM file, with its place among others."""

    path: Path
    header: Header
    frame: int

    @property
    def distance(self) -> float | None:
        place = self.header.places[self.frame]
        return None if place is None else place.distance


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
    return Listing(
        tuple(found.samples),
        tuple(found.relative),
        "picture",
        headers=found.headers,
        without_picture=found.without_picture,
        statement=config.deidentification,
        notes=tuple(notes),
        issuers=frozenset({config.issuer or ""}),
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
    from embhub.images.readers.dicom_file import NoPictureError

    series: dict[bytes, list[_Slice]] = defaultdict(list)
    for place, path in enumerate(paths, start=1):
        try:
            real = reach(path, root, f"file {place} of {where}")
            header = take(real, f"file {place} of {where}", issuer=config.issuer or "")
        except NoPictureError:
            found.without_picture += 1
            continue
        except EmbhubError as error:
            watcher.problem(error)
            continue
        if _is_chosen(header, entry):
            series[header.series] += [_Slice(real, header, frame) for frame in range(header.frames)]
    if not series:
        raise UsageError(f"{where} has no pictures of the series that is asked for", "see `series` and `plane`")
    flat = all(len(slices) == 1 for slices in series.values()) or _are_films(series)
    if not flat and len(series) > 1:
        raise UsageError(
            f"{where} holds {len(series)} series of slices", "say which: by `series`, such as {SeriesNumber: 4}"
        )
    for slices in series.values():
        ordered = slices if flat else _in_order(slices, where)
        if isinstance(entry.slices, Slices) and entry.slices.largest_mask:
            raise UsageError(f"{where} is DICOM, and masks are read for NIfTI only", "choose slices another way")
        for place in choose("all" if flat else entry.slices, len(ordered), where):
            chosen = ordered[place]
            view = View(index=chosen.frame, window=_window(entry))
            _add(config, entry, root, chosen.path, view, chosen.header.patient, found)
            found.headers[len(found.samples)] = chosen.header


def _is_chosen(header: Header, entry: Entry) -> bool:
    """Whether a file is of the series and the plane that are asked for; values may have * and ?."""
    for name, value in entry.series.items():
        held = header.choices[name]
        wanted = f"{value:g}" if isinstance(value, float) else str(value)
        if not any(fnmatchcase(word.lower(), wanted.lower()) or _same_number(word, wanted) for word in held):
            return False
    places = [place for place in header.places if place is not None]
    return entry.plane is None or not places or all(place.plane == entry.plane for place in places)


def _same_number(word: str, wanted: str) -> bool:
    try:
        return float(word) == float(wanted)
    except ValueError:
        return False


def _are_films(series: Mapping[bytes, Sequence[_Slice]]) -> bool:
    """Single pictures that lie nowhere in space, as radiographs do: each stands for itself."""
    slices = [item for several in series.values() for item in several]
    return all(item.distance is None and item.header.frames == 1 for item in slices)


def _in_order(slices: Sequence[_Slice], where: str) -> list[_Slice]:
    """By their distance along the normal (towards right, front or head); frames without a place as they come."""
    places = [item.header.places[item.frame] for item in slices]
    if all(place is None for place in places):
        if len({item.path for item in slices}) == 1:
            return sorted(slices, key=lambda item: item.frame)
        raise UsageError(f"{where} has slices that do not say where they lie", "choose single files by their path")
    known = [place for place in places if place is not None]
    if len(known) < len(places) or any(
        abs(float(np.dot(place.normal, known[0].normal))) < _SAME_WAY for place in known
    ):
        raise UsageError(f"{where} has slices in several directions", "choose one series, or a `plane`")
    ordered = sorted(slices, key=lambda item: item.distance or 0.0)
    distances = [item.distance or 0.0 for item in ordered]
    if any(after - before < _SAME_PLACE for before, after in pairwise(distances)):
        raise UsageError(
            f"{where} has several pictures of one place, such as echoes or times",
            "choose among them by `series`, such as {EchoNumbers: 1} or {TemporalPositionIdentifier: 1}",
        )
    return ordered


def _add_nifti(config: Volumes, entry: Entry, root: Path, where: str, path: Path, found: _Found) -> None:
    real = reach(path, root, where)
    volume = read_volume(real, where)
    found.words |= set(volume.words)
    if real.with_name(f"{_stem(real)}.json").exists():
        found.words.add("side-car files")
    found.heads += _HEAD.search(real.name) is not None
    plane: Plane = entry.plane or "axial"
    areas = None
    if isinstance(entry.slices, Slices) and entry.slices.largest_mask:
        areas = _areas(entry, root, real, where, plane, volume.shape[:3])
    if entry.time >= volume.times:
        raise UsageError(f"{where} has {volume.times} times and no number {entry.time}", "choose another `time`")
    chosen = choose(entry.slices, volume.shape[AXES[plane]], where, areas)
    if len(chosen) > 1 and entry.patient_id is None and entry.patient_folder is None:
        raise PrivacyError(
            f"{len(chosen)} slices of {where} come without a patient",
            "say whose they are by patient_id, patient_folder or a table: slices of one patient must stay together",
        )
    for place in chosen:
        _add(config, entry, root, real, View(place, plane, entry.time, _window(entry)), None, found)


def _areas(entry: Entry, root: Path, path: Path, where: str, plane: Plane, shape: tuple[int, ...]) -> list[int]:
    """Pixels of the mask in every slice. In its path `{folder}` and `{stem}` are those of the volume."""
    inside = path.parent.relative_to(root.resolve()).as_posix()
    name = str(entry.mask).replace("{folder}", inside).replace("{stem}", _stem(path))
    if Path(name).is_absolute() or ".." in Path(name).parts or kind_of(root / name) != "nifti":
        raise UsageError(f"the mask of {where} is no NIfTI file in the folder", "see `mask`")
    mask = read_volume(reach(root / name, root, f"the mask of {where}"), f"the mask of {where}")
    if mask.shape[:3] != shape:
        raise UsageError(f"the mask of {where} has another shape than the volume", "give the mask of this volume")
    return [int((mask.values(plane, place) > 0.5).sum()) for place in range(shape[AXES[plane]])]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _window(entry: Entry) -> Window:
    return Window() if isinstance(entry.window, str) else entry.window.greys()


def _add(config: Volumes, entry: Entry, root: Path, path: Path, view: View, patient: str | None, found: _Found) -> None:
    if len(found.samples) >= MAX_ROWS:
        raise UsageError(f"the volumes file names more than {MAX_ROWS:,} pictures", "split it, and train on a part")
    relative = path.relative_to(root)
    said = entry.patient_id
    if entry.patient_folder is not None:
        # never the file itself: two of one patient would count as two patients
        said = next((part for part in relative.parts[:-1] if fnmatchcase(part, entry.patient_folder)), None)
        if said is None:
            raise UsageError(
                "a path has no folder that `patient_folder` fits",
                "see the entries of the volumes file; patient_id or a table says whose a file is that lies in none",
            )
    if said is not None:
        patient = key_patient(said, issuer=config.issuer or "")
    found.samples.append(Sample(path, patient, entry.label, entry.split or "train", len(found.samples) + 1, view=view))
    found.relative.append(str(relative))
