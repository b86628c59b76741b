"""Series of slices among DICOM files: which are asked for, and in which order their slices lie.

Messages name scans by number; no path, UID or description is repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import numpy as np

from embhub.errors import UsageError
from embhub.images.manifests.slices import choose
from embhub.images.manifests.volumes import Entry, Slices
from embhub.images.readers.dicom_header import Header, Place

_SAME_PLACE = 1e-3  # mm
_SAME_WAY = 0.999


@dataclass(frozen=True)
class Slice:
    """A frame of a DICOM file, with its place among others."""

    path: Path
    header: Header
    frame: int

    @property
    def place(self) -> Place | None:
        """Where it lies, None where the file does not say."""
        return self.header.places[self.frame]

    @property
    def distance(self) -> float | None:
        """Along the normal, in mm."""
        return None if self.place is None else self.place.distance


def find_series(files: Iterable[tuple[Path, Header]], entry: Entry, where: str) -> tuple[list[list[Slice]], bool]:
    """The series that an entry asks for, slices in order, and whether they are films, each for itself: else it is one.

    Raises:
        UsageError: there is none, or more than one of slices; slices that have no order.
    """
    series: dict[bytes, list[Slice]] = defaultdict(list)
    for path, header in files:
        if _is_chosen(header, entry):
            series[header.series] += [Slice(path, header, frame) for frame in range(header.frames)]
    if not series:
        raise UsageError(f"{where} has no pictures of the series that is asked for", "see `series` and `plane`")
    flat = all(len(slices) == 1 for slices in series.values()) or _are_films(series)
    if not flat and len(series) > 1:
        raise UsageError(
            f"{where} holds {len(series)} series of slices", "say which: by `series`, such as {SeriesNumber: 4}"
        )
    return [slices if flat else _in_order(slices, where) for slices in series.values()], flat


def choose_slices(slices: Sequence[Slice], entry: Entry, where: str) -> list[int]:
    """Places of the slices that an entry asks for.

    Raises:
        UsageError: a place that the series has not, or a choice by a mask.
    """
    if isinstance(entry.slices, Slices) and entry.slices.largest_mask:
        raise UsageError(f"{where} is DICOM, and masks are read for NIfTI only", "choose slices another way")
    return choose(entry.slices, len(slices), where)


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


def _are_films(series: Mapping[bytes, Sequence[Slice]]) -> bool:
    """Single pictures that lie nowhere in space, as radiographs do: each stands for itself."""
    slices = [item for several in series.values() for item in several]
    return all(item.distance is None and item.header.frames == 1 for item in slices)


def _in_order(slices: Sequence[Slice], where: str) -> list[Slice]:
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
