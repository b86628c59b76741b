"""A DICOM frame to eight bits: every step of PS3.4 N.2 against arithmetic done by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from embhub.errors import UsageError
from embhub.images.pixels import read_pixels
from embhub.images.readers.view import View, Window
from tests.support import medical

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16  # 0 to 4080
SMALL = np.array([[0, 50, 100, 120], [150, 200, 230, 255]], np.uint8)


def grey(path: Path, view: View | None = None) -> NDArray[Any]:
    image = np.asarray(read_pixels(path, "image 1", view=view))
    assert (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()
    return image[..., 0]


def read(tmp_path: Path, pixels: NDArray[Any], view: View | None = None, **fields: Any) -> NDArray[Any]:
    return grey(medical.write(tmp_path / "x.dcm", medical.dataset(pixels, **fields)), view)


def rounded(values: NDArray[Any]) -> NDArray[Any]:
    return np.rint(np.clip(values, 0, 1) * 255)


def test_its_own_window_is_applied(tmp_path: Path) -> None:
    found = read(tmp_path, RAMP, WindowCenter=2000, WindowWidth=1001)
    # PS3.3 C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5)
    assert (found == rounded((RAMP - 1999.5) / 1000 + 0.5)).all()


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_the_functions_of_a_window(tmp_path: Path, function: str) -> None:
    found = read(tmp_path, RAMP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction=function)
    wanted = (
        (RAMP - 2000.0) / 1000 + 0.5 if function == "LINEAR_EXACT" else 1 / (1 + np.exp(-4 * (RAMP - 2000.0) / 1000))
    )
    assert np.abs(found - 255 * np.clip(wanted, 0, 1)).max() <= 0.51


def test_one_of_several_windows(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"WindowCenter": [1000, 3000], "WindowWidth": [1001, 501]}
    second = read(tmp_path, RAMP, View(window=Window("header", 2)), **fields)
    assert (second == rounded((RAMP - 2999.5) / 500 + 0.5)).all()
    assert (read(tmp_path, RAMP, **fields) == rounded((RAMP - 999.5) / 1000 + 0.5)).all()
    with pytest.raises(UsageError, match="has no window 3"):
        read(tmp_path, RAMP, View(window=Window("header", 3)), **fields)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_table_goes_before_a_window(tmp_path: Path, bits: int) -> None:
    """Tables with more entries than their own depth could count, too."""
    table = Dataset()
    table.LUTDescriptor = [4096, 0, bits]
    entries = (np.arange(4096)[::-1] * (2**bits - 1) // 4095).astype(np.uint16)
    table.LUTData = entries.tobytes()
    table["LUTData"].VR = "OW"
    found = read(tmp_path, RAMP, VOILUTSequence=Sequence([table]), WindowCenter=10, WindowWidth=10, BitsStored=12)
    assert np.abs(found - 255 * (entries[RAMP] / (2**bits - 1))).max() <= 0.51


def test_rescaling_goes_before_the_window(tmp_path: Path) -> None:
    """Hounsfield units of a CT: signed, with an intercept, shown in a window that a person named."""
    stored = np.array([[-1024, 0, 976], [1064, 1264, 3000]], np.int16)
    fields: dict[str, Any] = {"RescaleSlope": 1, "RescaleIntercept": -1024, "sop_class": medical.CT}
    lung = read(tmp_path, stored, View(window=Window("values", -160, 240)), **fields)
    assert (lung == rounded((stored - 1024.0 + 160) / 400)).all()
    own = read(tmp_path, stored, WindowCenter=40, WindowWidth=401, **fields)
    assert np.abs(own - 255 * np.clip((stored - 1024.0 - 39.5) / 400 + 0.5, 0, 1)).max() <= 0.51


def test_a_modality_table(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [256, 0, 16], "OD"
    table.LUTData = (np.arange(256, dtype=np.uint16)[::-1] * 100).tobytes()
    table["LUTData"].VR = "OW"
    found = read(
        tmp_path, SMALL, View(window=Window("values", 0, 25500)), ModalityLUTSequence=Sequence([table])
    )  # fmt: skip
    assert (found == 255 - SMALL).all()


def test_without_a_window_percentiles_decide(tmp_path: Path) -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    found = read(tmp_path, values, BitsStored=12)
    low, high = np.percentile(values, (1, 99.5))
    assert (found == rounded((values - low) / (high - low))).all()
    chosen = read(tmp_path, values, View(window=Window("percentiles", 10, 90)), BitsStored=12)
    low, high = np.percentile(values, (10, 90))
    assert (chosen == rounded((values - low) / (high - low))).all()


@pytest.mark.parametrize("blank", ["WindowCenter", "WindowWidth"])
def test_a_window_that_was_blanked_is_none(tmp_path: Path, blank: str) -> None:
    """De-identification may leave an attribute without its value."""
    fields: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 1001, blank: ""}
    assert (read(tmp_path, RAMP, **fields) == read(tmp_path, RAMP)).all()
    with pytest.raises(UsageError, match="no window of its own"):
        read(tmp_path, RAMP, View(window=Window("header", 2)), **fields)


def test_monochrome1_is_turned_over(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 4001}
    plain = read(tmp_path, RAMP, **fields)
    assert (read(tmp_path, RAMP, PhotometricInterpretation="MONOCHROME1", **fields) == 255 - plain).all()
    assert (read(tmp_path, RAMP, PresentationLUTShape="INVERSE", **fields) == 255 - plain).all()


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_count(tmp_path: Path, kind: str) -> None:
    values = np.tile(np.arange(100, 164, dtype=np.int16), (64, 1))
    padded = values.copy()
    padded[:20] = -2000
    view = View(window=Window("percentiles", 0, 100))
    fields: dict[str, Any] = {"PhotometricInterpretation": kind}
    found = read(tmp_path, padded, view, PixelPaddingValue=-2000, **fields)
    assert (found[:20] == 0).all() and (found[20:] == read(tmp_path, values, view, **fields)[20:]).all()
    padded[:5] = -1990
    ranged = read(tmp_path, padded, view, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1900, **fields)
    assert (ranged == found).all()


@pytest.mark.parametrize(("dtype", "written"), [(np.int16, ("US", 63_536)), (np.uint16, ("SS", -2000))])
def test_padding_under_the_other_sign_is_padding(tmp_path: Path, dtype: Any, written: tuple[str, int]) -> None:
    values = np.tile(np.arange(100, 164, dtype=np.int16), (64, 1))
    values[:20] = -2000
    data = medical.dataset(values.astype(dtype), PhotometricInterpretation="MONOCHROME1")
    data.add_new("PixelPaddingValue", *written)
    found = grey(medical.write(tmp_path / "x.dcm", data))
    assert (found[:20] == 0).all() and found[20:].max() == 255


def test_bits_above_those_stored_are_not_looked_at(tmp_path: Path) -> None:
    """Where files of old keep overlays: words may be drawn there."""
    view = View(window=Window("values", 0, 4095))
    plain = read(tmp_path, RAMP, view, BitsStored=12, HighBit=11)
    assert (read(tmp_path, RAMP | 0x8000, view, BitsStored=12, HighBit=11) == plain).all()
    signed = np.array([[-5, 7], [-2048, 2047]], np.int16)
    view = View(window=Window("values", -2048, 2047))
    marked = (signed & 0x0FFF) | 0x4000
    wanted = read(tmp_path, signed, view, BitsStored=16)
    assert (read(tmp_path, marked, view, BitsStored=12, HighBit=11) == wanted).all()


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless]
)
@pytest.mark.parametrize("signed", [False, True])
def test_transfer_syntaxes_give_the_same_picture(tmp_path: Path, syntax: str, signed: bool) -> None:
    ramp = np.kron(RAMP, np.ones((4, 4), np.uint16))
    pixels = ramp.astype(np.int16) - 2000 if signed else ramp
    view = View(window=Window("values", float(pixels.min()), float(pixels.max())))
    plain = read(tmp_path, pixels, view)
    assert (read(tmp_path, pixels, view, syntax=syntax) == plain).all()


def test_big_endian(tmp_path: Path) -> None:
    data = medical.dataset(RAMP, WindowCenter=2000, WindowWidth=4001)
    plain = grey(medical.write(tmp_path / "x.dcm", data))
    data.PixelData = RAMP.astype(">u2").tobytes()
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    data.set_original_encoding(False, False)
    path = tmp_path / "big.dcm"
    data.save_as(path, implicit_vr=False, little_endian=False, enforce_file_format=True)
    assert (grey(path) == plain).all()


def test_lossy_jpeg_in_colour(tmp_path: Path) -> None:
    """A baseline JPEG of YBR_FULL_422, written by Pillow and wrapped, comes back as its colours."""
    import io

    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    colours = np.zeros((64, 64, 3), np.uint8)
    colours[:, :32], colours[:, 32:] = (200, 40, 60), (20, 160, 220)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "JPEG", quality=95, subsampling=1)
    data = medical.dataset(colours, PhotometricInterpretation="YBR_FULL_422")
    data.PixelData = encapsulate([buffer.getvalue()])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    path = medical.write(tmp_path / "x.dcm", data)
    found = np.asarray(read_pixels(path, "image 1"), int)
    assert (
        np.abs(found[:, 4:28] - colours[:, 4:28]).max() < 12 and np.abs(found[:, 36:60] - colours[:, 36:60]).max() < 12
    )


def test_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    path = medical.write(tmp_path / "x.dcm", medical.dataset(colours))
    assert (np.asarray(read_pixels(path, "image 1")) == colours).all()
    planar = medical.dataset(colours, PlanarConfiguration=1)
    planar.PixelData = colours.transpose(2, 0, 1).tobytes()
    assert (np.asarray(read_pixels(medical.write(tmp_path / "p.dcm", planar), "image 1")) == colours).all()


def test_a_palette(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    tables = {name: np.random.default_rng(seed).integers(0, 65536, 256, dtype=np.uint16) for seed, name in
              enumerate(("Red", "Green", "Blue"))}  # fmt: skip
    for name, table in tables.items():
        fields[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        fields[f"{name}PaletteColorLookupTableData"] = table.tobytes()
    found = np.asarray(read_pixels(medical.write(tmp_path / "x.dcm", medical.dataset(SMALL, **fields)), "image 1"))
    assert (found == np.stack([table[SMALL] >> 8 for table in tables.values()], axis=-1)).all()


def test_frames_and_their_own_rescaling(tmp_path: Path) -> None:
    """An enhanced file: each frame has its own slope and window, in functional groups."""
    frames = np.stack([SMALL.astype(np.uint16) * (number + 1) for number in range(3)])
    groups = []
    for number in range(3):
        group, values, window = Dataset(), Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2, number, "US"
        window.WindowCenter, window.WindowWidth = 255 * (number + 1), 510 * (number + 1) + 1
        group.PixelValueTransformationSequence = Sequence([values])
        group.FrameVOILUTSequence = Sequence([window])
        groups.append(group)
    data = medical.dataset(frames, sop_class=medical.ENHANCED_MR, PerFrameFunctionalGroupsSequence=Sequence(groups))
    path = medical.write(tmp_path / "x.dcm", data)
    for number in range(3):
        values = 2.0 * frames[number] + number
        wanted = (values - (255 * (number + 1) - 0.5)) / (510 * (number + 1)) + 0.5
        assert np.abs(grey(path, View(number)) - 255 * np.clip(wanted, 0, 1)).max() <= 0.51
    with pytest.raises(UsageError, match="3 frames and no number 3"):
        read_pixels(path, "image 1", view=View(3))
    with pytest.raises(UsageError, match="holds 3 frames"):
        read_pixels(path, "image 1")


def test_pixels_that_are_not_square_become_so(tmp_path: Path) -> None:
    path = medical.write(tmp_path / "x.dcm", medical.dataset(RAMP, PixelSpacing=[2.0, 0.5]))
    assert read_pixels(path, "image 1").size == (16, 64)
    path = medical.write(tmp_path / "y.dcm", medical.dataset(RAMP, PixelAspectRatio=["1", "2"]))
    assert read_pixels(path, "image 1").size == (32, 16)


def test_a_file_without_preamble(tmp_path: Path) -> None:
    data = medical.dataset(RAMP, WindowCenter=2000, WindowWidth=1001)
    path = tmp_path / "IM00001"
    path.write_bytes(medical.without_preamble(data))
    assert (grey(path) == read(tmp_path, RAMP, WindowCenter=2000, WindowWidth=1001)).all()
