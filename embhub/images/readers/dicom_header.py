"""What embhub keeps of a DICOM header, in memory and for the length of one call: no value that names a person.

The patient's id becomes a keyed one here, and is nowhere else. UIDs become digests that tell series apart.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embhub.errors import UsageError
from embhub.images.readers import identifiers
from embhub.images.readers.dicom_file import read_header
from embhub.images.readers.quiet import quiet
from embhub.images.readers.resampling import Grid
from embhub.images.readers.view import Plane
from embhub.site.memory.patients import key_patient

CHOICES = (
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
    "ImageType",
    "BodyPartExamined",
    "AcquisitionNumber",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "ContrastBolusAgent",
    "Laterality",
    "ViewPosition",
)
"""By which attributes a volumes file may choose among series and their slices."""

MAX_FRAMES = 100_000
_TOWARDS: Mapping[Plane, NDArray[np.float64]] = {  # in DICOM's patient axes (left, back, up): the way slices count
    "axial": np.array([0.0, 0.0, 1.0]),
    "coronal": np.array([0.0, -1.0, 0.0]),
    "sagittal": np.array([-1.0, 0.0, 0.0]),
}


@dataclass(frozen=True)
class Place:
    """Where a picture lies in the patient: its nearest plane, the normal (towards head, front or right), and the
    distance along it in mm. `grid` has its pixels, None where the file does not say how large they are."""

    plane: Plane
    normal: tuple[float, float, float]
    distance: float
    grid: Grid | None = None


@dataclass(frozen=True)
class Header:
    """Facts of one file. `patient` is keyed, None where the file names none, and `issuer` is who gave out its id;
    nothing here is ever written.

    `study` and `series` are digests that tell them apart; `numbered` where the file says of which it is. `space` is a
    digest of its frame of reference, b"" without one.

    `places` has one entry a frame, None for a picture that does not say where it lies.
    """

    patient: str | None = field(repr=False)
    issuer: str = field(repr=False)
    found: identifiers.Found
    modality: str
    burned_in: str
    identity_removed: str
    needs_review: bool
    numbered: bool
    head: bool
    size: tuple[int, int]
    frames: int
    places: tuple[Place | None, ...] = field(repr=False)
    study: bytes = field(repr=False)
    series: bytes = field(repr=False)
    space: bytes = field(repr=False)
    number: int = field(repr=False)
    choices: Mapping[str, tuple[str, ...]] = field(repr=False)


def take(path: Path, where: str, *, issuer: str = "") -> Header:
    """Read a file's header, and keep what the checks and the choice of slices need.

    `issuer` says who gave out the patients' ids, in place of what the header says.

    Raises:
        NoPictureError, UsageError: as `dicom_file.read_header`; more than `MAX_FRAMES` frames; malformed values.
        ConfigError: the site's key cannot be read.
    """
    header = read_header(path, where)
    with quiet():
        try:
            facts = _facts(header)
        except Exception:  # noqa: BLE001  # a malformed value raises anything, and is cited in it
            raise UsageError(f"{where} has a damaged DICOM header", "replace the file or leave it out") from None
        if not 1 <= facts["frames"] <= MAX_FRAMES:
            raise UsageError(f"{where} claims {facts['frames']:,} frames", f"1 to {MAX_FRAMES:,} are read")
        patient = " ".join(str(header.get("PatientID", "") or "").split())
        own = " ".join(str(header.get("IssuerOfPatientID", "") or "").split())
    keyed = key_patient(patient, issuer=issuer or own) if patient else None
    return Header(patient=keyed, issuer=issuer or own, **facts)


def _facts(header: Any) -> dict[str, Any]:
    frames = int(header.get("NumberOfFrames", 1) or 1)
    names = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    *uids, space = (str(header.get(name, "") or "").strip() for name in names)
    return {
        "found": identifiers.search(header),
        "modality": str(header.get("Modality", "")).strip().upper(),
        "burned_in": _gravest(_words(header, "BurnedInAnnotation")),
        "identity_removed": str(header.get("PatientIdentityRemoved", "")).strip().upper(),
        "needs_review": identifiers.needs_review(header),
        "head": identifiers.shows_head(header),
        "size": (int(header.Columns), int(header.Rows)),
        "frames": frames,
        "places": _places(header, min(frames, MAX_FRAMES)),
        "numbered": all(uids),
        "study": hashlib.sha256(uids[0].encode()).digest(),
        "series": hashlib.sha256("\0".join(uids).encode()).digest(),
        "space": hashlib.sha256(space.encode()).digest() if space else b"",
        "number": int(header.get("InstanceNumber", 0) or 0),
        "choices": {name: _words(header, name) for name in CHOICES},
    }


def frame(header: Any, index: int) -> Any:
    """A flat data set of one frame: what enhanced multi-frame files say in functional groups, on top of the rest."""
    from pydicom.dataset import Dataset

    groups = []
    if shared := header.get("SharedFunctionalGroupsSequence", None):
        groups.append(shared[0])
    each = header.get("PerFrameFunctionalGroupsSequence", None)
    if each and index < len(each):
        groups.append(each[index])
    if not groups:
        return header
    flat = Dataset()
    flat.update({element.tag: element for element in header if element.VR != "SQ" or "LUT" in element.keyword})
    flat.file_meta = header.file_meta
    flat.set_original_encoding(*header.original_encoding)
    for group in groups:
        for element in group:
            if element.VR == "SQ" and len(element.value):
                flat.update({inner.tag: inner for inner in element.value[0]})
    return flat


def _places(header: Any, frames: int) -> tuple[Place | None, ...]:
    """Of every frame: what the frame says, else what its file says for all."""
    shared = header.get("SharedFunctionalGroupsSequence", None) or ()
    each = header.get("PerFrameFunctionalGroupsSequence", None) or ()
    common = [header, *(_geometry(item) for item in shared)]
    if not each:
        return (_place(common) if frames == 1 else None,) * frames
    found = tuple(_place([*common, _geometry(item)]) for item in each[:frames])
    return found + (None,) * (frames - len(found))


def _geometry(group: Any) -> dict[str, Any]:
    found = {}
    for sequence, name in (
        ("PlanePositionSequence", "ImagePositionPatient"),
        ("PlaneOrientationSequence", "ImageOrientationPatient"),
        ("PixelMeasuresSequence", "PixelSpacing"),
    ):
        if items := group.get(sequence, None):
            found[name] = items[0].get(name, None)
    return found


def grid_of(header: Any) -> Grid | None:
    """Pixels of a frame (`frame`) in the patient; None where it does not say where they lie, or how large they are."""
    place = _place([header])
    return place.grid if place else None


def _place(data: Sequence[Any]) -> Place | None:
    """From the last of several that says it."""
    position, cosines, spacing = (
        next((value for part in reversed(data) if (value := part.get(name, None))), None)
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    if not position or not cosines or len(position) != 3 or len(cosines) != 6:
        return None
    along, down = (np.array([float(value) for value in part]) for part in (cosines[:3], cosines[3:]))
    normal = np.cross(along, down)
    length = float(np.linalg.norm(normal))
    where = np.array([float(value) for value in position])
    if not math.isfinite(length) or length < 0.5 or not np.isfinite(where).all():
        return None
    plane = max(_TOWARDS, key=lambda name: abs(float(normal @ _TOWARDS[name])))
    normal = normal / length * (1 if normal @ _TOWARDS[plane] > 0 else -1)
    x, y, z = (float(value) for value in normal)
    return Place(plane, (x, y, z), float(normal @ where), _grid(where, along, down, spacing))


def _grid(corner: NDArray[Any], along: NDArray[Any], down: NDArray[Any], spacing: Any) -> Grid | None:
    if not spacing or len(spacing) != 2:
        return None
    height, width = (float(value) for value in spacing)
    if not (0 < height < math.inf and 0 < width < math.inf):
        return None
    return Grid.of(corner, along / np.linalg.norm(along) * width, down / np.linalg.norm(down) * height)


def _gravest(values: tuple[str, ...]) -> str:
    """YES where any of several values is: one is all that the standard has room for."""
    said = {value.upper() for value in values}
    return "YES" if "YES" in said else next(iter(sorted(said)), "")


def _words(header: Any, name: str) -> tuple[str, ...]:
    value = header.get(name, None)
    if value is None:
        return ()
    several = list(value) if type(value).__name__ == "MultiValue" else [value]
    return tuple(str(part).strip() for part in several)
