"""Damaged and hostile hospital files: refused in words, with bounded memory, and nothing of them is cited."""

from __future__ import annotations

import gzip
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from embhub.errors import EmbhubError, UsageError
from embhub.images.pixels import read_pixels
from embhub.images.readers import dicom_file
from embhub.images.readers.dicom_header import take
from embhub.images.readers.nifti_file import read_volume
from embhub.images.readers.view import View
from tests.support import medical
from tests.support.quick import examples
from tests.support.refused_scans import RAMP, SECRET, look, refusal, secret

pytestmark = pytest.mark.usefixtures("home", "silence")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels"),
        ({"Rows": 0}, "0 pixels"),
        ({"Rows": 4000}, "damaged or incomplete"),
        ({"NumberOfFrames": 100_001}, "100,001 frames"),
        ({"NumberOfFrames": -1}, "-1 frames"),
        ({"SamplesPerPixel": 2}, "pixels"),
        ({"BitsAllocated": 13}, "damaged or incomplete"),
        ({"BitsStored": 0, "PixelRepresentation": 7}, "contradicts itself"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "damaged or incomplete"),
        ({"WindowCenter": 10, "WindowWidth": 0}, "a window of width 0"),
        ({"VOILUTFunction": SECRET[:16], "WindowCenter": 1, "WindowWidth": 3}, "VOILUTFunction"),
    ],
)
def test_numbers_that_lie(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    path = medical.write(tmp_path / "kq001.dcm", secret(**fields))
    assert words in refusal(path, lambda: look(path)).message


def test_a_transfer_syntax_that_nobody_reads(tmp_path: Path) -> None:
    data = secret(syntax=RLELossless)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.103"  # MPEG-4
    path = medical.write(tmp_path / "x.dcm", data)
    assert "is not read here" in refusal(path, lambda: look(path)).message


@pytest.mark.parametrize("length", [0, 100, 131, 140, 300, 600, 2000])
def test_cut_short(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(medical.to_bytes(secret())[:length])
    refusal(path, lambda: look(path))


@pytest.mark.thorough
def test_a_header_of_a_million_elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_file, "MAX_HEADER", 300_000)
    raw = medical.to_bytes(secret())
    pixels = raw.index(b"\xe0\x7f\x10\x00")
    element = b"\x29\x00\x01\x10LO\x02\x00ab"
    path = tmp_path / "x.dcm"
    path.write_bytes(raw[:pixels] + element * 40_000 + raw[pixels:])
    assert "over 300,000 bytes of header" in refusal(path, lambda: look(path)).message


def test_a_long_value_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private value of megabytes beside a sound picture costs nothing, and stops nothing."""
    monkeypatch.setattr(dicom_file, "MAX_HEADER", 1_000_000)
    data = secret()
    data.private_block(0x29, "X", create=True).add_new(1, "OB", bytes(5_000_000))
    look(medical.write(tmp_path / "x.dcm", data))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_long_sequence_is_no_long_value(tmp_path: Path, syntax: str) -> None:
    """What a thousand frames say of themselves is over a megabyte, and is read: places, and names hidden in it."""
    groups = []
    for number in range(40):
        group, place, words = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, number]
        words.FrameComments, words.OperatorsName = "x" * 30_000, "PIKE^ABERNETHY"
        group.PlanePositionSequence, group.FrameContentSequence = Sequence([place]), Sequence([words])
        groups.append(group)
    frames = medical.dataset(
        np.zeros((40, 8, 8), np.uint16), sop_class=medical.ENHANCED_MR, syntax=syntax, PatientIdentityRemoved=None,
        PerFrameFunctionalGroupsSequence=Sequence(groups), ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )  # fmt: skip
    header = take(medical.write(tmp_path / "x.dcm", frames), "image 7")
    assert [place.distance for place in header.places if place is not None] == list(range(40))
    assert header.found.identifiers == ("OperatorsName",)


def test_sequences_without_an_end(tmp_path: Path) -> None:
    raw = medical.to_bytes(secret())
    pixels = raw.index(b"\xe0\x7f\x10\x00")
    nested = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5_000
    path = tmp_path / "x.dcm"
    path.write_bytes(raw[:pixels] + nested + raw[pixels:])
    refusal(path, lambda: look(path))


def test_a_directory_that_may_not_be_read_and_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "folder.dcm").mkdir()
    refusal(tmp_path / "folder.dcm", lambda: look(tmp_path / "folder.dcm"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:300], "NIfTI"),
        (lambda data: data[:400], "ends before its last voxel"),
        (lambda data: b"", "NIfTI"),
        (lambda data: bytes(1000), "volume"),
        (lambda data: data[:70] + b"\x80\x00" + data[72:], "in grey|volume"),  # RGB24
        (lambda data: data[:70] + b"\xff\x7f" + data[72:], "NIfTI|volume"),
        (lambda data: data[:40] + b"\x05\x00" + data[42:], "three dimensions"),
        (lambda data: data[:108] + b"\x00\x00\x80\xff" + data[112:], "NIfTI|incomplete"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_volumes(tmp_path: Path, change: Callable[[bytes], bytes], words: str, packed: bool) -> None:
    import re

    data = change(
        medical.nifti(tmp_path / "y.nii", np.zeros((4, 4, 4), np.int16), descrip=SECRET.encode()).read_bytes()
    )
    path = tmp_path / ("kq001.nii.gz" if packed else "kq001.nii")
    path.write_bytes(gzip.compress(data) if packed else data)
    view = View(1, "axial")
    assert re.search(words, refusal(path, lambda: read_pixels(path, "volume 1", view=view)).message)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("begin", [0, 1])
def test_no_header_is_read_as_voxels(tmp_path: Path, second: bool, begin: int) -> None:
    """Where voxels begin inside the header, its words would become pixels."""
    import nibabel

    kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    image = kind(np.zeros((8, 8, 8), np.int16), np.eye(4))
    image.header["descrip"] = SECRET.encode()
    path, data = tmp_path / "x.nii", bytearray(image.to_bytes())
    offset = np.int64(begin * 540).tobytes() if second else np.float32(begin * 348).tobytes()
    data[168:176] = offset if second else data[168:176]
    data[108:112] = data[108:112] if second else offset
    path.write_bytes(data)
    assert "begin inside its header" in refusal(path, lambda: read_volume(path, "volume 1")).message


def test_a_damaged_gzip_and_a_slice_that_is_not_there(tmp_path: Path) -> None:
    path = medical.nifti(tmp_path / "x.nii.gz", np.zeros((4, 4, 4), np.int16))
    with pytest.raises(UsageError, match="no axial slice 4"):
        read_pixels(path, "volume 1", view=View(4, "axial"))
    path.write_bytes(path.read_bytes()[:60])
    refusal(path, lambda: read_volume(path, "volume 1"))
    path.write_bytes(b"\x1f\x8b" + bytes(200))
    refusal(path, lambda: read_volume(path, "volume 1"))


def mutants() -> st.SearchStrategy[list[tuple[int, int]]]:
    return st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=12)


def mutate(data: bytes, changes: list[tuple[int, int]], within: int) -> bytes:
    found = bytearray(data)
    for place, value in changes:
        found[place % min(within, len(found))] = value
    return bytes(found)


KINDS = {
    "plain": medical.to_bytes(secret()),
    "windowed": medical.to_bytes(
        secret(WindowCenter=[100, 300], WindowWidth=[50, 90], RescaleSlope=2, RescaleIntercept=1)
    ),
    "rle": medical.to_bytes(secret(syntax=RLELossless)),
    "jpeg2000": medical.to_bytes(secret(syntax=JPEG2000Lossless)),
    "deflated": medical.to_bytes(secret(syntax=DeflatedExplicitVRLittleEndian)),
    "frames": medical.to_bytes(medical.dataset(np.stack([RAMP] * 2), sop_class=medical.ENHANCED_MR)),
    "bare": medical.without_preamble(secret()),
}


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=mutants(), cut=st.integers(0, 20_000))
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_dicom_is_read_or_refused(tmp_path: Path, kind: str, changes: list[tuple[int, int]], cut: int) -> None:
    """Bytes of a valid file changed, mostly in its header: a picture, or a refusal in words; no other exception."""
    data = mutate(KINDS[kind], changes, 1500)
    path = tmp_path / "x.dcm"
    path.write_bytes(data[:cut] if cut % 5 == 0 else data)
    try:
        look(path, View(1) if kind == "frames" else None)
    except EmbhubError as error:
        assert SECRET not in "".join(traceback.format_exception(error))


@settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=mutants(), packed=st.booleans())
def test_mutated_nifti_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]], packed: bool) -> None:
    voxels = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    data = mutate(medical.nifti(tmp_path / "y.nii", voxels).read_bytes(), changes, 352)
    path = tmp_path / ("x.nii.gz" if packed else "x.nii")
    path.write_bytes(gzip.compress(data) if packed else data)
    try:
        read_pixels(path, "volume 1", view=View(2, "coronal"))
    except EmbhubError as error:
        assert error.hint
