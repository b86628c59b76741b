"""`embhub generate`, of new images and of redrawn ones, from the command line to the files they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from embhub.__main__ import main
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.diffusion.generation.generation import generate
from embhub.formats import synthetic_mark
from embhub.formats.synthetic_mark import Declared
from embhub.images.checks import synthetic
from tests.support import pipelines

USAGE, ARTIFACT = 2, 3
DRAWING = ("--steps", "2", "--guidance-scale", "2", "--device", "cpu", "--out", "out")
NAME = "Jansen_Pieter_19580312"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are typed, with the base and two sibling embeddings at hand."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(base)
    start = 3 * np.random.default_rng(0).normal(size=(2, pipelines.WIDTH))
    for token, rows in (("<a>", start), ("<b>", start + 0.5), ("<far>", -start)):
        made = artifact.build(
            {"emb_params": rows}, token=token, base=fingerprint.take(base), base_name="tiny", training={}
        )
        (tmp_path / f"{token[1:-1]}.safetensors").write_bytes(made.data)
    return tmp_path


def run(*words: str | Path, code: int = 0) -> None:
    assert main([str(word) for word in words]) == code


def draw(*words: str | Path, code: int = 0) -> dict[str, Any]:
    run("generate", *words, "--base", "base", *DRAWING, code=code)
    return manifest()


def redraw(source: str | Path, *words: str | Path, code: int = 0) -> dict[str, Any]:
    return draw(*words, "--from", source, code=code)


def manifest() -> dict[str, Any]:
    path = Path("out/manifest.json")
    read: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return read


def scan(path: Path, seed: int = 0, size: tuple[int, int] = (32, 32)) -> Path:
    """A grey image whose file says whose it is."""
    path.parent.mkdir(exist_ok=True)
    whose = PngInfo()
    whose.add_text("PatientName", NAME)
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(values).save(path, pnginfo=whose)
    return path


def mask(path: Path, box: tuple[int, int, int, int], size: tuple[int, int] = (32, 32)) -> Path:
    path.parent.mkdir(exist_ok=True)
    values = np.zeros((size[1], size[0]), np.uint8)
    values[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 255
    Image.fromarray(values).save(path)
    return path


@pytest.mark.thorough
def test_weights_on_the_command_line(base: Path) -> None:
    facts = draw("mri: t2, <a>:0.3", "--and", "mri <b>:0.7", "--embedding", "a.safetensors", "--embedding",
                 "b.safetensors", "-n", "2", "--seed", "5")  # fmt: skip
    assert facts["parts"] == [{"prompt": "mri: t2, <a>", "weight": 0.3}, {"prompt": "mri <b>", "weight": 0.7}]
    assert [item["token"] for item in facts["embeddings"]] == ["<a>", "<b>"]
    assert facts["base_fingerprint"] == fingerprint.digest(fingerprint.take(base))
    assert (facts["steps"], facts["guidance"], facts["seed"], facts["n"]) == (2, 2.0, 5, 2)
    again = generate(
        [(part["prompt"], part["weight"]) for part in facts["parts"]],
        embeddings=["a.safetensors", "b.safetensors"], base=base, n=2, seed=5, steps=2, guidance_scale=2.0,
        device="cpu",
    )  # fmt: skip
    for name, image in zip(facts["files"], again, strict=True):
        assert np.array_equal(np.asarray(Image.open(Path("out") / name)), np.asarray(image))


@pytest.mark.thorough
def test_one_prompt_is_taken_as_it_stands() -> None:
    assert draw("mri:0.3", "-n", "1")["prompt"] == "mri:0.3"
    assert draw("--and", "mri a:0.5", "--and", "mri b:0.5", "-n", "1")["parts"][1]["prompt"] == "mri b"


def test_a_series_is_pictures_a_sheet_and_a_manifest() -> None:
    facts = draw("mri a", "--interpolate-to", "mri b", "--series", "3", "-n", "2", "--seed", "4")
    assert facts["weights"] == [0.0, 0.5, 1.0] and facts["interpolate_to"] == "mri b"
    assert [(item["seed"], item["weight"]) for item in facts["pictures"][:4]] == [(4, 0), (4, 0.5), (4, 1), (5, 0)]
    assert all((Path("out") / item["file"]).is_file() for item in facts["pictures"])
    assert Image.open("out/series.png").width == 3 * 32


def test_a_series_between_siblings_and_not_between_strangers(capsys: pytest.CaptureFixture[str]) -> None:
    facts = draw("mri {}", "--embedding", "a.safetensors", "--slerp-to", "b.safetensors", "--series", "2", "-n", "1")
    assert facts["slerp_to"]["token"] == "<b>" and len(facts["pictures"]) == 2
    far = ("--embedding", "a.safetensors", "--slerp-to", "far.safetensors")
    draw("mri {}", *far, "-n", "1", code=ARTIFACT)
    assert "mean cosine of -1.00" in capsys.readouterr().err


@pytest.mark.parametrize(("fits", "written"), [(("pad", "pad"), "pad"), (("pad", "crop"), None)])
def test_a_series_between_siblings_says_how_their_images_were_fitted(
    folder: Path, fits: tuple[str, str], written: str | None
) -> None:
    for token, fit in zip(("<a>", "<b>"), fits, strict=True):
        path = folder / f"{token[1:-1]}.safetensors"
        old = artifact.read(path)
        made = artifact.build(
            dict(old.tensors), token=token, base=old.base, base_name="tiny", training={"fit": fit}, dtype="float32"
        )
        path.write_bytes(made.data)
    facts = draw("mri {}", "--embedding", "a.safetensors", "--slerp-to", "b.safetensors", "--series", "2", "-n", "1")
    assert facts.get("fit") == written


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to generate"),
        (["a", "--and", "b:nan"], "a weight of nan"),
        (["a:1", "--and", "a:-1"], "weight other than 0"),
        (["a", "--series", "3"], "a series to where?"),
        (["a", "--interpolate-to", "b", "--and", "c"], "no --and"),
        (["a", "--interpolate-to", "b", "--slerp-to", "b.safetensors"], "goes from one prompt one way"),
        (["a", "--slerp-to", "b.safetensors"], "0 embeddings to turn"),
        (["a", "--and", "b:0.5", "--guidance-scale", "1"], "need guidance above 1"),
    ],
)
def test_what_cannot_be_drawn_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("generate", *DRAWING[:4], "--out", "out", "--base", "base", "-n", "1", *words, code=USAGE)
    assert said in capsys.readouterr().err and not Path("out").exists()


def test_a_finding_is_put_into_each_image_of_a_folder() -> None:
    for number in range(3):
        scan(Path("images") / f"{number}.png", seed=number)
        mask(Path("masks") / f"{number}.tif", (4 + 4 * number, 8, 10, 10))
    facts = redraw("images", "mri <a>", "--mask", "masks", "--embedding", "a.safetensors", "-n", "2", "--border", "1")
    assert [(item["image"], item["seed"]) for item in facts["pictures"]] == [
        (1, 0),
        (1, 1),
        (2, 2),
        (2, 3),
        (3, 4),
        (3, 5),
    ]
    for item in facts["pictures"]:
        number = item["image"] - 1
        old = np.asarray(Image.open(f"images/{number}.png"))
        new = np.asarray(Image.open(Path("out") / item["file"]))
        changed = np.argwhere(new != old)
        low, high = changed.min(0), changed.max(0)
        assert (low >= (7, 3 + 4 * number)).all() and (high <= (18, 14 + 4 * number)).all()
        assert len(changed) > 60


def test_whole_images_are_redrawn_once_each() -> None:
    for number in range(2):
        scan(Path("images") / f"{number}.png", seed=number, size=(40, 32))
    facts = redraw("images", "mri <a>", "--embedding", "a.safetensors", "--batch-size", "1", "--scheduler", "euler")
    assert (facts["place"], facts["strength"], facts["n"], facts["fit"]) == ("whole image", 0.7, 1, "crop")
    assert facts["scheduler"] == "euler" and facts["mark"]["scheme"] is None
    for item in facts["pictures"]:
        new = Image.open(Path("out") / item["file"])
        old = np.asarray(Image.open(f"images/{item['image'] - 1}.png"))[:, 4:36]
        assert new.mode == "L" and new.size == (32, 32) and (np.asarray(new) != old).mean() > 0.8


def test_nothing_tells_whose_image_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither names of files and folders nor what is written in them reaches an output, a message or the terminal."""
    source = scan(Path(NAME) / f"{NAME}.png")
    where = mask(Path("masks") / f"{NAME}.png", (4, 8, 10, 10))
    redraw(source, "mri a", "--mask", where)
    redraw(Path(NAME), "mri a", "--mask", "masks", "-n", "2")
    redraw(Path(NAME), "mri a", "-n", "3")
    written = b"".join(path.read_bytes() for path in Path("out").iterdir())
    assert NAME.encode() not in written and b"Jansen" not in written
    assert all(NAME not in path.name and path.stat().st_mode & 0o077 == 0 for path in Path("out").iterdir())
    mask(where, (0, 0, 0, 0))
    redraw(Path(NAME), "mri a", "--mask", "masks", code=USAGE)
    where.unlink()
    redraw(Path(NAME), "mri a", "--mask", "masks", code=USAGE)
    said = capfd.readouterr()
    assert "image 1" in said.err and "Jansen" not in said.out + said.err


def test_all_images_are_measured_before_the_first_is_redrawn(capsys: pytest.CaptureFixture[str]) -> None:
    for number, side in enumerate((32, 32, 12)):
        scan(Path("images") / f"{number}.png", seed=number, size=(side, side))
    redraw("images", "mri a", "--batch-size", "1", code=USAGE)
    assert "image 3 has 12 x 12 pixels, under half of the base's 32" in capsys.readouterr().err
    assert not Path("out").exists()


def test_rows_of_a_manifest_are_named_by_their_line() -> None:
    for number in range(2):
        scan(Path("images") / f"{number}.png", seed=number)
    Path("images/manifest.csv").write_text("path,patient_id\n1.png,P1\n0.png,P0\n")
    facts = redraw("images/manifest.csv", "mri a", "--box", "4,4,8,8")
    assert [item["row"] for item in facts["pictures"]] == [2, 3] and facts["box"] == [4, 4, 8, 8]
    kept = np.asarray(Image.open("out/0000.png"))[20:]
    assert np.array_equal(kept, np.asarray(Image.open("images/1.png"))[20:])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one.png", "a", "--box", "1,1,4,4", "--mask", "masks"], "a mask or a box"),
        (["one.png", "a", "--box", "1,1,4"], "is no box"),
        (["one.png", "a", "--box", "30,1,9,4"], "32 x 32 pixels"),
        (["one.png", "--box", "1,1,4,4"], "nothing to generate"),
        (["one.png", "a", "--mask", "small.png"], "8 x 8 pixels, its image 32 x 32"),
        (["one.png", "a", "--mask", "empty.png"], "marks nothing"),
        (["one.png", "a", "--mask", "full.png"], "covers the whole image"),
        (["one.png", "a", "--mask", "one.png"], "the image itself"),
        (["one.png", "a", "--mask", "none.png"], "there is no mask none.png"),
        (["one.png", "a", "--mask", "masks"], "image 1 has no mask"),
        (["deep.png", "a", "--box", "1,1,4,4"], "more than 8 bits"),
        (["colours.png", "a", "--box", "1,1,4,4"], "of mode P"),
        (["nowhere", "a", "--box", "1,1,4,4"], "nowhere"),
        (["masks", "a", "--box", "1,1,4,4"], "no image in the folder"),
        (["one.png", "a", "--box", "1,1,4,4", "--strength", "0.1"], "leaves no step of 2"),
    ],
)
def test_what_cannot_be_redrawn_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    scan(Path("one.png"))
    mask(Path("small.png"), (1, 1, 4, 4), (8, 8))
    mask(Path("empty.png"), (0, 0, 0, 0))
    mask(Path("full.png"), (0, 0, 32, 32))
    Path("masks").mkdir()
    Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32)).save("deep.png")
    Image.open("one.png").convert("P").save("colours.png")
    redraw(*words, code=USAGE)
    assert said in capsys.readouterr().err and not Path("out").exists()


def declared(path: Path) -> Declared:
    return synthetic_mark.read(path.read_bytes())


def test_every_image_says_that_it_is_generated_and_by_which_embedding(base: Path) -> None:
    made, digest = artifact.read(Path("a.safetensors")), fingerprint.digest(fingerprint.take(base))
    facts = draw("mri <a>", "--embedding", "a.safetensors", "-n", "2")
    for name in facts["files"]:
        assert declared(Path("out") / name) == Declared("trainedAlgorithmicMedia", (made.digest,), digest)


def test_a_series_and_its_sheet_say_so_too() -> None:
    facts = draw("mri a", "--interpolate-to", "mri b", "--series", "2", "-n", "1")
    assert all(declared(Path("out") / item["file"]).synthetic for item in facts["pictures"])
    assert declared(Path("out/series.png")).synthetic


def test_an_inpainted_image_is_a_composite() -> None:
    place = ("--mask", mask(Path("mask.png"), (8, 8, 12, 12)))
    facts = redraw(scan(Path("scan.png")), "mri <a>", *place, "--embedding", "a.safetensors")
    said = declared(Path("out") / facts["pictures"][0]["file"])
    assert said.source_type == "compositeWithTrainedAlgorithmicMedia" and len(said.embeddings) == 1


def test_dicom_copies_and_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    facts = draw("mri a", "-n", "2", "--dicom", "--burn-in")
    files = sorted(Path("out", facts["dicom"]).iterdir())
    assert [file.name for file in files] == ["0000.dcm", "0001.dcm"]
    assert all(synthetic.declared(file).synthetic for file in files)
    draw("mri a", "--burn-in", code=USAGE)
    assert "--burn-in is for DICOM files" in capsys.readouterr().err


@pytest.mark.thorough
def test_the_mark_can_be_left_out() -> None:
    made = artifact.read(Path("a.safetensors"))
    assert draw("mri <a>", "--embedding", "a.safetensors", "-n", "1")["mark"]["key"] == made.digest
    first = Path("out/0000.png").read_bytes()
    facts = draw("mri <a>", "--embedding", "a.safetensors", "-n", "1", "--no-mark")
    assert facts["mark"] == {"scheme": None, "why": "not wanted"} and Path("out/0000.png").read_bytes() != first
