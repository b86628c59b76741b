"""Pictures of several series, such as T2, ADC and DWI in red, green and blue.

The series are of one patient and lie in one frame of reference; the others cover the first, whose pixels the picture
has. Messages name scans by number.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embhub.errors import PrivacyError, UsageError
from embhub.images.manifests.dicom_series import Slice, choose_slices, find_series
from embhub.images.manifests.volumes import Entry
from embhub.images.readers import resampling
from embhub.images.readers.dicom_header import Header
from embhub.images.readers.nifti_file import AXES, Volume
from embhub.images.readers.resampling import Floats, Grid
from embhub.images.readers.view import Channel, Plane

LEAST = 0.5
"""Share of a picture that each channel covers."""

_PLACES = 33  # along each side of a picture, where it is looked whether a channel covers it
_ONE_SPACE = "choose series of one examination; resample others in a program that registers them, then write them anew"


@dataclass(frozen=True)
class Joined:
    """A DICOM slice and what joins it: channels, the headers of their files, and whether one covers only a part."""

    first: Slice
    channels: tuple[Channel, ...] = ()
    headers: tuple[Header, ...] = ()
    partly: bool = False


def join_series(files: Sequence[tuple[Path, Header]], entry: Entry, where: str) -> Iterator[Joined]:
    """The pictures that an entry with channels asks for among the DICOM files of one scan.

    Raises:
        PrivacyError: series of several patients.
        UsageError: a series that is missing, stands twice, lies in another frame of reference or does not say where,
            has uneven slices, or does not cover a slice that is asked for.
    """
    if any(channel.path for channel in entry.channels):
        raise UsageError(f"{where} is DICOM, and a channel's path finds NIfTI", "choose the channel by `series`")
    names = [f"channel {number} of {where}" for number in range(1, len(entry.channels) + 1)]
    found = []
    for part, called in zip(entry.parts(), names, strict=True):
        series, films = find_series(files, part, called)
        if films:
            raise UsageError(f"{called} is no series of two slices or more", "channels are slices that lie in space")
        found.append(series[0])
    _refuse_others([item.header for slices in found for item in slices], where)
    _refuse_twice([tuple((item.path, item.frame) for item in slices) for slices in found], entry.parts(), where)
    first, *others = found
    chosen = choose_slices(first, entry, names[0])
    grids, size = _grids(first, names[0]), first[0].header.size
    covered = []
    for slices, called in zip(others, names[1:], strict=True):
        shape = (len(slices), *reversed(slices[0].header.size))
        lie = _even(slices, called)
        covered.append(_cover(grids, size, resampling.stack(lie), shape, chosen, called, lie))
    for place, parts in zip(chosen, zip(*covered, strict=True), strict=True):
        used = [slices[part[0]] for slices, (_, part) in zip(others, parts, strict=True)]
        channels = (
            Channel(channel.name, tuple((str(item.path), item.frame) for item in slices), one.greys())
            for channel, one, slices in zip(entry.channels[1:], entry.parts()[1:], used, strict=True)
        )
        headers = tuple(item.header for slices in used for item in slices)
        yield Joined(first[place], tuple(channels), headers, any(share < 1 for share, _ in parts))


def join_volumes(
    volumes: Sequence[tuple[Entry, Path, Volume, str]], plane: Plane, chosen: Sequence[int], where: str
) -> Iterator[tuple[tuple[Channel, ...], bool]]:
    """For each chosen slice of the first volume (NIfTI) the others as its channels, and whether one covers only a part.

    Raises:
        UsageError: a volume that stands twice, in other coordinates than the first, or that does not cover a slice that
            is asked for.
    """
    (_, _, first, _), *others = volumes
    _refuse_twice([(path, part.time) for part, path, _, _ in volumes], [part for part, _, _, _ in volumes], where)
    if others and (first.space == 0 or {volume.space for _, _, volume, _ in others} != {first.space}):
        raise UsageError(
            f"the channels of {where} lie in different coordinates, or do not say in which (sform_code, qform_code)",
            _ONE_SPACE,
        )
    grids = [first.grid(plane, index) for index in range(first.shape[AXES[plane]])]
    size = tuple(first.shape[axis] for axis in range(3) if axis != AXES[plane])
    covered = [_cover(grids, size, volume.affine, volume.shape, chosen, called) for _, _, volume, called in others]
    channels = tuple(
        Channel(part.channels[number].name, ((str(path), 0),), part.greys(), part.time)
        for number, (part, path, _, _) in enumerate(others, start=1)
    )
    return ((channels, any(many[number][0] < 1 for many in covered)) for number in range(len(chosen)))


def _refuse_others(headers: Sequence[Header], where: str) -> None:
    if len({header.patient for header in headers}) > 1:
        raise PrivacyError(
            f"the channels of {where} are of several patients, by PatientID and its issuer",
            "all channels of a picture are of one patient: choose other series, or correct the headers",
        )
    if len({header.space for header in headers}) > 1 or not headers[0].space:
        raise UsageError(
            f"the channels of {where} lie in different frames of reference, or do not say in which"
            " (FrameOfReferenceUID)",
            _ONE_SPACE,
        )


def _refuse_twice(sources: Sequence[Hashable], parts: Sequence[Entry], where: str) -> None:
    if len({(source, part.greys()) for source, part in zip(sources, parts, strict=True)}) < len(sources):
        raise UsageError(
            f"{where} has channels that are the same series in the same window",
            "choose another series or window for one: two names say that the colours differ",
        )


def _grids(slices: Sequence[Slice], where: str) -> list[Grid]:
    grids = [item.place.grid for item in slices if item.place and item.place.grid]
    if len(grids) < len(slices) or len({item.header.size for item in slices}) > 1:
        raise UsageError(
            f"{where} has slices of several sizes, or that do not say where they lie or how large a pixel is",
            "choose another series",
        )
    return grids


def _even(slices: Sequence[Slice], where: str) -> list[Grid]:
    grids = _grids(slices, where)
    if not resampling.is_even(grids):
        raise UsageError(
            f"{where} has slices at different distances, or that differ in direction or pixels",
            "choose another series, or write it with even slices first",
        )
    return grids


def _cover(
    grids: Sequence[Grid],
    size: Sequence[int],
    matrix: Floats,
    shape: Sequence[int],
    chosen: Sequence[int],
    where: str,
    lie: Sequence[Grid] = (),
) -> list[tuple[float, tuple[slice, ...]]]:
    """The share of each chosen picture that voxels cover, at least `LEAST`, and the part of them around it. `lie` are
    the slices of DICOM, of which reading has that part alone."""
    covered = [_look(grid, size, matrix, shape, lie) for grid in grids]
    enough = [place for place, (share, _) in enumerate(covered) if share >= LEAST]
    if missing := len(set(chosen) - set(enough)):
        said = f"slices {enough[0]} to {enough[-1]} are covered" if enough else "no slice is covered"
        raise UsageError(
            f"{where} covers less than half of {missing:,} slices that are asked for: {said}",
            "choose `slices` that every channel covers, or another series",
        )
    return [covered[place] for place in chosen]


def _look(
    grid: Grid, size: Sequence[int], matrix: Floats, shape: Sequence[int], lie: Sequence[Grid]
) -> tuple[float, tuple[slice, ...]]:
    columns, rows = (np.linspace(0, number - 1, _PLACES) for number in size)
    try:
        places = resampling.locate(grid, columns, rows, matrix)
        part = resampling.box(places, shape)
        if read := lie[part[0]] if lie else ():
            places, shape = resampling.locate(grid, columns, rows, resampling.stack(read)), (len(read), *shape[1:])
        return float(resampling.inside(places, shape).mean()), part
    except (ValueError, OverflowError, np.linalg.LinAlgError):  # voxels without volume, or nowhere
        return 0.0, ()
