"""IMAGES of every verb may be a folder or a manifest, wherever the manifest lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.phantoms import write_dataset
from tests.support import pipelines
from tests.support.quick import others_thorough

SOURCES: dict[str, Callable[[Path], Path]] = {
    "a folder with its manifest": lambda folder: folder,
    "a folder without": lambda folder: folder / "images",
    "a manifest": lambda folder: folder / "manifest.csv",
    "a manifest of another name": lambda folder: (folder / "manifest.csv").rename(folder / "list.csv"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("name", others_thorough(SOURCES, ("a manifest",)))
def test_every_verb_takes(
    name: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    sides = []
    for seed in (1, 2):
        folder = tmp_path / f"side-{seed}"
        write_dataset(folder, "prostate-cspca", images=10, patients=5, seed=seed)
        manifest = folder / "manifest.csv"
        manifest.write_text(manifest.read_text().replace(",P0", f",S{seed}-"))  # other patients on the other side
        sides.append(str(SOURCES[name](folder)))
    inside, outside = sides
    out = str(tmp_path / "x.safetensors")
    words = ["--base", str(base), "--token", "<x>", "--caption", "mri, {}", "--steps", "2", "--num-vectors", "1"]
    assert main(["inspect", inside, "--base", str(base)]) == 0
    assert main(["train", inside, *words, "--device", "cpu", "--out", out]) == 0
    assert (
        main(["audit", out, "--members", inside, "--nonmembers", outside, "--base", str(base), "--device", "cpu"]) == 0
    )
    counted = "10 images trained on" if name == "a folder without" else "5 patients trained on, 5 held out"
    assert counted in capfd.readouterr().out
