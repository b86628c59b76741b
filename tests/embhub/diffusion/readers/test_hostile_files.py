"""Damaged and hostile hospital files: refused in words, with bounded memory, and nothing of them is cited."""

from __future__ import annotations

import gzip
import io
import logging
import traceback
import tracemalloc
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from embhub.diffusion.pixels import read_pixels
from embhub.diffusion.readers import codestreams, dicom_file
from embhub.diffusion.readers.dicom_header import take
from embhub.diffusion.readers.nifti_file import read_volume
from embhub.diffusion.readers.view import View
from embhub.errors import EmbhubError, UsageError
from tests import medical

RAMP = (np.arange(4096, dtype=np.uint16)).reshape(64, 64)
SECRET = "QUILLFEATHER^THEODORA"
LIMIT = 50_000_000  # bytes that any refusal may have allocated on the way


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whoever listens to all logs and warnings hears nothing of a header."""
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    assert SECRET not in caplog.text and not any(SECRET in str(one.message) for one in heard)
    assert not [one for one in caplog.records if one.name.split(".")[0] in ("pydicom", "nibabel")]


def refusal(path: Path, call: Callable[[], Any]) -> UsageError:
    tracemalloc.start()
    try:
        with pytest.raises(UsageError) as caught:
            call()
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "Quillfeather" not in said and SECRET not in said and path.name not in caught.value.message
    assert caught.value.hint
    return caught.value


def look(path: Path, view: View | None = None) -> None:
    """All that embhub does with a DICOM file."""
    take(path, "image 7")
    read_pixels(path, "image 7", view=view)


def secret(**fields: Any) -> Any:
    return medical.dataset(RAMP, **{"PatientName": SECRET, "PatientID": "Quillfeather", **fields})


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
        ({"BitsStored": 0, "PixelRepresentation": 7}, "damaged or incomplete"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "damaged or incomplete"),
        ({"WindowCenter": 10, "WindowWidth": 0}, "damaged or incomplete"),
        ({"VOILUTFunction": SECRET[:16], "WindowCenter": 1, "WindowWidth": 3}, "damaged or incomplete"),
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


def test_an_empty_header_with_a_foreign_picture(tmp_path: Path) -> None:
    """A codestream of 60000 x 60000 in a file that says 64 x 64: room is never made for it."""
    data = secret(syntax=JPEG2000Lossless)
    raw = medical.to_bytes(data)
    at = raw.index(b"\xff\x4f\xff\x51") + 8
    path = tmp_path / "x.dcm"
    path.write_bytes(raw[:at] + (60_000).to_bytes(4, "big") * 2 + raw[at + 8 :])
    assert "another size than it says" in refusal(path, lambda: look(path)).message


HUGE = (60_000).to_bytes(2, "big") * 2


def jpeg(hide: Callable[[bytes, bytes], bytes]) -> bytes:
    """A picture of 64 x 64 with a frame of 60000 x 60000 before its own: what leads there is hidden from a reader."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "JPEG")
    data = buffer.getvalue()
    at = data.index(b"\xff\xc0")
    frame = data[at : at + 13]
    return data[:at] + hide(frame[:5] + HUGE + frame[9:], frame) + data[at + 13 :]


@pytest.mark.parametrize(
    "hide",
    [
        lambda huge, _: b"\0\0" + huge,  # decoders skip what is no marker
        lambda huge, frame: b"\xff\x00" + (len(huge) + 2).to_bytes(2, "big") + huge + frame,
        lambda huge, frame: b"\xff\xde" + huge[2:] + frame,  # of a hierarchy, larger than its first frame
        lambda huge, frame: frame[:9] + b"\xff" + frame[10:],  # of 255 components
    ],
    ids=["junk", "no marker", "hierarchy", "components"],
)
def test_a_jpeg_that_hides_its_size(tmp_path: Path, hide: Callable[[bytes, bytes], bytes]) -> None:
    """A kilobyte for which libjpeg makes room of gigabytes."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    data = medical.dataset(np.zeros((64, 64), np.uint8))
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.PixelData = encapsulate([jpeg(hide)])
    path = medical.write(tmp_path / "x.dcm", data)
    assert "another size than it says" in refusal(path, lambda: look(path)).message


def test_a_bomb_of_run_lengths(tmp_path: Path) -> None:
    """Two bytes stand for 128: a segment that unpacks beyond the picture is refused before it is unpacked."""
    from pydicom.encaps import encapsulate

    data = secret(syntax=RLELossless)
    segment = b"\x81\x07" * 2_000_000
    head = [2, 64, 64 + len(segment), *[0] * 13]
    data.PixelData = encapsulate([b"".join(n.to_bytes(4, "little") for n in head) + segment * 2])
    path = medical.write(tmp_path / "x.dcm", data)
    assert "another size than it says" in refusal(path, lambda: look(path)).message


def deflated(trailing: int) -> tuple[bytes, bytes]:
    """A deflated file in two parts: up to its meta group's end, and a stream with so many bytes after the pixels."""
    raw = medical.to_bytes(secret(syntax=DeflatedExplicitVRLittleEndian))
    start = 144 + int.from_bytes(raw[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    stream = packer.compress(zlib.decompress(raw[start:], -zlib.MAX_WBITS) + bytes(trailing)) + packer.flush()
    return raw[:start], stream


def test_a_deflate_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is inflated than a header and the pixels that it tells of."""
    path = tmp_path / "x.dcm"
    path.write_bytes(b"".join(deflated(80_000_000)))
    monkeypatch.setattr(dicom_file, "MAX_HEADER", 5_000_000)
    assert "unpacks to over 5,008,192 bytes" in refusal(path, lambda: look(path)).message
    monkeypatch.setattr(dicom_file, "MAX_HEADER", 300)
    assert "over 300 bytes of header" in refusal(path, lambda: take(path, "image 7")).message


def late(head: bytes) -> bytes:
    """The transfer syntax behind 8,000 bytes of another UID."""
    long = b"\x02\x00\x03\x00UI" + (8_000).to_bytes(2, "little") + b"1" * 8_000
    place = head.index(b"\x02\x00\x10\x00UI")
    return head[:place] + long + head[place:]


def foretold(head: bytes) -> bytes:
    """Another transfer syntax in the bytes of an element before it."""
    told = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    place = head.index(b"\x02\x00\x02\x00UI")
    return head[:place] + b"\x02\x00\x01\x00OB\0\0" + len(told).to_bytes(4, "little") + told + head[place:]


@pytest.mark.parametrize("disguise", [lambda head: head[132:], late, foretold])
def test_a_deflate_bomb_in_disguise(tmp_path: Path, disguise: Callable[[bytes], bytes]) -> None:
    """Files that pydicom would take for deflated where this reader does not: it inflates without any limit."""
    head, stream = deflated(80_000_000)
    path = tmp_path / "x.dcm"
    path.write_bytes(disguise(head) + stream)
    assert "is deflated and does not say where" in refusal(path, lambda: look(path)).message


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


def test_a_nifti_bomb(tmp_path: Path) -> None:
    """A few kilobytes that unpack to gigabytes: what the header does not state is never unpacked."""
    path = tmp_path / "x.nii.gz"
    image = medical.nifti(tmp_path / "y.nii", np.zeros((4, 4, 4), np.int16)).read_bytes()
    path.write_bytes(gzip.compress(image + bytes(60_000_000), 9))
    assert read_volume(path, "volume 1").shape == (4, 4, 4)
    huge = bytearray(image)
    huge[40:56] = np.array([3, 30_000, 30_000, 30_000, 1, 1, 1, 1], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(huge) + bytes(10_000_000), 9))
    assert "claims 54,000,000,000,000 bytes" in refusal(path, lambda: read_volume(path, "volume 1")).message


def test_a_volume_takes_little_more_room_than_its_voxels(tmp_path: Path) -> None:
    """Zeros pack well, and scaled as a whole, turned and sorted they would take twice that."""
    voxels = 4_000_000
    path = medical.nifti(tmp_path / "x.nii.gz", np.zeros((200, 200, 100), np.uint8), affine=np.diag([-1, 1, 1, 1]),
                         scl_slope=2.5, scl_inter=0)  # fmt: skip
    tracemalloc.start()
    try:
        read_pixels(path, "volume 1", view=View(1, "axial"))
        assert tracemalloc.get_traced_memory()[1] < 11 * voxels
    finally:
        tracemalloc.stop()


def test_a_volume_of_too_many_voxels(tmp_path: Path) -> None:
    image = bytearray(medical.nifti(tmp_path / "y.nii", np.zeros((4, 4, 4), np.uint8)).read_bytes())
    image[40:56] = np.array([3, 1000, 1000, 501, 1, 1, 1, 1], "<i2").tobytes()
    path = tmp_path / "x.nii"
    path.write_bytes(bytes(image))
    assert "claims 501,000,000 voxels" in refusal(path, lambda: read_volume(path, "volume 1")).message


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


def test_a_spacing_that_asks_for_gigabytes(tmp_path: Path) -> None:
    """Pixels are made square by resizing: two numbers of a header must not decide how much memory that takes."""
    column = medical.dataset(np.zeros((65_535, 1), np.uint8), PixelSpacing=[0.0001, 100])
    path = medical.write(tmp_path / "x.dcm", column)
    assert "too far from square" in refusal(path, lambda: look(path)).message
    volume = medical.nifti(tmp_path / "x.nii", np.zeros((32_767, 2, 2), np.uint8), affine=np.diag([1e-3, 1e3, 1, 1]))
    assert "too far from square" in refusal(volume, lambda: read_pixels(volume, "v", view=View(0, "axial"))).message


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


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@given(st.binary(max_size=200))
def test_any_bytes_are_a_codestream_or_none(data: bytes) -> None:
    assert codestreams.unpacks_beyond(data, 100) in (True, False)
    for start in (b"", b"\xff\xd8", b"\xff\x4f\xff\x51"):
        assert codestreams.size(start + data) is None or len(codestreams.size(start + data) or ()) == 2


def test_codestreams_tell_their_size() -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (37, 21)).save(buffer, "JPEG", progressive=True)
    assert codestreams.size(buffer.getvalue()) == (37, 21)
    numbers = b"".join(number.to_bytes(4, "big") for number in (47, 31, 10, 10, 1, 1, 0, 0))
    stream = b"\xff\x4f\xff\x51\x00\x2f\x00\x00" + numbers + b"\0\3"
    assert codestreams.size(stream) == (37, 21)
    assert codestreams.size(stream[:-1]) is None and codestreams.size(stream[:-2] + b"\1\0") is None
    head = b"\0\0\0\x0cjP  \r\n\x87\n"
    decoy = len(stream).to_bytes(4, "big") + b"uuid" + stream[8:16].replace(b"\x2f", b"\x11") + stream[16:]
    assert codestreams.size(head + decoy + b"\0\0\0\0jp2c" + stream) == (37, 21)
    assert codestreams.size(head + decoy) is None and codestreams.size(head + b"\0\0\0\0free" + stream) is None
