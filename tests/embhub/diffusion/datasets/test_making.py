"""A data set is the same bytes however it was interrupted, and every verb reads it."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from embhub import durable
from embhub.__main__ import main
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.datasets import painting
from embhub.diffusion.datasets.making import in_words
from embhub.diffusion.datasets.painting import Studio
from embhub.diffusion.generation.generation import generate
from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.images.checks import synthetic
from embhub.images.images import read_images
from embhub.options.sampling import Sampling
from embhub.progress import Progress
from tests.embhub.diffusion.datasets.conftest import Make, write_embedding
from tests.support.disks import fill, small_disk
from tests.support.quick import quick


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "manifest.csv").read_text())))


def test_what_is_made(make: Make, tmp_path: Path) -> None:
    made = make()
    assert (made.images, made.found, dict(made.classes)) == (6, 0, {"sick": 3, "well": 3})
    found = read_images(made.folder, where="label=sick")
    assert [sample.label for sample in found.samples] == ["sick"] * 3
    assert not found.has_patients, "nobody is behind an image"
    assert found.sizes == ((32, 32),) * 3
    assert any("not signed" in text for text in made.warnings)


def test_each_row_draws_its_image_again(make: Make, base: Path, file: Path) -> None:
    folder = make().folder
    for row in rows(folder):
        embeddings = [str(file)] if row["embedding"] else []
        again = generate(
            row["prompt"], embeddings=embeddings, base=base, seed=int(row["seed"]), steps=int(row["steps"]),
            guidance_scale=float(row["guidance"]), device="cpu",
        )[0]  # fmt: skip
        with Image.open(folder / row["path"]) as image:
            assert image.tobytes() == again.tobytes()


@pytest.mark.thorough
def test_an_image_depends_on_its_class_and_number_alone(make: Make, tmp_path: Path) -> None:
    small = contents(make(per_class=2).folder)
    turned = make(out=tmp_path / "other", classes=["well=mri", "sick=mri, <a>"], per_class=3).folder
    for name, data in small.items():
        if name.endswith(".png"):
            assert (turned / name).read_bytes() == data
    seeds = [row["seed"] for row in rows(turned)]
    assert len(set(seeds)) == len(seeds), "no two images start from one noise"


@pytest.mark.thorough
def test_killed_anywhere_it_ends_with_the_same_bytes(make: Make, tmp_path: Path) -> None:
    whole = contents(make(out=tmp_path / "whole", per_class=4).folder)
    for after in (1, 5):
        folder = tmp_path / f"killed-{after}" / "whole"
        child = os.fork()
        if child == 0:
            make(out=folder, per_class=4)
            os._exit(0)
        deadline = time.monotonic() + 60
        while len(list(folder.rglob("*.png"))) < after and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not (folder / "manifest.csv").exists()
        (folder / "sick").mkdir(exist_ok=True)
        (folder / "sick/.00003.png.abcd").write_bytes(b"half an image")
        made = make(out=folder, per_class=4)
        assert made.found >= after
        assert contents(folder) == whole


@pytest.mark.thorough
def test_an_image_that_a_disk_damaged_is_drawn_again(make: Make) -> None:
    folder = make().folder
    before = contents(folder)
    damaged = folder / "sick/00001.png"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    (folder / "sick/00002.png").write_bytes(b"")
    assert make().found == 4
    assert contents(folder) == before
    assert make().found == 6


@pytest.mark.parametrize(
    "change", quick([{"seed": 1}], thorough=[{"per_class": 2}, {"steps": 3}, {"classes": ["sick=mri, <a>"]}])
)
def test_another_data_set_in_its_place(make: Make, change: dict[str, object]) -> None:
    folder = make().folder
    before = contents(folder)
    with pytest.raises(UsageError, match="begun as another"):
        make(**change)
    assert contents(folder) == before


def test_a_folder_of_something_else(make: Make, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years")
    with pytest.raises(ConfigError, match="holds no data set"):
        make(out=other)
    (other / "dataset.json").write_text('{"schema": "cooking/1"}')
    with pytest.raises(ConfigError, match="no plan"):
        make(out=other)


def test_one_process_at_a_time(make: Make, tmp_path: Path) -> None:
    folder = make().folder
    with durable.alone(folder), pytest.raises(ConfigError, match="another process"):
        make()


@pytest.mark.thorough
def test_a_full_disk_is_said_and_the_rest_comes_later(make: Make, tmp_path: Path) -> None:
    whole = contents(make(out=tmp_path / "whole/drawn", per_class=4).folder)
    with small_disk(tmp_path / "small", kilobytes=400) as disk:
        folder = disk / "drawn"
        make(out=folder, per_class=4)
        (folder / "manifest.csv").unlink()
        for name in ("sick/00003.png", "well/00000.png"):
            (folder / name).unlink()
        filler = fill(disk)
        with pytest.raises(ConfigError, match="after 6 of 8 images") as caught:
            make(out=folder, per_class=4)
        assert "the same command resumes" in caught.value.hint
        filler.unlink()
        make(out=folder, per_class=4)
        assert contents(folder) == whole


@pytest.mark.thorough
def test_progress_says_how_long_the_rest_takes(make: Make) -> None:
    seen: list[Progress] = []
    make(on_progress=seen.append)
    assert seen[0] == Progress("loading the base", 0, 1)
    assert [(p.done, p.total) for p in seen[1:]] == [(n, 6) for n in range(1, 7)]
    assert all(p.note.endswith(" left") for p in seen[1:])
    assert [in_words(s) for s in (3, 600, 7200)] == ["3 s", "10 min", "2.0 h"]


@pytest.mark.thorough
def test_from_a_file(make: Make, base: Path, file: Path, tmp_path: Path) -> None:
    config = tmp_path / "set.yaml"
    config.write_text(
        f"base: {base}\nper_class: 3\nsteps: 2\nclasses:\n"
        f'- label: sick\n  prompt: "mri, {{}}"\n  embeddings: [{file}]\n- label: well\n  prompt: mri\n'
    )
    words = make(out=tmp_path / "words/drawn").folder
    nothing = {"classes": (), "embeddings": (), "base": None, "per_class": None, "steps": None}
    read = make(config=config, out=tmp_path / "file/drawn", **nothing).folder
    assert contents(words) == contents(read)


def test_two_hospitals_with_one_token_each_a_class(make: Make, base: Path, tmp_path: Path) -> None:
    other = write_embedding(tmp_path / "b.safetensors", base, "<a>", name="other")
    with pytest.raises(UsageError, match="same token"):
        make(embeddings=[str(tmp_path / "a.safetensors"), str(other)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ["sick=mri"]}, "no prompt mentions <a>"),
        ({"embeddings": [], "classes": ["well=mri"]}, "no class has an embedding"),
        ({"classes": []}, "a data set has classes"),
        ({"classes": ["sick"]}, "names no class"),
        ({"classes": ["Sick!=mri, <a>", "sick=mri"]}, "two classes"),
        ({"per_class": 0}, "per_class"),
        ({"no_card": ["<b>"]}, "no embedding has the token"),
        ({"config": "set.yaml"}, "a data set has classes"),
    ],
)
def test_what_cannot_be_made(make: Make, tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make(**change)
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize("label", ["Mrs Jansen", "john-smith-1956-03-02", "12345678"])
def test_a_label_that_names_a_person(make: Make, tmp_path: Path, label: str) -> None:
    with pytest.raises(PrivacyError) as caught:
        make(classes=[f"{label}=mri, <a>"])
    assert label not in str(caught.value)
    assert not (tmp_path / "drawn").exists()


def test_the_command(base: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "research",
        "dataset",
        "--class",
        "sick=mri, <a>",
        "--embedding",
        str(file),
        "--base",
        str(base),
        "--steps",
        "2",
    ]
    words += ["--per-class", "2", "--device", "cpu", "--out", str(tmp_path / "drawn")]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["found"], said["classes"]) == (2, 0, {"sick": 2})
    assert main(words) == 0
    assert "2 of them earlier" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "drawn"), "--base", str(base)]) == 0
    assert "train would accept" in capsys.readouterr().out


@pytest.mark.thorough
def test_dicom_copies_are_one_study_with_a_series_for_each_class(make: Make, tmp_path: Path) -> None:
    made = make(per_class=2, dicom=True, burn_in=True)
    files = sorted((made.folder / "dicom").rglob("*.dcm"))
    assert [str(one.relative_to(made.folder)) for one in files] == [
        f"dicom/{label}/0000{number}.dcm" for label in ("sick", "well") for number in (0, 1)
    ]
    copies = [pydicom.dcmread(one) for one in files]
    assert {one.SyntheticData for one in copies} == {"YES"} and {str(one.PatientID) for one in copies} == {""}
    assert len({one.StudyInstanceUID for one in copies}) == 1
    assert [one.SeriesInstanceUID for one in copies][:2] == [copies[0].SeriesInstanceUID] * 2
    assert len({one.SeriesInstanceUID for one in copies}) == 2 and len({one.SOPInstanceUID for one in copies}) == 4
    assert synthetic.declared(files[0]).embeddings == (rows(made.folder)[0]["embedding"],)
    assert synthetic.declared(files[2]).embeddings == ()
    with Image.open(made.folder / "sick/00000.png") as image:
        assert not np.array_equal(np.asarray(image.convert("L")), copies[0].pixel_array), "the word is burnt in"
    again = make(out=tmp_path / "again" / "drawn", per_class=2, dicom=True, burn_in=True)
    assert contents(again.folder) == contents(made.folder)
    with pytest.raises(UsageError, match="--burn-in"):
        make(out=tmp_path / "third", burn_in=True)


@pytest.mark.thorough
def test_batches_give_the_same_images_up_to_rounding(make: Make, tmp_path: Path) -> None:
    alone, together = make().folder, make(out=tmp_path / "batched", sampling=Sampling(batch_size=2)).folder
    for path in sorted(alone.glob("*/*.png")):
        with Image.open(path) as one, Image.open(together / path.relative_to(alone)) as other:
            assert np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max() <= 1
    plans = [json.loads((folder / "dataset.json").read_text()) for folder in (alone, together)]
    assert "sampling" not in plans[0] and plans[1]["sampling"] == {"batch_size": 2}
    assert [row["seed"] for row in rows(alone)] == [row["seed"] for row in rows(together)]


@pytest.mark.thorough
def test_a_batch_that_was_cut_short_is_drawn_whole_again(make: Make) -> None:
    sampling = Sampling(batch_size=2, scheduler="dpm++")
    folder = make(sampling=sampling).folder
    before = contents(folder)
    (folder / "sick" / "00001.png").unlink()
    (folder / "well" / "00002.png").unlink()
    assert make(sampling=sampling).found == 4
    assert contents(folder) == before


def test_another_batch_size_is_another_data_set(make: Make) -> None:
    make(sampling=Sampling(batch_size=2))
    with pytest.raises(UsageError, match="sampling differ"):
        make(sampling=Sampling(batch_size=3))
    with pytest.raises(UsageError, match="sampling differ"):
        make()


@pytest.mark.thorough
def test_several_processes_make_the_same_images(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many threads each: what two processes leave is what one leaves, byte for byte, resumed or not."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    whole = contents(make(out=tmp_path / "one/drawn").folder)
    seen: list[Progress] = []
    folder = make(out=tmp_path / "two/drawn", processes=2, on_progress=seen.append).folder
    assert contents(folder) == whole
    assert [p.done for p in seen[1:]] == list(range(1, 7))
    (folder / "sick" / "00001.png").unlink()
    assert make(out=folder).found == 5
    assert contents(folder) == whole


@pytest.mark.thorough
def test_a_process_that_dies_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painting, "_settle", divmod)  # which takes no three arguments, so no process ever starts
    studio = Studio([], {}, FoundBase("none", Path()), Sampling(), "cpu")
    with pytest.raises(ConfigError, match="a process that generates images died") as caught:
        list(painting.paint(studio, [painting.Task(0, ()), painting.Task(1, ())], processes=2))
    assert "resumes" in caught.value.hint


def test_gpus_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert painting.spread("cpu", 3) == ["cpu"] * 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(painting, "choose_device", torch.device)
    assert painting.spread("cuda", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert painting.spread("cuda:1", 2) == ["cuda:1"] * 2
