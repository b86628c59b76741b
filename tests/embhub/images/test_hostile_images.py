"""Folders, manifests and files that are broken, or written to mislead: nothing of them is repeated, nothing blocks."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from embhub.__main__ import main
from embhub.errors import UsageError
from embhub.images.images import read_images
from embhub.images.inspections.inspection import inspect
from embhub.images.inspections.near_duplicates import Likenesses
from tests.support import rights


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def manifest(folder: Path, *rows: str) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join(["path,patient_id,label", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        picture(number).save(tmp_path / f"{number:03d}.png")
    return tmp_path


@pytest.mark.parametrize("name", ["jane-doe.png", "jane-doe.txt"])
def test_a_link_to_itself_is_not_named(folder: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / name).symlink_to(folder / name)
    image = name.endswith(".png")
    assert main(["inspect", str(folder)]) == (2 if image else 0)
    assert "jane" not in "".join(capfd.readouterr())
    if image:
        with pytest.raises(UsageError, match="image 4"):
            read_images(folder)
        assert inspect(manifest(folder, "000.png,A,", "001.png,B,", f"{name},C,")).refusals[0].rows == (4,)


def test_a_folder_that_may_be_listed_and_not_entered(folder: Path) -> None:
    (folder / "more").mkdir()
    picture(4).save(folder / "more" / "004.png")
    (folder / "more").chmod(0o400)
    try:
        with rights.that_bind(), pytest.raises(UsageError, match="image 4") as caught:
            read_images(folder)
        assert "more" not in caught.value.message
    finally:
        (folder / "more").chmod(0o700)


def test_a_name_that_no_record_can_hold_is_refused_before_the_training(folder: Path) -> None:
    """A name in Latin-1 would end a training in its last second: the private record is UTF-8."""
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9.png")).write_bytes((folder / "000.png").read_bytes())
    with pytest.raises(UsageError, match=r"image 4 .*UTF-8") as caught:
        read_images(folder)
    assert "caf" not in caught.value.message and "rename" in caught.value.hint


@pytest.mark.parametrize("where", ["patient_id=Jane Doe", "label=Jane Doe", "Jane Doe=1"])
def test_what_was_searched_for_is_not_repeated(folder: Path, where: str) -> None:
    manifest(folder, "000.png,A,x", "001.png,B,x")
    found = inspect(folder, where=where)
    assert found.exit_code == 2 and "Jane" not in found.to_json()
    (folder / "manifest.csv").unlink()
    assert "Jane" not in inspect(folder, where=where).to_json()


def test_a_label_that_is_a_patients_id_is_withheld(folder: Path) -> None:
    found = inspect(manifest(folder, "000.png,XQ71,XQ71", "001.png,1,1", "002.png,2,1"))
    assert {(label.label, label.images) for label in found.labels} == {(None, 1), ("1", 2)}
    assert found.names.labels == (2,) and "XQ71" not in found.to_json()


def test_a_label_cannot_command_the_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    manifest(folder, "000.png,A,\x1b[2J\x1b]0;owned\x07", f"001.png,B,{'long ' * 5000}", '002.png,C,"a\ntrain would x"')
    assert main(["inspect", str(folder)]) == 0
    out = capfd.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and "\ntrain would x" not in out
    assert max(map(len, out.splitlines())) < 500


def test_rows_that_cannot_be_followed_are_listed_all_the_same(folder: Path) -> None:
    found = inspect(manifest(folder, "x.png,A,n", "y.png,B,n"), where="label=n")
    assert found.images.listed == 2 and found.refusals[0].rows == (2, 3)
    assert not [refusal for refusal in found.refusals if "no row" in refusal.message]


def test_nothing_is_said_of_what_was_not_looked_at(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder), "--where", "a=b"]) == 2
    out = capfd.readouterr().out
    assert "none listed" in out and "look like a person" not in out and "words in them" not in out


def test_two_manifests_are_one_too_many(folder: Path) -> None:
    listed = manifest(folder, "000.png,A,n", "001.png,B,n")
    assert len(read_images(listed, manifest=listed)) == 2
    (folder / "other.csv").write_text("path\n002.png\n")
    with pytest.raises(UsageError, match="two manifests"):
        read_images(listed, manifest=folder / "other.csv")


@pytest.mark.parametrize("name", ["absent.csv", "pipe"])
def test_a_manifest_is_a_file(folder: Path, name: str) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UsageError, match="no manifest"):
        read_images(folder, manifest=folder / name)


def test_an_image_in_place_of_a_folder(folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_images(folder / "000.png")
    assert "folder" in caught.value.hint


SECRET = b"Jane Doe, born 1964"


def test_words_in_fields_of_bytes_are_found(folder: Path) -> None:
    """ImageJ keeps a DICOM header so; IPTC names the photographer; private tags are anybody's."""
    for number, (tag, kind) in enumerate([(50839, 1), (33723, 7), (34377, 1), (65001, 7)]):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[tag] = SECRET
        tags.tagtype[tag] = kind
        picture(10 + number).save(folder / f"1{number}.tif", tiffinfo=tags)
    found = inspect(folder)
    assert found.with_metadata == 4 and "Jane" not in found.to_json()


def test_a_plain_tiff_holds_no_words(folder: Path) -> None:
    profile = b"\0\0\2\x0clcms" + bytes(200)
    for number, compression in enumerate([None, "tiff_lzw", "tiff_jpeg", "tiff_adobe_deflate"]):
        picture(number + 20).save(folder / f"1{number}.tif", compression=compression, icc_profile=profile)
    assert inspect(folder).with_metadata == 0


def test_words_in_private_parts_of_a_file_are_found(folder: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"paTx", SECRET)
    picture(5).save(folder / "005.png", pnginfo=info)
    buffer = io.BytesIO()
    picture(6).save(buffer, "JPEG")
    plain = buffer.getvalue()
    segment = b"\xff\xe8" + (len(SECRET) + 2).to_bytes(2, "big") + SECRET
    (folder / "006.jpg").write_bytes(plain[:2] + segment + plain[2:])
    (folder / "007.jpg").write_bytes(plain)  # JFIF alone: no words
    found = inspect(folder)
    assert found.with_metadata == 2
    assert [(field.field, field.images) for field in found.metadata] == [("another text", 2)]


def test_a_long_patient_id_does_not_cost_its_length_for_every_image() -> None:
    import tracemalloc

    likenesses, shown = Likenesses(), picture(0)
    for _ in range(200):
        likenesses.add(shown)
    tracemalloc.start()
    likenesses.pairs(["x" * 100_000] + ["y"] * 199)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
