"""DICOM files as devices write them: the right pixels, or refused in words that name the cause."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from embhub.errors import UsageError
from embhub.images.pixels import read_pixels
from embhub.images.readers.view import View, Window
from tests.support import medical

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16  # 0 to 4080
COLOURS = np.zeros((64, 64, 3), np.uint8)
COLOURS[:, :32], COLOURS[:, 32:] = (200, 40, 60), (20, 160, 220)
WINDOW: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 1001}


def read(tmp_path: Path, data: Any, view: View | None = None) -> NDArray[Any]:
    return np.asarray(read_pixels(medical.write(tmp_path / "x.dcm", data), "image 1", view=view))


def grey(tmp_path: Path, pixels: NDArray[Any] = RAMP, view: View | None = None, **fields: Any) -> NDArray[Any]:
    return read(tmp_path, medical.dataset(pixels, **fields), view)[..., 0]


def ramp(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)


def refused(tmp_path: Path, data: Any, words: str, view: View | None = None) -> str:
    with pytest.raises(UsageError, match=words) as caught:
        read(tmp_path, data, view)
    return caught.value.hint or ""


@pytest.mark.parametrize(("stored", "high"), [(12, 15), (16, 11), (12, 12)])
def test_bits_that_contradict_each_other_are_refused(tmp_path: Path, stored: int, high: int) -> None:
    """Shifted values of the old standard and a careless header look the same: a guess would be off by a factor."""
    data = medical.dataset(RAMP, BitsStored=stored, HighBit=high)
    hint = refused(tmp_path, data, f"BitsStored is {stored} and HighBit is {high}")
    assert "HighBit" in hint


def test_a_compressed_picture_says_itself_how_deep_it_is(tmp_path: Path) -> None:
    data = medical.dataset(RAMP.repeat(4, 0).repeat(4, 1), BitsStored=12, HighBit=11, syntax=JPEG2000Lossless)
    data.HighBit = 15
    found = read(tmp_path, data, View(window=Window("values", 0, 4080)))[..., 0]
    assert (found[::4, ::4] == ramp(RAMP, 0, 4080)).all()


@pytest.mark.parametrize(
    ("function", "width", "least"),
    [("LINEAR", 0, "of at least 1"), ("LINEAR", 0.5, "of at least 1"), ("LINEAR_EXACT", 0, "above 0"),
     ("SIGMOID", 0, "above 0"), ("LINEAR", -4, "of at least 1")],
)  # fmt: skip
def test_a_window_without_width_is_refused(tmp_path: Path, function: str, width: float, least: str) -> None:
    data = medical.dataset(RAMP, WindowCenter=2000, WindowWidth=width, VOILUTFunction=function)
    hint = refused(tmp_path, data, f"window of width {width:g}; {function} needs a width {least}")
    assert "percentiles" in hint
    found = grey(tmp_path, view=View(window=Window("values", 0, 4080)), WindowCenter=2000, WindowWidth=width)
    assert (found == ramp(RAMP, 0, 4080)).all()


def test_a_window_of_width_one_is_a_threshold(tmp_path: Path) -> None:
    found = grey(tmp_path, WindowCenter=2000.5, WindowWidth=1)
    assert (found == np.where(RAMP > 2000, 255, 0)).all() and {0, 255} == set(found.flat)


@pytest.mark.parametrize("function", ["", " "])
def test_an_empty_function_is_linear(tmp_path: Path, function: str) -> None:
    assert (grey(tmp_path, VOILUTFunction=function, **WINDOW) == ramp(RAMP, 1499.5, 2499.5)).all()


def test_a_function_that_nobody_defined_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, medical.dataset(RAMP, VOILUTFunction="CUBIC", **WINDOW), "VOILUTFunction that DICOM does not")


def float_file(values: NDArray[Any], **fields: Any) -> Any:
    """As PS3.3 C.7.6.24 and C.7.6.25 have it: no BitsStored, HighBit or PixelRepresentation."""
    data = medical.dataset(values, **fields)
    name = "FloatPixelData" if values.dtype == np.float32 else "DoubleFloatPixelData"
    del data.PixelData, data.BitsStored, data.HighBit, data.PixelRepresentation
    setattr(data, name, values.tobytes())
    return data


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_pixels_with_a_window(tmp_path: Path, dtype: Any) -> None:
    values = (RAMP / 4080).astype(dtype)  # 0 to 1, as maps of a probability are
    window = {"WindowCenter": 0.5, "WindowWidth": 0.5, "VOILUTFunction": "LINEAR_EXACT"}
    assert (read(tmp_path, float_file(values, **window))[..., 0] == ramp(values.astype(float), 0.25, 0.75)).all()
    plain = read(tmp_path, float_file(RAMP.astype(dtype), **WINDOW))[..., 0]
    assert (plain == ramp(RAMP, 1499.5, 2499.5)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_padding_is_black_and_does_not_count(tmp_path: Path, dtype: Any) -> None:
    values = RAMP.astype(dtype)
    values[0] = -1e6
    name = "FloatPixelPaddingValue" if dtype == np.float32 else "DoubleFloatPixelPaddingValue"
    view = View(window=Window("percentiles", 0, 100))
    found = read(tmp_path, float_file(values, **{name: -1e6}), view)[..., 0]
    assert (found[0] == 0).all() and (found[1:] == ramp(RAMP[1:], 256, 4080)).all()


def test_a_slope_of_zero_is_refused(tmp_path: Path) -> None:
    for fields in ({}, WINDOW):
        data = medical.dataset(RAMP, RescaleSlope=0, RescaleIntercept=5, **fields)
        refused(tmp_path, data, "RescaleSlope 0")


def test_a_rescaling_that_was_blanked_or_halved(tmp_path: Path) -> None:
    plain = grey(tmp_path, **WINDOW)
    assert (grey(tmp_path, RescaleSlope="", RescaleIntercept="", **WINDOW) == plain).all()
    shifted = ramp(RAMP - 1000.0, 1499.5, 2499.5)
    assert (grey(tmp_path, RescaleIntercept=-1000, **WINDOW) == shifted).all()
    assert (grey(tmp_path, RescaleSlope=2, **WINDOW) == ramp(RAMP * 2.0, 1499.5, 2499.5)).all()


def test_a_falling_slope_turns_values_over_before_the_window(tmp_path: Path) -> None:
    found = grey(tmp_path, RescaleSlope=-1, RescaleIntercept=4080, **WINDOW)
    assert (found == ramp(4080.0 - RAMP, 1499.5, 2499.5)).all()


def test_a_siemens_mosaic_is_refused(tmp_path: Path) -> None:
    typed = medical.dataset(RAMP, sop_class=medical.MR, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    assert "NIfTI" in refused(tmp_path, typed, "Siemens mosaic")
    private = medical.dataset(RAMP, sop_class=medical.MR, ImageType=["ORIGINAL", "PRIMARY"])
    private.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 25)
    refused(tmp_path, private, "Siemens mosaic")
    single = medical.dataset(RAMP, sop_class=medical.MR, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"], **WINDOW)
    single.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0B, "DS", "1.5")
    assert (read(tmp_path, single)[..., 0] == ramp(RAMP, 1499.5, 2499.5)).all()


def jpeg(colours: str, **options: Any) -> Any:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, "JPEG", quality=95, **options)
    data = medical.dataset(COLOURS, PhotometricInterpretation=colours)
    data.PixelData = encapsulate([buffer.getvalue()])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return data


@pytest.mark.parametrize("colours", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("options", [{"subsampling": 1}, {"subsampling": 2}, {"keep_rgb": True}])
def test_jpegs_give_their_colours_whatever_the_header_calls_them(
    tmp_path: Path, colours: str, options: dict[str, Any]
) -> None:
    """A JFIF or Adobe marker in the picture says how it is coded; many devices write another word into the header."""
    found = read(tmp_path, jpeg(colours, **options)).astype(int)
    away = np.abs(found - COLOURS)
    assert away[:, 4:28].max() < 6 and away[:, 36:60].max() < 6


@pytest.mark.parametrize("colours", ["YBR_PARTIAL_420", "YBR_PARTIAL_422", "HSV", "CMYK"])
def test_other_colours_are_refused(tmp_path: Path, colours: str) -> None:
    """Decoders hand them through as they are: blue would be shown for red."""
    refused(tmp_path, jpeg(colours, subsampling=2), "stores its colours in a way that is not read here")


def test_ybr_without_jpeg(tmp_path: Path) -> None:
    ybr = convert_color_space(COLOURS, "RGB", "YBR_FULL")
    for syntax in ({}, {"syntax": RLELossless}):
        found = read(tmp_path, medical.dataset(ybr, PhotometricInterpretation="YBR_FULL", **syntax)).astype(int)
        assert np.abs(found - COLOURS).max() <= 1
