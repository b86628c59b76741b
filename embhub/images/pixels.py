"""One picture of a file to pixels: PNG, JPEG or TIFF here, DICOM and NIfTI by their readers; nothing else goes on.

Deep images (more than 8 bits) have no common scale, so each is scaled by its own range: its 1st percentile becomes
black, its 99.5th white; DICOM files mostly say their window. All are fitted into a square.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from embhub.errors import EmbhubError, UsageError
from embhub.images.framing import fit_square
from embhub.images.readers import grey
from embhub.images.readers.encoding import Encoding
from embhub.images.readers.sniffing import PICTURES, kind_of
from embhub.images.readers.view import View
from embhub.options.preprocessing import Fit

FORMATS = ("PNG", "JPEG", "TIFF")
SUFFIXES = PICTURES
MAX_PIXELS = 100_000_000
DEEP = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})


def read_pixels(
    path: Path,
    where: str,
    look: Callable[[Image.Image], None] | None = None,
    *,
    view: View | None = None,
    stored: Callable[[Encoding], None] | None = None,
) -> Image.Image:
    """The image as 8-bit RGB of its own size. `where` names it in errors, without its file name.

    `look` is shown a PNG, JPEG or TIFF as its file has it, once it is known to be readable; it must not raise. `stored`
    is told how a DICOM file or a volume keeps it. `view` chooses among the pictures of those; without one it is the
    only frame, in the file's own window.

    Raises:
        UsageError: not a readable picture, more than one page or frame, or over MAX_PIXELS.
    """
    kind = kind_of(path)
    if kind not in ("dicom", "nifti"):
        return _read_picture(path, where, look)
    image, encoding = _read_medical(kind, path, where, view)
    if stored:
        stored(encoding)
    return image


def _read_medical(kind: str, path: Path, where: str, view: View | None) -> tuple[Image.Image, Encoding]:
    """The readers are loaded where they are needed: their libraries are extras."""
    if kind == "dicom":
        from embhub.images.readers.dicom_pixels import read_frame

        return read_frame(path, where, view, most=MAX_PIXELS)
    if view is None:
        raise UsageError(f"{where} is a volume", "say which of its slices in a volumes file")
    from embhub.images.readers.nifti_file import read_slice

    return read_slice(path, where, view, most=MAX_PIXELS)


def _read_picture(path: Path, where: str, look: Callable[[Image.Image], None] | None) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # The limit below says the same in our own words, before any pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _check(image, where)
                image.load()
                rgb = _to_rgb(image)
                if look:
                    look(image)
                return rgb
    except UnidentifiedImageError as error:
        raise UsageError(f"{where} is not an image", "use PNG, JPEG or TIFF files, or leave it out") from error
    except Image.DecompressionBombError as error:
        raise UsageError(f"{where} is too large to be decoded safely", f"at most {MAX_PIXELS:,} pixels") from error
    except PermissionError as error:
        raise UsageError(f"{where} may not be read", "grant the right to read it, or leave it out") from error
    except (EmbhubError, MemoryError):
        raise
    except Exception as error:  # Pillow's parsers raise whatever a damaged header makes them stumble on
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "damaged or incomplete"
        raise UsageError(f"{where} cannot be read: {reason}", "replace the file or leave it out") from error


def fit(
    image: Image.Image, resolution: int, how: Fit = "crop"
) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """`image` as a square (`embhub.images.framing`): (3, resolution, resolution), float32 in [-1, 1]."""
    values = np.asarray(fit_square(image, resolution, how), dtype=np.float32) / 127.5 - 1
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def digest(image: Image.Image) -> bytes:
    """SHA-256 of size and pixels: equal for two files with one picture. It is kept nowhere but under the site's key."""
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()


def _check(image: Image.Image, where: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UsageError(f"{where} has {width} x {height} pixels", f"at most {MAX_PIXELS:,} are read: scale it down")
    pages = int(getattr(image, "n_frames", 1))
    if pages > 1:
        raise UsageError(f"{where} holds {pages} pages", "write each page to a file of its own")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in DEEP:
        return _scaled(np.asarray(image, dtype=np.float64))
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "P":
        upright = upright.convert("RGBA" if "transparency" in upright.info else "RGB")
    if upright.mode in ("RGBA", "LA"):
        ground = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, upright.convert("RGBA")).convert("RGB")
    return upright.convert("RGB")


def _scaled(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Image.Image:
    return Image.fromarray(grey.scale(values, *grey.percentile_range(values))).convert("RGB")
