"""One frame of a DICOM file as a picture: decoded by pydicom, then values, window, MONOCHROME1, colour.

The order is that of PS3.4 N.2: stored values, modality transformation, value of interest, presentation. Padding and
what lies behind the stored bits (old overlays) are not looked at. Headers that contradict themselves are refused.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embhub.errors import EmbhubError, UsageError
from embhub.images.readers import codestreams
from embhub.images.readers.dicom_file import open_pixels, read_header
from embhub.images.readers.dicom_header import frame, grid_of
from embhub.images.readers.dicom_values import apply_window, measure
from embhub.images.readers.encoding import Encoding, of_channels
from embhub.images.readers.grey import Grey, merge, square
from embhub.images.readers.nifti_file import MAX_BYTES
from embhub.images.readers.quiet import quiet
from embhub.images.readers.resampling import Grid, box, inside, interpolate, locate, stack
from embhub.images.readers.view import Channel, View, Window

_RUN_LENGTHS = "1.2.840.10008.1.2.5"
_COLOURS = {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
_SIEMENS, _IMAGES_IN_MOSAIC = "SIEMENS MR HEADER", 0x0A


def read_frame(path: Path, where: str, view: View | None, *, most: int) -> tuple[Image.Image, Encoding]:
    """8-bit RGB of its own size with square pixels, and how the file stores it; `most` is the largest number of pixels.

    Without a `view` the file must hold one frame, which is shown in its own window. With channels the picture is of the
    first series' pixels; padding, and what a channel does not cover, is black.

    Raises:
        UsageError: as `dicom_file.read_header`; no such frame or window, too large, a compression that nothing here
            reads, pixels that are damaged or missing.
    """
    header = read_header(path, where)
    try:
        with quiet(), np.errstate(all="ignore"):
            frames = int(header.get("NumberOfFrames", 1) or 1)
            if view is None and frames > 1:
                raise UsageError(f"{where} holds {frames:,} frames", "say which of them in a volumes file")
            view = view or View()
            stored, flat = _open(header, path, where, view.index, most)
            image, encoding = (_join if view.channels else _picture)(stored, flat, where, view, most)
            return square(image, *_spacing(flat), where, most=most), encoding
    except (EmbhubError, MemoryError):
        raise
    except NotImplementedError:
        raise UsageError(
            f"{where} is compressed or coded in a way that is not read here", "store it uncompressed"
        ) from None
    except OSError as error:
        reason = error.strerror or "damaged or incomplete"
        raise UsageError(f"{where} cannot be read: {reason}", "replace the file or leave it out") from None
    except Exception:  # noqa: BLE001  # decoders raise whatever damaged pixels make them stumble on, and cite headers
        raise UsageError(
            f"the pixels of {where} are damaged or incomplete", "replace the file or leave it out"
        ) from None


def _open(header: Any, path: Path, where: str, index: int, most: int) -> tuple[NDArray[Any], Any]:
    """Stored values of a frame, and its flat header."""
    _check_size(header, path, where, index, most)
    _check_meaning(header, where)
    return _decode(path, where, index, size=_bytes(header)), frame(header, index)


def _check_size(header: Any, path: Path, where: str, index: int, most: int) -> None:
    """Of the header, and of the compressed picture itself, which may say something else."""
    from pydicom.pixels import get_decoder

    width, height, frames = int(header.Columns), int(header.Rows), int(header.get("NumberOfFrames", 1) or 1)
    samples = int(header.get("SamplesPerPixel", 1) or 1)
    if not 1 <= width * height <= most or samples not in (1, 3, 4):
        raise UsageError(f"{where} has {width} x {height} pixels", f"at most {most:,} are read: scale it down")
    if not 0 <= index < frames:
        raise UsageError(f"{where} has {frames:,} frames and no number {index}", "choose another frame")
    if not header.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    get_decoder(header.file_meta.TransferSyntaxUID)  # or it says that nobody reads this
    data = _compressed(path, index, frames)
    runs = str(header.file_meta.TransferSyntaxUID) == _RUN_LENGTHS
    beyond = codestreams.unpacks_beyond(data, width * height + 1) if runs else False  # one byte of padding
    told = (width, height) if runs else codestreams.size(data)
    if beyond or told != (width, height):
        raise UsageError(
            f"{where} holds a picture of another size than it says, or hides its size",
            "replace the file or leave it out",
        )


def _check_meaning(header: Any, where: str) -> None:
    """Pixels that could be decoded and would be something else than the file means."""
    colours = _colours(header)
    if colours not in _COLOURS:
        raise UsageError(
            f"{where} stores its colours in a way that is not read here", "write it as RGB or YBR_FULL, then try again"
        )
    if _is_mosaic(header):
        raise UsageError(
            f"{where} is a Siemens mosaic: many slices side by side in one image",
            "convert the series to NIfTI, for example with dcm2niix, and list it in a volumes file",
        )
    stored, high = header.get("BitsStored"), header.get("HighBit")
    if header.file_meta.TransferSyntaxUID.is_encapsulated or stored is None or high is None:
        return  # a compressed picture says itself how deep it is
    if int(high) != int(stored) - 1:
        raise UsageError(
            f"the header of {where} contradicts itself: BitsStored is {int(stored)} and HighBit is {int(high)}",
            "ask the source of the file where the values lie, then correct HighBit to BitsStored - 1 in a copy",
        )


def _colours(header: Any) -> str:
    return str(header.get("PhotometricInterpretation", None) or "MONOCHROME2").strip().upper()


def _is_mosaic(header: Any) -> bool:
    """By ImageType, or by Siemens' own count of slices where a profile kept private elements."""
    kinds = header.get("ImageType", None) or ()
    if "MOSAIC" in {str(kind).strip().upper() for kind in ([kinds] if isinstance(kinds, str) else kinds)}:
        return True
    try:
        count = header.private_block(0x0019, _SIEMENS)[_IMAGES_IN_MOSAIC].value
    except KeyError:
        return False
    return isinstance(count, int) and count > 1


def _compressed(path: Path, index: int, frames: int) -> bytes:
    from pydicom import dcmread
    from pydicom.encaps import get_frame

    with path.open("rb") as file:
        header = dcmread(file, stop_before_pixels=True, force=True, defer_size=1_000_000)
        file.seek(file.tell() + 12)  # tag, VR, two reserved bytes and the undefined length: PS3.5 7.1.2
        offsets = header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths")
        return get_frame(file, index, number_of_frames=frames, extended_offsets=offsets if all(offsets) else None)  # type: ignore[no-any-return]  # pydicom's types are not followed


def _decode(path: Path, where: str, index: int, *, size: int) -> NDArray[Any]:
    from pydicom.pixels import pixel_array

    return np.asarray(pixel_array(open_pixels(path, where, size=size), index=index))


def _bytes(header: Any) -> int:
    """Of all frames uncompressed, as the header has them."""
    frames, samples = (int(header.get(name, 1) or 1) for name in ("NumberOfFrames", "SamplesPerPixel"))
    return int(header.Rows) * int(header.Columns) * frames * samples * -(-int(header.BitsAllocated) // 8)


def _picture(stored: NDArray[Any], header: Any, where: str, view: View, _: int) -> tuple[Image.Image, Encoding]:
    kind, bits = _colours(header), _depth(header)
    if stored.ndim == 3:
        colours = stored[..., :3]
        shift = max(0, bits - 8)
        return Image.fromarray(np.asarray(colours >> shift, np.uint8)), Encoding("DICOM", "RGB", bits)
    if kind == "PALETTE COLOR":
        return _palette(stored, header), Encoding("DICOM", "P", bits)
    grey, encoding = _show(*measure(_mask(stored, header), header, where), header, where, view.window)
    return merge([grey]), encoding


def _show(
    values: NDArray[Any], padding: NDArray[np.bool_] | None, header: Any, where: str, window: Window
) -> tuple[Grey, Encoding]:
    grey, deep = apply_window(values, padding, header, where, window)
    if _colours(header) == "MONOCHROME1" or str(header.get("PresentationLUTShape", "")).strip().upper() == "INVERSE":
        grey = 255 - grey
    if padding is not None:
        grey[padding] = 0
    return grey, Encoding("DICOM", "L", _depth(header), *deep)


def _join(stored: NDArray[Any], header: Any, where: str, view: View, most: int) -> tuple[Image.Image, Encoding]:
    """The first series in red, its channels at its pixels in green and blue."""
    grid = grid_of(header)
    if grid is None:
        raise UsageError(f"{where} does not say where it lies, so that no channel can join it", "leave it out")
    shown = [_show(*_measure_grey(stored, header, where), header, where, view.window)]
    for number, channel in enumerate(view.channels, start=2):
        shown.append(_resample(channel, grid, stored.shape, f"channel {number} of {where}", most))
    return merge([grey for grey, _ in shown]), of_channels([encoding for _, encoding in shown])


def _resample(channel: Channel, grid: Grid, shape: tuple[int, ...], where: str, most: int) -> tuple[Grey, Encoding]:
    """A channel at the pixels of `grid`. Its window is that of its slice nearest to the picture's middle."""
    headers = {file: read_header(Path(file), where) for file, _ in channel.files}
    flat = [frame(headers[file], index) for file, index in channel.files]
    places = locate(
        grid, np.arange(shape[1]), np.arange(shape[0]), stack([lies for one in flat if (lies := grid_of(one))])
    )
    size = (len(flat), int(flat[0].Rows), int(flat[0].Columns))
    part = box(places, size)
    values, padding = _hold((size[0], *(along.stop - along.start for along in part[1:])), where)
    for place, ((file, index), one) in enumerate(zip(channel.files, flat, strict=True)):
        stored, _ = _open(headers[file], Path(file), where, index, most)
        measured, padded = _measure_grey(stored, one, where)
        values[place] = measured[part[1:]]
        padding[place] = False if padded is None else padded[part[1:]]
    within = places - np.array([0, part[1].start, part[2].start])[:, None, None]
    outside = ~inside(places, size) | (interpolate(padding, within) > 0)
    middle = int(np.clip(np.rint(places[0, shape[0] // 2, shape[1] // 2]), 0, len(flat) - 1))
    return _show(interpolate(values, within), outside, flat[middle], where, channel.window)


def _hold(shape: tuple[int, ...], where: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Room for the values of a channel round one picture, and for which of them are padding."""
    if (size := 4 * math.prod(shape)) > MAX_BYTES:
        raise UsageError(
            f"{where} takes {size:,} bytes of voxels for one picture",
            f"at most {MAX_BYTES:,} are held: choose a first series that lies as this one does, or a smaller one",
        )
    return np.empty(shape, np.float32), np.empty(shape, np.bool_)


def _measure_grey(stored: NDArray[Any], header: Any, where: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    if stored.ndim != 2 or _colours(header) == "PALETTE COLOR":
        raise UsageError(f"{where} is in colour, and a channel is a series in grey", "choose another series")
    return measure(_mask(stored, header), header, where)


def _depth(header: Any) -> int:
    return int(header.get("BitsStored", 0) or header.get("BitsAllocated", 0) or 8)


def _mask(stored: NDArray[Any], header: Any) -> NDArray[Any]:
    """Without the bits above those stored, where files of old keep overlays; the sign is kept."""
    bits = header.get("BitsStored")
    if not np.issubdtype(stored.dtype, np.integer) or not bits:
        return stored
    wide = stored.astype(np.int64)
    if not 1 <= int(bits) < 8 * stored.dtype.itemsize:
        return wide
    wide &= (1 << int(bits)) - 1
    if np.issubdtype(stored.dtype, np.signedinteger):
        wide = np.where(wide >> (int(bits) - 1), wide - (1 << int(bits)), wide)
    return wide


def _palette(stored: NDArray[Any], header: Any) -> Image.Image:
    from pydicom.pixels import apply_color_lut

    colours = np.asarray(apply_color_lut(stored, header))
    return Image.fromarray(np.asarray(colours >> (8 * (colours.dtype.itemsize - 1)), np.uint8)[..., :3])


def _spacing(header: Any) -> tuple[float, float]:
    """Width and height of a pixel in mm, or their ratio; (1, 1) where nothing is said."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        value = header.get(name, None)
        if value and len(value) == 2:
            return float(value[1]), float(value[0])
    return 1.0, 1.0
