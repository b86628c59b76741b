"""Looking through images before training: finds what is there, says what train says, and gives nothing away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import embhub
from embhub.__main__ import main
from embhub.errors import EmbhubError, UsageError
from embhub.images import pixels
from embhub.images.images import read_images
from embhub.images.inspections.inspection import inspect, resolution
from embhub.images.inspections.report import Inspection
from embhub.phantoms import write_dataset
from tests.support import rights
from tests.support.tools import DATA


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def manifest(folder: Path, *rows: str, header: str = "path,patient_id,label") -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        picture(number).save(tmp_path / f"{number:03d}.png")
    return tmp_path


def refused_by_train(source: Path) -> EmbhubError | None:
    """What the readers of `train` raise on the same images."""
    try:
        images = read_images(source)
        images.check_number()
        images.check_resolution(resolution("builtin"))
    except EmbhubError as error:
        return error
    return None


def test_phantoms_are_accepted_and_counted(tmp_path: Path) -> None:
    source = write_dataset(tmp_path, "prostate-cspca", images=10, patients=6, seed=1, normals=5)
    found = inspect(source)
    assert found.accepted and found.exit_code == 0 and not found.refusals
    assert found.images.listed == found.images.readable == 15
    assert found.patients is not None
    assert sum(images * number for images, number in found.patients.histogram.items()) == 15
    assert {(label.label, label.images) for label in found.labels} == {("prostate-cspca", 10), ("normal", 5)}
    assert [(size.width, size.height, size.images) for size in found.sizes] == [(128, 128, 15)]
    assert [(kind.format, kind.mode, kind.bits) for kind in found.kinds] == [("PNG", "RGB", 8)]
    assert inspect(tmp_path, where="label=normal").images.listed == 5


def test_the_report_is_frozen_and_goes_through_json(folder: Path) -> None:
    found = embhub.inspect(folder)
    with pytest.raises(ValueError, match="frozen"):
        found.resolution = 3  # type: ignore[misc]  # it is frozen, which is tested here
    plain = json.loads(found.to_json())
    assert plain["schema"] == "embhub.inspection/1"
    assert Inspection.model_validate_json(found.to_json()) == found


def test_all_problems_are_listed_and_the_first_is_the_one_train_raises(folder: Path) -> None:
    (folder / "004.png").write_bytes(b"")
    (folder / "005.png").write_bytes((folder / "000.png").read_bytes()[:200])
    picture(7, (20, 20)).save(folder / "006.png")
    picture(8).save(folder / "Doe^Jane.png")
    found = inspect(folder)
    first = refused_by_train(folder)
    assert first is not None and found.refusals[0].message == first.message
    assert found.exit_code == first.exit_code == 6
    assert [(r.error, r.rows, r.cases) for r in found.refusals] == [
        ("PrivacyError", (8,), 1),
        ("UsageError", (5,), 1),
        ("UsageError", (6,), 1),
        ("UsageError", (), 1),
    ]
    assert found.under_half == 1 and found.images.listed == 8 and found.images.readable == 6


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        ("path,patient_id,split", ["000.png,A,train", "001.png,A,holdout", "002.png,B,"], "both in training"),
        ("path,patient_id,label", ["000.png,A,", "000.png,B,", "001.png,B,"], "two patients"),
        ("path,patient_id,label", ["000.png,A,", "absent.png,B,", "001.png,B,"], "row 3 is not there"),
        ("path,patient_id,label", ["000.png,A,", "001.png,,", "002.png,B,"], "row 3 has no patient"),
        ("path,patient_id,label", ["000.png,A,"], "1 image to learn from"),
        ("place,patient_id", ["000.png,A"], "no column `path`"),
        ("path,patient_id", ["0\x00.png,A", "000.png,B"], "manifest|row 2"),
        ("path,patient_id", ["x" * 5000 + ".png,A", "000.png,B"], "row 2 is not there"),
        ("path,patient_id", ["../../../etc/passwd,A", "000.png,B", "001.png,C"], "row 2 is not"),
    ],
)
def test_the_refusal_of_train_and_of_inspect_are_one(folder: Path, header: str, rows: list[str], words: str) -> None:
    import re

    source = manifest(folder, *rows, header=header)
    first = refused_by_train(source)
    found = inspect(source)
    assert first is not None and re.search(words, first.message)
    assert found.refusals[0].message == first.message and found.exit_code == first.exit_code


def test_links_out_of_the_folder_are_one_problem_among_others(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "x.png"
    picture(9).save(outside)
    (folder / "004.png").symlink_to(outside)
    (folder / "005.png").symlink_to(folder / "gone.png")
    (folder / "006.png").mkdir()
    found = inspect(folder)
    assert [refusal.rows for refusal in found.refusals] == [(5,), (6, 7)]
    assert found.images.readable == 4 and found.images.listed == 7


def test_an_empty_folder_says_what_lies_there_instead(tmp_path: Path) -> None:
    (tmp_path / "b.nii.gz").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    found = inspect(tmp_path)
    assert {(kind.kind, kind.files) for kind in found.ignored} == {
        ("NIfTI", 1), ("other", 2), ("hidden", 1),
    }  # fmt: skip
    assert next(kind.remedy for kind in found.ignored if kind.kind == "NIfTI")
    assert [refusal.message for refusal in found.refusals] == ["there is no image in the folder"]
    assert found.exit_code == 2


def test_images_that_no_row_names(folder: Path) -> None:
    found = inspect(manifest(folder, "000.png,A,x", "001.png,B,x"))
    assert [(kind.kind, kind.files) for kind in found.ignored] == [("images that no row names", 2)]


def test_what_may_not_be_read(tmp_path: Path) -> None:
    for number in range(3):
        picture(number).save(tmp_path / f"00{number}.png")
    (tmp_path / "000.png").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    with rights.that_bind():
        found = inspect(tmp_path)
        with pytest.raises(UsageError, match="1 of the folders may not be opened"):
            read_images(tmp_path)
    (tmp_path / "closed").chmod(0o700)  # or it cannot be removed
    assert [refusal.rows for refusal in found.refusals] == [(), (1,)]
    assert any("may not be opened" in kind.kind for kind in found.ignored)


def test_a_scan_without_an_ending_that_may_not_be_read(tmp_path: Path) -> None:
    """Archives name files by numbers: what such a file is cannot be seen, and it is not left out unseen."""
    for number in range(2):
        picture(number).save(tmp_path / f"00{number}.png")
    (tmp_path / "IM00002").write_bytes(b"x")
    (tmp_path / "IM00002").chmod(0)
    with rights.that_bind():
        found = inspect(tmp_path)
    assert [refusal.message for refusal in found.refusals] == ["image 3 cannot be read: Permission denied"]


def test_a_decompression_bomb_is_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_PIXELS", 5000)
    picture(5, (100, 100)).save(folder / "004.png")
    assert inspect(folder).refusals[0].rows == (5,)


def test_there_must_be_something_to_look_at(folder: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        inspect(folder / "absent")
    with pytest.raises(UsageError, match="not a base"):
        inspect(folder, base="unheard-of")


def test_copies_exact_and_near_and_across_patients(folder: Path) -> None:
    picture(0).save(folder / "again.tif")
    picture(1).save(folder / "compressed.jpg", quality=40)
    picture(2).resize((100, 100)).save(folder / "larger.png")
    found = inspect(
        manifest(
            folder,
            "000.png,A,",
            "001.png,B,",
            "002.png,C,",
            "003.png,D,",
            "again.tif,A,",
            "compressed.jpg,B,",
            "larger.png,E,",
        )
    )
    assert found.duplicates.exact == 1
    assert [(pair.row, pair.like, pair.other_patient) for pair in found.duplicates.pairs] == [
        (7, 3, False),
        (8, 4, True),
    ]
    assert found.duplicates.across_patients == 1 and found.accepted
    assert any("another patient: 1 (row 8)" in remark for remark in found.remarks)
    assert found.warnings == read_images(folder).notes


SECRETS = ("Doe", "Jane", "MRN0048213", "Kowalski", "1964")


def test_nothing_of_a_person_is_repeated(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Kowalski, Jane", "born 1964-03-12")
    info.add_text("Comment", "MRN0048213")
    picture(5).save(folder / "Doe_Jane_MRN0048213.png", pnginfo=info)
    exif = Image.Exif()
    exif[0x013B] = "Jane Doe"
    picture(6).save(folder / "004.jpg", exif=exif)
    picture(7).save(folder / "005.tif", description="Jane Doe 1964-03-12")
    manifest(
        folder,
        "Doe_Jane_MRN0048213.png,Jane Doe,Jane Kowalski",
        "004.jpg,MRN0048213,normal",
        "005.tif,P3,normal",
        "000.png,P4,normal",
        "Jane/1964-03-12.png,P5,normal",
    )
    for flags in ([], ["--json"]):
        assert main(["inspect", str(folder), *flags]) == 2
        said = "".join(capfd.readouterr())
        assert not [secret for secret in SECRETS if secret in said]
        assert str(folder) not in said
    found = inspect(folder)
    assert found.names.files == (2,) and found.names.patient_ids == (2, 3) and found.names.labels == (2,)
    assert found.with_metadata == 3
    assert {field.field for field in found.metadata} == {"Artist", "Comment", "ImageDescription", "another text"}
    assert {label.label for label in found.labels} == {None, "normal"}


def test_depth_is_told(tmp_path: Path) -> None:
    ramp = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(ramp * 16).save(tmp_path / "0.png")
    Image.fromarray(ramp[::-1] // 20).save(tmp_path / "1.tif")
    with_gap = ramp[:, ::-1].astype(np.float32) / 7
    with_gap[0, 0] = np.nan
    Image.fromarray(with_gap).save(tmp_path / "2.tif")
    picture(1).save(tmp_path / "3.jpg")
    found = inspect(tmp_path)
    assert sorted((kind.format, kind.bits) for kind in found.kinds) == [
        ("JPEG", 8),
        ("PNG", 16),
        ("TIFF", 16),
        ("TIFF", 32),
    ]
    assert found.deep is not None
    assert (found.deep.images, found.deep.lowest, found.deep.highest, found.deep.within_8_bits) == (3, 0, 65520, 1)
    assert any("1 others are read as they are" in remark for remark in found.remarks)
    assert "NaN" not in found.to_json()


@pytest.mark.thorough
def test_it_needs_no_torch(folder: Path) -> None:
    code = f"import sys, embhub; embhub.inspect({str(folder)!r}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "diffusers", "transformers"} & set(loaded)


def test_the_resolution_is_the_one_that_the_pipeline_has(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from embhub.diffusion.families import resolution as of_pipeline
    from tests.support import pipelines

    pipe = pipelines.build()
    pipe.save_pretrained(tmp_path)
    assert resolution(tmp_path) == of_pipeline(pipe) == pipelines.RESOLUTION


def test_the_command_prints_facts_and_ends_as_train_would(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder)]) == 0
    assert "train would accept" in capfd.readouterr().out
    (folder / "004.png").write_bytes(b"junk")
    assert main(["inspect", str(folder)]) == 2
    out = capfd.readouterr().out
    assert "train would refuse" in out and "image 5 is not an image" in out
    assert main(["inspect", str(folder), "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["images"] == {"listed": 5, "readable": 4, "different": 4}


def test_real_xrays(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    index = DATA / "chest-xray" / "index.csv"
    if not index.exists():
        pytest.skip("real images are absent (set EMBHUB_TEST_DATA)")
    lines = index.read_text().splitlines()
    chosen = [f"{index.parent}/{line}" for line in lines[1:30]]
    rows = [line.rsplit(",", 2) for line in chosen]
    copy = tmp_path / "copy.jpg"
    Image.open(rows[0][0]).convert("L").resize((180, 180)).save(copy, quality=50)
    listed = manifest(tmp_path, *chosen, f"{copy},{rows[0][1]},someone-else", header=lines[0])
    found = inspect(listed, base="builtin-xray")
    assert found.accepted and found.images.readable == 30
    assert found.patients is not None and found.patients.number == len({row[2] for row in rows}) + 1
    assert {label.label for label in found.labels} == {row[1] for row in rows}
    assert [(pair.row, pair.like, pair.other_patient) for pair in found.duplicates.pairs] == [(31, 2, True)]
