"""From stored values to grey, by a DICOM header: modality rescaling or table, padding, window or table of interest.

Rescaling and windows are computed here (PS3.3 C.11.1, C.11.2): files have float pixels, blank attributes and widths
of 0, for which pydicom's functions have no answer. Tables are left to pydicom.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embhub.errors import UsageError
from embhub.images.readers.grey import Grey, percentile_range, scale
from embhub.images.readers.view import Window

_CHOOSE = "choose values or percentiles in a volumes file"


def measure(stored: NDArray[Any], header: Any, where: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Values in the file's units, and where there is only padding.

    Raises:
        UsageError: the rescaling makes one value of all, or no number.
    """
    from pydicom.pixels import apply_modality_lut

    padding = _padding(stored, header)
    if header.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, header)), padding
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    if slope is None and intercept is None:
        return stored, padding
    factor, offset = (1.0 if slope is None else float(slope)), float(intercept or 0)
    if factor == 0:
        raise UsageError(
            f"the header of {where} has RescaleSlope 0, which makes every pixel the same value",
            "export the file again, or leave it out",
        )
    if not (math.isfinite(factor) and math.isfinite(offset)):
        raise UsageError(f"the header of {where} rescales by no number", "export the file again, or leave it out")
    return stored.astype(np.float64) * factor + offset, padding


def apply_window(
    values: NDArray[Any], padding: NDArray[np.bool_] | None, header: Any, where: str, window: Window
) -> tuple[Grey, tuple[float, ...]]:
    """Eight bits, and the range of the values where nothing but that decided.

    Raises:
        UsageError: the file has no such window, or one that is none.
    """
    if window.kind == "values":
        return scale(values, window.first, window.second), ()
    if window.kind == "header":
        tables = len(header.get("VOILUTSequence", None) or ())
        if not tables and all(header.get(name) is not None for name in ("WindowCenter", "WindowWidth")):
            return _apply_own(values, header, where, int(window.first) - 1), ()
        if tables:
            return _apply_table(values, header, where, int(window.first) - 1), ()
        if window.first != 1:
            raise UsageError(f"{where} has no window of its own", "choose values or percentiles")
    inside = values if padding is None else values[~padding]
    percentiles = (window.first, window.second) if window.kind == "percentiles" else (1.0, 99.5)
    finite = inside[np.isfinite(inside)]
    deep = (float(finite.min()), float(finite.max())) if finite.size and _is_deep(header) else ()
    return scale(values, *percentile_range(inside, percentiles)), deep


def _is_deep(header: Any) -> bool:
    return int(header.get("BitsStored", 0) or header.get("BitsAllocated", 0) or 8) > 8


def _padding(stored: NDArray[Any], header: Any) -> NDArray[np.bool_] | None:
    ends = _padded_range(stored, header)
    if ends is None:
        return None
    padding = (stored >= ends[0]) & (stored <= ends[1])
    return None if padding.all() or not padding.any() else padding


def _padded_range(stored: NDArray[Any], header: Any) -> tuple[float, float] | None:
    """Float pixels have attributes of their own (PS3.3 C.7.6.24, C.7.6.25)."""
    kind = {"float32": "FloatPixelPadding", "float64": "DoubleFloatPixelPadding"}.get(stored.dtype.name, "PixelPadding")
    first, last = header.get(f"{kind}Value", None), header.get(f"{kind}RangeLimit", None)
    if first is None:
        return None
    both = (first, first if last is None else last)
    low, high = sorted(float(value) if kind != "PixelPadding" else _as_stored(int(value), header) for value in both)
    return low, high


def _as_stored(value: int, header: Any) -> int:
    """A padding value as the pixels have it: many a file writes that of signed pixels as an unsigned number."""
    bits = int(header.get("BitsAllocated", 16))
    signed = int(header.get("PixelRepresentation", 0) or 0) == 1
    if signed and value >= 1 << (bits - 1):
        return value - (1 << bits)
    return value + (1 << bits) if value < 0 and not signed else value


def _apply_own(values: NDArray[Any], header: Any, where: str, place: int) -> Grey:
    if place >= header["WindowCenter"].VM or place >= header["WindowWidth"].VM:
        raise UsageError(f"{where} has no window {place + 1}", "choose one that it has, values or percentiles")
    centre, width = (_entry(header[name], place) for name in ("WindowCenter", "WindowWidth"))
    function = str(header.get("VOILUTFunction", None) or "LINEAR").strip().upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise UsageError(f"{where} has a window with a VOILUTFunction that DICOM does not define", _CHOOSE)
    least = "of at least 1" if function == "LINEAR" else "above 0"
    if not (math.isfinite(centre) and math.isfinite(width)) or width <= 0 or (function == "LINEAR" and width < 1):
        raise UsageError(f"{where} has a window of width {width:g}; {function} needs a width {least}", _CHOOSE)
    if function == "SIGMOID":
        return scale(_sigmoid((values - centre) / width), 0, 1)
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width == 0:
        return np.where(values > centre, 255, 0).astype(np.uint8)
    return scale(values, centre - width / 2, centre + width / 2)


def _entry(element: Any, place: int) -> float:
    return float(element.value[place] if element.VM > 1 else element.value)


def _sigmoid(values: NDArray[Any]) -> NDArray[np.float64]:
    """1 / (1 + exp(-4 x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(2 * values.astype(np.float64))))


def _apply_table(values: NDArray[Any], header: Any, where: str, place: int) -> Grey:
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_voi

    if place >= len(header.VOILUTSequence):
        raise UsageError(f"{where} has no window {place + 1}", "choose one that it has, values or percentiles")
    item = Dataset()
    item.update(header.VOILUTSequence[place])
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    if bits == 8:  # pydicom would count in eight bits as well, and tables have more entries than that
        item.LUTDescriptor = [entries, first, 16]
    table = Dataset()
    table.VOILUTSequence = [item]
    table.file_meta = header.file_meta
    table.set_original_encoding(*header.original_encoding)
    return scale(np.asarray(apply_voi(np.rint(values).astype(np.int64), table)), 0, 2**bits - 1)
