"""A NIfTI volume read with bounds, and its slices as a radiologist sees them. Only header numbers and voxels are used.

The volume is turned to the nearest anatomical axes (nibabel's canonical order: right, front, up), so that a slice's
number and its picture do not depend on how the file is laid out. Slices are shown as DICOM viewers show them, the
patient's right at the left.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embhub.errors import EmbhubError, UsageError
from embhub.images.readers.encoding import Encoding, of_channels
from embhub.images.readers.grey import PERCENTILES, Grey, merge, scale, square, take_percentiles
from embhub.images.readers.quiet import quiet
from embhub.images.readers.resampling import Grid, box, inside, interpolate, locate
from embhub.images.readers.view import Channel, Plane, View
from embhub.project import how_to_install

MAX_BYTES = 1_000_000_000
"""Of a volume's voxels as its header states them, which are all that is unpacked."""

MAX_VOXELS = 500_000_000
"""Of all times; those of one time are held at once as single floats, whatever the file's own numbers are."""

AXES: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
_HEADER = 540  # of NIfTI-2; that of NIfTI-1 has 348
_FIRST, _SECOND = 352, 544  # with the four bytes that say whether extensions follow: words of a header are no voxels
_MOST_EXTENSIONS = 10_000_000
_MOST_KEPT = 3  # a picture has at most as many channels


@dataclass(frozen=True)
class Volume:
    """Voxels (x, y, z[, t]) in canonical order, as stored, and the slope and intercept that make values of them;
    `words` are names of header fields that hold text, `space` the code of the coordinates' meaning, 0 for none."""

    voxels: Any
    scaling: tuple[float, float]
    zooms: tuple[float, float, float]
    affine: NDArray[np.float64]
    dtype: np.dtype[Any]
    words: tuple[str, ...]
    space: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along right, front, up, and times where there are several."""
        return tuple(int(number) for number in self.voxels.shape)

    @property
    def times(self) -> int:
        """Volumes in the file."""
        return self.shape[3] if len(self.shape) == 4 else 1

    def cut(self, plane: Plane, index: int, time: int = 0) -> NDArray[Any]:
        """One slice (rows, columns) in the file's units, the patient's right (sagittal: front) at the left."""
        values = self.values(plane, index, time)
        return values[::-1, ::-1].T  # columns towards left or back, rows towards back or feet: in all three planes

    def values(self, plane: Plane, index: int, time: int = 0) -> NDArray[Any]:
        """The same with the volume's own two axes. One slice is scaled at a time: the whole would be eight times
        as large."""
        place: list[Any] = [slice(None)] * 3
        place[AXES[plane]] = index
        return self.part(place, time)

    def part(self, place: Sequence[Any], time: int) -> NDArray[Any]:
        """The voxels at three indices or slices, in the file's units."""
        from nibabel.volumeutils import apply_read_scaling

        stored = self.voxels[(*place, time) if len(self.shape) == 4 else tuple(place)]
        return np.asarray(apply_read_scaling(stored, *(np.asarray(number, np.float64) for number in self.scaling)))

    def grid(self, plane: Plane, index: int) -> Grid:
        """Where the pixels of `cut` lie."""
        across, up = (axis for axis in range(3) if axis != AXES[plane])
        corner = np.ones(4)
        corner[AXES[plane]], corner[across], corner[up] = index, self.shape[across] - 1, self.shape[up] - 1
        steps = self.affine[:3]
        return Grid.of(steps @ corner, -steps[:, across], -steps[:, up])


_kept: dict[tuple[Path, int, int], Volume] = {}


def read_slice(path: Path, where: str, view: View, *, most: int) -> tuple[Image.Image, Encoding]:
    """8-bit RGB with square pixels, and how the file stores it; `most` is the largest number of pixels.

    Raises:
        UsageError: not NIfTI, damaged, too large, no such slice; or the extra `nifti` is not installed.
    """
    volume = read_volume(path, where)
    plane = view.plane or "axial"
    axis = AXES[plane]
    if not (0 <= view.index < volume.shape[axis] and 0 <= view.time < volume.times):
        raise UsageError(f"{where} has no {plane} slice {view.index} at time {view.time}", "choose another slice")
    values = volume.cut(plane, view.index, view.time)
    if not 1 <= values.size <= most:
        raise UsageError(f"{where} has slices of {values.size:,} pixels", f"at most {most:,} are read: scale it down")
    shown = [_show(values, path, where, view, volume)]
    grid = volume.grid(plane, view.index)
    for number, channel in enumerate(view.channels, start=2):
        shown.append(_resample(channel, grid, values.shape, f"channel {number} of {where}"))
    across, down = (volume.zooms[other] for other in range(3) if other != axis)
    image = square(merge([grey for grey, _ in shown]), across, down, where, most=most)
    return image, of_channels([encoding for _, encoding in shown])


def _show(values: NDArray[Any], path: Path, where: str, view: View, volume: Volume) -> tuple[Grey, Encoding]:
    low, high, deep = _range(path, where, view)
    bits = 8 * volume.dtype.itemsize
    return scale(values, low, high), Encoding("NIfTI", "L", bits, *((low, high) if deep and bits > 8 else ()))


def _resample(channel: Channel, grid: Grid, shape: tuple[int, ...], where: str) -> tuple[Grey, Encoding]:
    """A channel at the pixels of `grid`; black where the volume is not."""
    path = Path(channel.files[0][0])
    volume = read_volume(path, where)
    if channel.time >= volume.times:
        raise UsageError(f"{where} has no time {channel.time}", "choose another `time`")
    try:
        places = locate(grid, np.arange(shape[1]), np.arange(shape[0]), volume.affine)
        part = box(places, volume.shape)
    except (ValueError, np.linalg.LinAlgError):
        raise UsageError(f"{where} does not say where its voxels lie", "replace the file or leave it out") from None
    low = np.array([along.start for along in part], dtype=np.float64)[:, None, None]
    values = interpolate(volume.part(part, channel.time).astype(np.float32), places - low)
    view = View(time=channel.time, window=channel.window)
    grey, encoding = _show(values, path, where, view, volume)
    grey[~inside(places, volume.shape)] = 0
    return grey, encoding


def read_volume(path: Path, where: str) -> Volume:
    """The whole volume; the last three read are kept, within `MAX_BYTES`: slices come one after the other, each with
    its channels.

    Raises:
        UsageError: as `read_slice`.
    """
    try:
        facts = path.stat()
        key = (path, facts.st_mtime_ns, facts.st_size)
        if (volume := _kept.get(key)) is None:
            while len(_kept) >= _MOST_KEPT or sum(one.voxels.nbytes for one in _kept.values()) > MAX_BYTES:
                del _kept[next(iter(_kept))]
            volume = _kept[key] = _read(path, where)
        return volume
    except OSError as error:
        reason = error.strerror or "damaged or incomplete"
        raise UsageError(f"{where} cannot be read: {reason}", "replace the file or leave it out") from None


def _range(path: Path, where: str, view: View) -> tuple[float, float, bool]:
    """Black and white: the values named, or percentiles of the volume at that time."""
    if view.window.kind == "values":
        return view.window.first, view.window.second, False
    chosen = (view.window.first, view.window.second) if view.window.kind == "percentiles" else PERCENTILES
    facts = path.stat()
    read_volume(path, where)  # kept, so that what is wrong with it is said of `where`
    low, high = _percentiles(path, view.time, chosen, facts.st_mtime_ns, facts.st_size)
    return low, high, True


@lru_cache(maxsize=64)
def _percentiles(
    path: Path,
    time: int,
    chosen: tuple[float, float],
    changed: int,  # noqa: ARG001 (they tell a changed file)
    size: int,  # noqa: ARG001
) -> tuple[float, float]:
    volume = read_volume(path, "the volume")
    across, along, up = volume.shape[:3]
    values = np.empty((up, across, along), np.float32)
    with np.errstate(all="ignore"):
        for place in range(up):
            values[place] = volume.values("axial", place, time)
    return take_percentiles(values.ravel(), chosen)


def _read(path: Path, where: str) -> Volume:
    try:
        import nibabel
    except ImportError as error:
        raise UsageError("reading NIfTI needs nibabel", how_to_install("nifti")) from error
    try:
        with quiet(), path.open("rb") as raw, np.errstate(all="ignore"):
            zipped = path.name.lower().endswith(".gz")
            data = _bounded(gzip.GzipFile(fileobj=raw) if zipped else raw, where)
            kind = nibabel.Nifti2Image if _is_second(data) else nibabel.Nifti1Image
            found = kind.from_stream(io.BytesIO(data))
            del data
            stored = kind(found.dataobj.get_unscaled(), found.affine, found.header)
            image = nibabel.as_closest_canonical(stored)
            return Volume(
                image.dataobj,
                (found.dataobj.slope, found.dataobj.inter),
                _zooms(image.header),
                np.asarray(image.affine, np.float64),
                image.get_data_dtype(),
                (*_words(image.header), *(("name in the gzip header",) if zipped and _names_itself(path) else ())),
                int(found.header["sform_code"]) or int(found.header["qform_code"]),
            )
    except (EmbhubError, MemoryError):
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UsageError(f"{where} is damaged or incomplete", "replace the file or leave it out") from None
    except OSError:
        raise
    except Exception:  # noqa: BLE001  # nibabel raises whatever a damaged header makes it stumble on, and cites it
        raise UsageError(f"{where} is no NIfTI volume, or a damaged one", "replace the file or leave it out") from None


def _bounded(file: IO[bytes] | gzip.GzipFile, where: str) -> bytes:
    """Header, extensions and as many voxels as the header states, not a byte more."""
    import nibabel

    head = file.read(_HEADER)
    second = _is_second(head)
    kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    header = kind.from_fileobj(io.BytesIO(head), check=False)
    shape, offset = header.get_data_shape(), int(header.get_data_offset())
    if not (3 <= len(shape) <= 4 and all(number >= 1 for number in shape[:4])) or (
        header.get_data_dtype().kind not in "iuf"
    ):
        raise UsageError(f"{where} is no volume of three dimensions, or of three and time", "write it as one, in grey")
    voxels = 1
    for number in shape:
        voxels *= int(number)
    size = voxels * int(header.get_data_dtype().itemsize)
    if size > MAX_BYTES:
        raise UsageError(f"{where} claims {size:,} bytes of voxels", f"at most {MAX_BYTES:,} are read: cut it")
    if voxels > MAX_VOXELS:
        raise UsageError(f"{where} claims {voxels:,} voxels", f"at most {MAX_VOXELS:,} are read: cut it")
    if not len(head) >= 348 or not 0 <= offset <= _MOST_EXTENSIONS or not size:
        raise UsageError(f"{where} is no NIfTI volume, or a damaged one", "replace the file or leave it out")
    if offset < (_SECOND if second else _FIRST):
        raise UsageError(f"the voxels of {where} begin inside its header", "replace the file or leave it out")
    data = head + file.read(max(0, offset + size - len(head)))
    if len(data) < offset + size:
        raise UsageError(f"{where} is incomplete: it ends before its last voxel", "replace the file or leave it out")
    return data


def _zooms(header: Any) -> tuple[float, float, float]:
    right, front, up = (float(zoom) for zoom in header.get_zooms()[:3])
    return right, front, up


def _names_itself(path: Path) -> bool:
    """RFC 1952: the flag FNAME says that the name the file once had follows."""
    with path.open("rb") as file:
        head = file.read(4)
    return len(head) == 4 and bool(head[3] & 8)


def _is_second(data: bytes) -> bool:
    return 540 in (int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))


def _words(header: Any) -> tuple[str, ...]:
    """Fields that hold text anybody may have typed."""
    found = [
        name
        for name in ("descrip", "aux_file", "db_name", "intent_name", "data_type")
        if name in header and bytes(header[name].tobytes()).strip(b"\0 ")
    ]
    return (*found, *(("extensions",) if len(header.extensions) else ()))
