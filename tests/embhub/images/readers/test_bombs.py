"""Small files that would take gigabytes: refused before room is made for what they claim."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from embhub.images.pixels import read_pixels
from embhub.images.readers import codestreams, dicom_file
from embhub.images.readers.dicom_header import take
from embhub.images.readers.nifti_file import read_volume
from embhub.images.readers.view import View
from tests.support import medical
from tests.support.quick import quick
from tests.support.refused_scans import look, refusal, secret

pytestmark = pytest.mark.usefixtures("home", "silence")


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


@pytest.mark.parametrize("disguise", quick([late], thorough=[lambda head: head[132:], foretold]))
def test_a_deflate_bomb_in_disguise(tmp_path: Path, disguise: Callable[[bytes], bytes]) -> None:
    """Files that pydicom would take for deflated where this reader does not: it inflates without any limit."""
    head, stream = deflated(80_000_000)
    path = tmp_path / "x.dcm"
    path.write_bytes(disguise(head) + stream)
    assert "is deflated and does not say where" in refusal(path, lambda: look(path)).message


def test_a_spacing_that_asks_for_gigabytes(tmp_path: Path) -> None:
    """Pixels are made square by resizing: two numbers of a header must not decide how much memory that takes."""
    column = medical.dataset(np.zeros((65_535, 1), np.uint8), PixelSpacing=[0.0001, 100])
    path = medical.write(tmp_path / "x.dcm", column)
    assert "too far from square" in refusal(path, lambda: look(path)).message
    volume = medical.nifti(tmp_path / "x.nii", np.zeros((32_767, 2, 2), np.uint8), affine=np.diag([1e-3, 1e3, 1, 1]))
    assert "too far from square" in refusal(volume, lambda: read_pixels(volume, "v", view=View(0, "axial"))).message


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
