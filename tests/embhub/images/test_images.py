"""Reading images: every kind of file, every refusal, on real files."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from embhub.errors import EmbhubError, PrivacyError, UsageError
from embhub.images import pixels
from embhub.images.images import read_images
from tests.support.quick import examples


def picture(seed: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        picture(number).save(tmp_path / f"{number:03d}.png")
    return tmp_path


def manifest(folder: Path, *rows: str, header: str = "path,patient_id,label") -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_plain_folder_in_order_of_names(folder: Path) -> None:
    images = read_images(folder)
    assert [sample.path.name for sample in images.samples] == ["000.png", "001.png", "002.png", "003.png"]
    assert not images.has_patients
    assert any("no patient ids" in note for note in images.notes)
    loaded = images.load(32)
    assert loaded.shape == (4, 3, 32, 32) and loaded.dtype == np.float32
    assert loaded.min() >= -1 and loaded.max() <= 1


def test_values_are_the_pixels_when_nothing_is_resized(folder: Path) -> None:
    loaded = read_images(folder).load(40)
    expected = np.asarray(picture(0), dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1
    assert np.array_equal(loaded[0], expected)


def test_hidden_files_and_folders_are_left_alone(folder: Path) -> None:
    (folder / ".thumbs").mkdir()
    picture(9).save(folder / ".thumbs" / "x.png")
    assert len(read_images(folder)) == 4


def test_a_manifest_is_found_and_filtered(folder: Path) -> None:
    manifest(folder, "000.png,A,sick", "001.png,A,well", "002.png,B,sick")
    images = read_images(folder, where="label=sick")
    assert [(s.path.name, s.patient_id, s.row) for s in images.samples] == [("000.png", "A", 2), ("002.png", "B", 4)]
    assert images.has_patients


def test_a_manifest_of_another_folder_falls_back_to_the_images(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = manifest(tmp_path_factory.mktemp("elsewhere"), "000.png,A,x", "001.png,B,x")
    assert len(read_images(folder, manifest=other)) == 2
    with pytest.raises(UsageError, match="row 2 is not there"):
        read_images(other)


def test_splits(folder: Path) -> None:
    rows = ("000.png,A,train", "001.png,B,holdout", "002.png,C,test", "003.png,D,")
    manifest(folder, *rows, header="path,patient_id,split")
    images = read_images(folder)
    assert [sample.split for sample in images.samples] == ["train", "holdout", "train"]
    assert "1 rows of other splits were left out" in images.notes
    assert [s.row for s in read_images(folder, where="split=test").samples] == [4]


@pytest.mark.parametrize(
    ("suffix", "array"),
    [
        (".png", np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40),
        (".tif", np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40),
        (".tif", np.arange(1600, dtype=np.float32).reshape(40, 40) / 7 - 30),
        (".png", (np.arange(1600) % 256).astype(np.uint8).reshape(40, 40)),
        (".jpg", (np.arange(1600) % 256).astype(np.uint8).reshape(40, 40)),
        (".tif", (np.arange(1600) % 256).astype(np.uint8).reshape(40, 40)),
    ],
)
def test_depths_and_formats_become_rgb(tmp_path: Path, suffix: str, array: np.ndarray[Any, Any]) -> None:
    Image.fromarray(array).save(tmp_path / f"0{suffix}")
    loaded = read_images(tmp_path).load(40)[0]
    assert np.array_equal(loaded[0], loaded[1]) and np.array_equal(loaded[0], loaded[2])
    assert loaded.min() < -0.95 and loaded.max() > 0.95


def test_deep_images_are_scaled_by_their_own_percentiles(tmp_path: Path) -> None:
    values = np.full((100, 100), 2000, np.uint16)
    values[:50] = 1000
    values[0, 0] = 65535  # one hot pixel must not darken the rest
    Image.fromarray(values).save(tmp_path / "0.png")
    loaded = read_images(tmp_path).load(100)[0, 0]
    assert loaded[10, 10] == -1 and loaded[90, 90] == 1


def test_a_constant_deep_image_is_black(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), 700, np.uint16)).save(tmp_path / "0.png")
    assert (read_images(tmp_path).load(40) == -1).all()


def test_mixed_sizes_are_noted_and_cut_to_their_centre(tmp_path: Path) -> None:
    wide = Image.new("RGB", (80, 40), "black")
    wide.paste("white", (20, 0, 60, 40))
    wide.save(tmp_path / "0.png")
    picture(1).save(tmp_path / "1.png")
    images = read_images(tmp_path)
    assert any("2 different image sizes" in note for note in images.notes)
    assert (images.load(40)[0] == 1).all()


def test_images_under_half_the_resolution_are_refused(folder: Path) -> None:
    assert len(read_images(folder).load(80)) == 4
    with pytest.raises(UsageError, match="under half"):
        read_images(folder).load(82)


def test_transparency_is_black(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40), (255, 255, 255, 0)).save(tmp_path / "0.png")
    assert (read_images(tmp_path).load(40) == -1).all()


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no image"):
        read_images(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        read_images(tmp_path / "absent")


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"GIF89a" + b"\0" * 30])
def test_not_an_image(folder: Path, data: bytes) -> None:
    (folder / "zzz.png").write_bytes(data)
    with pytest.raises(UsageError, match=r"image 5 (is not an image|cannot be read)"):
        read_images(folder)


def test_a_truncated_image(folder: Path) -> None:
    whole = (folder / "000.png").read_bytes()
    (folder / "000.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="image 1 cannot be read"):
        read_images(folder)


def test_several_pages(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "0.tif", save_all=True, append_images=[picture(1)])
    with pytest.raises(UsageError, match="2 pages"):
        read_images(tmp_path)


def test_a_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_PIXELS", 1000)
    picture(0).save(tmp_path / "0.png")
    with pytest.raises(UsageError, match="40 x 40 pixels"):
        read_images(tmp_path)


@pytest.mark.parametrize("name", ["Doe^Jane.png", "MRN0048213.png", "john_smith_1.png", "1964-03-12.png"])
def test_names_that_look_like_patients_are_counted_and_not_repeated(folder: Path, name: str) -> None:
    picture(8).save(folder / name)
    with pytest.raises(PrivacyError) as caught:
        read_images(folder)
    assert "1 file names" in str(caught.value)
    assert Path(name).stem not in str(caught.value)


def test_a_folder_may_lie_under_a_name(folder: Path) -> None:
    home = folder / "John Smith 1964-03-12"
    home.mkdir()
    picture(8).save(home / "0.png")
    assert len(read_images(home)) == 1


def test_one_picture_under_two_patients(folder: Path) -> None:
    picture(0).save(folder / "again.tif")
    manifest(folder, "000.png,A,", "001.png,B,", "again.tif,B,")
    with pytest.raises(PrivacyError, match=r"two patients \(row 2, 4\)"):
        read_images(folder)


def test_one_picture_twice_is_used_once(folder: Path) -> None:
    picture(0).save(folder / "again.tif")
    images = read_images(folder)
    assert len(images) == 4
    assert any("used once (image 5)" in note for note in images.notes)


def test_a_patient_on_both_sides(folder: Path) -> None:
    manifest(folder, "000.png,A,train", "001.png,A,holdout", header="path,patient_id,split")
    with pytest.raises(PrivacyError, match="1 patients are both"):
        read_images(folder)


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        ("path,patient_id", "000.png, ", "row 2 has no patient id"),
        ("place,patient_id", "000.png,A", "no column `path`"),
        ("path,path", "000.png,A", "a column twice"),
        ("path,patient_id", "000.png", "not as many fields"),
        ("path,patient_id", "000.png,A,b", "not as many fields"),
        ("path,patient_id", "absent.png,A", "row 2 is not there"),
        ("path,patient_id", ",A", "no path"),
        ("path,patient_id", '"000.png,A', "not a CSV"),
    ],
)
def test_malformed_manifests(folder: Path, header: str, row: str, reason: str) -> None:
    manifest(folder, row, header=header)
    with pytest.raises(UsageError, match=reason):
        read_images(folder)


def test_a_manifest_that_is_no_text(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(b"\xff\xfe\0p")
    with pytest.raises(UsageError, match="UTF-8"):
        read_images(folder)


@pytest.mark.parametrize("where", ["label", "colour=red", "label=unheard-of"])
def test_where_that_matches_nothing(folder: Path, where: str) -> None:
    manifest(folder, "000.png,A,sick")
    with pytest.raises(UsageError):
        read_images(folder, where=where)


def test_where_without_a_manifest(folder: Path) -> None:
    with pytest.raises(UsageError, match="needs a manifest"):
        read_images(folder, where="label=sick")


def test_links_that_lead_out_are_refused_but_a_spelled_path_is_taken(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "x.png"
    picture(7).save(outside)
    manifest(folder, f"{outside},A,", "000.png,B,")
    assert len(read_images(folder)) == 2
    (folder / "link.png").symlink_to(outside)
    manifest(folder, "link.png,A,")
    with pytest.raises(UsageError, match="leads out"):
        read_images(folder)
    (folder / "manifest.csv").unlink()
    with pytest.raises(UsageError, match="leads out"):
        read_images(folder)


def test_errors_name_no_file(folder: Path) -> None:
    (folder / "secret-name.png").write_bytes(b"junk")
    with pytest.raises(EmbhubError) as caught:
        read_images(folder)
    assert "secret-name" not in str(caught.value)


def _files() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "x"
    found = []
    for kind, options in (("PNG", {"exif": exif}), ("JPEG", {"exif": exif}), ("TIFF", {"exif": exif})):
        buffer = io.BytesIO()
        picture(0, (24, 24)).save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


@settings(max_examples=examples(150), deadline=None)
@given(
    data=st.sampled_from(_files()),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
    tail=st.booleans(),
)
def test_a_damaged_file_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, changes: list[tuple[int, int]], tail: bool
) -> None:
    """Pillow's readers stumble over broken tags with TypeError, struct.error and more; TIFF's tags stand at the end."""
    damaged = bytearray(data)
    for place, value in changes:
        damaged[-1 - place % min(300, len(data)) if tail else place % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(damaged)
    with contextlib.suppress(UsageError):
        assert pixels.read_pixels(path, "image 1").mode == "RGB"


def test_every_broken_tag_of_a_tiff_is_refused_in_words(tmp_path: Path) -> None:
    whole, path = _files()[2], tmp_path / "damaged.tif"
    for place in range(len(whole) - 160, len(whole)):
        path.write_bytes(whole[:place] + b"\x02" + whole[place + 1 :])
        with contextlib.suppress(UsageError):
            pixels.read_pixels(path, "image 1")
