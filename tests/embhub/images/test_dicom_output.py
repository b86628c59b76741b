"""DICOM files of generated images: synthetic, of nobody, the same bytes each time, and right for other programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from embhub.images.checks.synthetic import declared
from embhub.images.dicom_output import Series, burn, encode
from embhub.images.pixels import read_pixels
from tests.support import tools

EMBEDDING, BASE = "ab" * 32, "cd" * 32
SERIES = Series("study", "a", (EMBEDDING,), BASE)


def picture(mode: str = "L", side: int = 33) -> Image.Image:
    shape = (side, side) if mode == "L" else (side, side, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pydicom_reads_it(mode: str, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(encode(picture(mode), SERIES, 1))
    found = pydicom.dcmread(tmp_path / "a.dcm")
    assert found.SyntheticData == "YES" and found.ConversionType == "SYN" and found.ImageType[0] == "DERIVED"
    assert (found.pixel_array == np.asarray(picture(mode))).all()
    assert {str(found[keyword].value) for keyword in ("PatientName", "PatientID", "PatientBirthDate")} == {""}
    assert not [element for element in found if element.VR in ("DA", "TM", "PN") and str(element.value)]
    said = declared(tmp_path / "a.dcm")
    assert said.synthetic and (said.embeddings, said.base) == ((EMBEDDING,), BASE)
    assert np.asarray(read_pixels(tmp_path / "a.dcm", "it")).shape == (33, 33, 3)


def test_names_follow_from_content() -> None:
    def uids(data: bytes) -> tuple[str, str, str]:
        found = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
        return found.StudyInstanceUID, found.SeriesInstanceUID, found.SOPInstanceUID

    first = encode(picture(), SERIES, 1)
    assert first == encode(picture().convert("RGB"), SERIES, 1), "grey in colour is grey"
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids(first)) and len(set(uids(first))) == 3
    second, elsewhere = encode(picture(), SERIES, 2), encode(picture(), Series("study", "b"), 1)
    assert uids(first)[:2] == uids(second)[:2] and uids(first)[2] != uids(second)[2]
    assert uids(first)[0] == uids(elsewhere)[0] and uids(first)[1] != uids(elsewhere)[1]


@pytest.mark.parametrize("side", [16, 64, 512])
def test_the_word_is_in_the_pixels(side: int) -> None:
    plain = picture(side=side)
    burned = np.asarray(burn(plain))
    changed = burned != np.asarray(plain)
    assert changed.any() and not changed[: side // 2].any() and np.ptp(burned[-side // 8 :]) > 60
    found = pydicom.dcmread(pydicom.filebase.DicomBytesIO(encode(plain, Series("s", "n", burn_in=True), 1)))
    assert found.BurnedInAnnotation == "YES" and (found.pixel_array == burned).all()


@tools.needs("dciodvfy")
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_dciodvfy_finds_no_error(mode: str, tmp_path: Path) -> None:
    """But that it is older than the attribute SyntheticData (0008,001C), which came with DICOM 2023b."""
    (tmp_path / "a.dcm").write_bytes(encode(picture(mode), SERIES, 1))
    said = subprocess.run(["dciodvfy", "-new", str(tmp_path / "a.dcm")], capture_output=True, text=True, check=False)
    errors = [line for line in said.stderr.splitlines() if line.startswith("Error") and "(0008,001c)" not in line]
    assert "SCImage" in said.stderr and not errors
