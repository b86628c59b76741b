"""Planted copies among drawn images are caught, strangers are not, and what is written stays at the site."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from embhub import builtin_bases as bases
from embhub import phantoms
from embhub.__main__ import main
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.copies import report as reports
from embhub.copies.planted import KINDS
from embhub.diffusion.copying import planting
from embhub.diffusion.copying.checking import Checked, check_copies
from embhub.errors import PrivacyError, UsageError
from embhub.site.memory import runs

WIDTH = 128  # of the built-in base's rows

Few = dict[str, Path]


def person(number: int) -> np.ndarray:
    """A phantom of somebody, (64, 64, 3) uint8."""
    return phantoms.draw("histology", (), np.random.default_rng(number)).image


def write(folder: Path, images: dict[str, np.ndarray], *, patients: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["path,patient_id"]
    for number, (name, pixels) in enumerate(images.items()):
        Image.fromarray(pixels).save(folder / f"{name}.png")
        rows.append(f"{name}.png,{folder.name}-{number}")
    if patients:
        (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def turned(original: np.ndarray, degrees: float, zoom: float = 1) -> np.ndarray:
    """Through scipy's splines, which neither the search nor the planting uses."""
    angle = np.deg2rad(degrees)
    back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    middle = (np.array(original.shape[:2]) - 1) / 2
    layers = [
        ndimage.affine_transform(original[..., layer].astype(float), back, middle - back @ middle, order=3)
        for layer in range(3)
    ]
    return np.clip(np.stack(layers, -1), 0, 255).astype(np.uint8)


def copies(original: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).normal(0, 4, original.shape)
    return {
        "exact": original,
        "flipped": original[:, ::-1].copy(),
        "shifted": np.roll(original, (1, -1), (0, 1)),
        "noised": np.clip(original + noise, 0, 255).astype(np.uint8),
        "both": np.roll(original[:, ::-1], 1, 1).copy(),
        "turned": turned(original, -8, 1.13),
        "half": np.concatenate([original[:, :32], other[:, 32:]], 1),
        "blended": (0.7 * original + 0.3 * other).astype(np.uint8),
    }


@pytest.fixture(scope="module")
def base() -> Path:
    """The built-in base: only an autoencoder that was trained can be asked what its copies look like."""
    return bases.info("builtin").path


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people")
    write(root / "members", {f"m{n}": person(n) for n in range(24)})
    write(root / "controls", {f"c{n}": person(100 + n) for n in range(40)})
    write(root / "strangers", {f"s{n:02d}": person(500 + n) for n in range(12)}, patients=False)
    planted = {**copies(person(3), person(9)), "stranger": person(900)}
    write(root / "planted", planted, patients=False)
    return root


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Few:
    """The fewest images of either side that a check takes."""
    root = tmp_path_factory.mktemp("few")
    members = write(root / "members", {f"m{n}": person(n) for n in range(10)})
    return {"members": members, "nonmembers": write(root / "controls", {f"c{n}": person(100 + n) for n in range(20)})}


@pytest.fixture(scope="module")
def file(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = np.random.default_rng(0).normal(size=(1, WIDTH))
    made = artifact.build(
        {"emb_params": rows}, token="<a>", base=fingerprint.take(base), base_name="tiny", training={}, dtype="float16"
    )
    path = tmp_path_factory.mktemp("made") / "a.safetensors"
    path.write_bytes(made.data)
    return path


@pytest.fixture(scope="module")
def check(base: Path, file: Path, people: Path) -> Callable[..., Checked]:
    @cache
    def run(samples: str, **changes: object) -> Checked:
        usual = {"members": people / "members", "nonmembers": people / "controls", "base": base, "device": "cpu"}
        return check_copies(file, people / samples, **{**usual, **changes})  # type: ignore[arg-type]

    return run


def test_an_exact_copy_is_caught_and_a_stranger_is_not(check: Callable[..., Checked], people: Path, few: Few) -> None:
    """Among as few images as are taken."""
    write(people / "two", {"exact": person(3), "stranger": person(900)}, patients=False)
    found = check("two", **few)
    exact, stranger = found.report.samples
    assert (exact.suspected, stranger.suspected, found.report.verdict) == (True, False, "copies-suspected")
    assert set(found.nearest[0].values()) == {3}, "it names the training image"
    assert exact.sha256 is None and stranger.sha256 is not None, "of what may be published"


def test_fewer_than_twenty_training_images_are_no_clean_verdict(
    check: Callable[..., Checked], people: Path, few: Few
) -> None:
    write(people / "one", {"stranger": person(900)}, patients=False)
    report = check("one", **few).report
    assert not report.suspected
    assert {item.tried for item in report.planted} == {10} and report.verdict == "insufficient-evidence"


@pytest.mark.thorough
def test_planted_copies_are_caught_and_the_stranger_is_not(check: Callable[..., Checked]) -> None:
    found = check("planted")
    said = {Path(sample.name).stem: sample for sample in found.report.samples}
    assert [name for name, sample in said.items() if not sample.suspected] == ["stranger"]
    assert found.report.verdict == "copies-suspected"
    assert all(sample.sha256 is None for sample in found.report.suspected)
    exact = [s.name for s in found.report.samples].index("exact.png")
    assert set(found.nearest[exact].values()) == {3}, "it names the training image"


@pytest.mark.thorough
def test_strangers_are_not_suspected_more_than_promised(check: Callable[..., Checked]) -> None:
    """Phantoms that nobody learned from: p-values spread evenly, and the family's threshold holds."""
    report = check("strangers").report
    assert not report.suspected and report.verdict == "no-copies-found"
    assert len(report.planted) == len(KINDS) and not report.missed
    for name in reports.MEASURES:
        p = np.array([sample.measures[name].p for sample in report.samples])
        for level in (0.05, 0.2, 0.5):
            assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) * (1 / 12 + 1 / 40)), (name, level)


@pytest.mark.thorough
def test_each_measure_alone_finds_an_exact_copy(check: Callable[..., Checked]) -> None:
    report = check("planted").report
    exact = next(sample for sample in report.samples if sample.name == "exact.png")
    assert {name: near.p < report.threshold for name, near in exact.measures.items()} == dict.fromkeys(
        reports.MEASURES, True
    )


@pytest.mark.thorough
def test_digests_are_of_exactly_the_files_that_may_be_published(check: Callable[..., Checked], people: Path) -> None:
    kept = {sample.name: sample.sha256 for sample in check("planted").report.samples if sample.sha256}
    assert kept == {"stranger.png": reports.digest((people / "planted" / "stranger.png").read_bytes())}


def test_what_is_planted_is_what_a_card_names() -> None:
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    made = planting.plant(object(), images, images.flip(0))  # type: ignore[arg-type]
    assert tuple(made) == KINDS[:-1], "an object has no autoencoder"
    assert all(copies.shape == images.shape for copies in made.values())


def test_who_may_be_compared(check: Callable[..., Checked], people: Path, tmp_path: Path) -> None:
    few = write(tmp_path / "few", {f"f{n}": person(300 + n) for n in range(19)})
    with pytest.raises(UsageError, match="at least 20 are needed"):
        check("planted", nonmembers=few)
    with pytest.raises(UsageError, match="trained on 9 patients"):
        check("planted", members=write(tmp_path / "nine", {f"n{n}": person(400 + n) for n in range(9)}))
    with pytest.raises(PrivacyError):
        check("planted", nonmembers=people / "members")
    with pytest.raises(UsageError, match="alpha"):
        check("planted", alpha=1.0)


def test_fewer_images_than_were_trained_on_are_not_all_of_them(
    check: Callable[..., Checked], file: Path, people: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    trained = tuple(runs.Sample(path=f"/gone/{n}.png", patient_id=f"p{n}") for n in range(25))
    digest = artifact.read(file).digest
    runs.save(runs.Run(embedding_digest=digest, base="b", caption="{}", token="<a>", vectors=1, members=trained))
    with pytest.raises(UsageError, match="24 images are named, and the embedding was trained on 25"):
        check("planted", alpha=0.04)


def add_webp(folder: Path) -> None:
    Image.fromarray(person(901)).save(folder / "more.webp")


def add_manifest(folder: Path) -> None:
    (folder / "manifest.csv").write_text("path\n0.png\n")


def add_split(folder: Path) -> None:
    (folder / "manifest.csv").write_text("path,split\n0.png,train\n1.png,test\n")


@pytest.mark.parametrize("add", [add_webp, add_manifest, add_split])
def test_an_image_of_the_folder_that_would_not_be_checked_is_refused(
    check: Callable[..., Checked], few: Few, tmp_path: Path, add: Callable[[Path], None]
) -> None:
    folder = write(tmp_path / "drawn", {"0": person(900), "1": person(901)}, patients=False)
    add(folder)
    with pytest.raises(UsageError, match="1 images would not be checked"):
        check(str(folder), **few)


def test_an_image_of_which_only_the_middle_would_be_checked_is_refused(
    check: Callable[..., Checked], few: Few, tmp_path: Path
) -> None:
    wide = np.concatenate([person(900), person(3)], 1)
    with pytest.raises(UsageError, match="sample 1 is not square"):
        check(str(write(tmp_path / "wide", {"0": wide}, patients=False)), **few)


def test_nobodys_pictures_are_thrown_away(
    file: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, folder = tmp_path / "a.safetensors", tmp_path / "a.samples"
    mine.write_bytes(file.read_bytes())
    write(folder, {"0000": person(1)}, patients=False)
    (folder / "manifest.json").write_text("{}")  # as `embhub generate` leaves it
    sides = ["--members", str(people / "members"), "--nonmembers", str(people / "controls")]
    words = ["copy-check", str(mine), "--prompt", "mri {}", *sides, "--device", "cpu"]
    assert main([*words, "--base", "builtin"]) == 2
    assert "holds other things" in capsys.readouterr().err and (folder / "0000.png").exists()
    (folder / "manifest.json").unlink()
    assert main([*words, "--base", str(tmp_path)]) != 0  # nothing can be drawn, so nothing is replaced
    assert (folder / "0000.png").exists()


@pytest.mark.thorough
def test_the_command_draws_checks_and_keeps_to_itself(
    base: Path, file: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "a.safetensors"
    mine.write_bytes(file.read_bytes())
    sides = ["--members", people / "members", "--nonmembers", people / "controls", "--base", base, "--device", "cpu"]
    words = ["copy-check", mine, *sides]
    assert main([*map(str, words), "-n", "2", "--json"]) == 2
    assert "--prompt" in capsys.readouterr().err
    assert main([*map(str, words), "-n", "2", "--prompt", "mri {}", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["samples"]) == 2 and len(list((tmp_path / "a.samples").glob("*.png"))) == 2
    for name in ("a.copies.json", "a.copies.html"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    text = (tmp_path / "a.copies.html").read_text()
    assert "<img" not in text and str(people) not in text and "members" not in json.dumps(said["samples"])
    assert main([*map(str, words), "--samples", str(people / "planted"), "--show-pairs"]) == 6
    assert "copies-suspected" in capsys.readouterr().out
    assert (tmp_path / "a.copies.html").read_text().count("<img") == 18
