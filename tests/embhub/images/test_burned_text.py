"""Text burned into pixels is found on real images of several kinds, and what was read is nowhere."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from embhub.__main__ import main
from embhub.images.checks import burned_text
from embhub.images.inspections.inspection import inspect
from tests.support.tools import DATA, needs_films

FINDER = burned_text.find_engine()
needs_reader = pytest.mark.skipif(FINDER is None, reason="rapidocr is not installed")
PLANTED = ("DE VRIES, J. 1950", "12-03-1987 08:15", "ID 4471203")


def draw(image: Image.Image, words: str, place: float) -> Image.Image:
    """The image with words a sixteenth of its height, in white, or in black where the image is bright."""
    changed = image.convert("RGB")
    font = ImageFont.load_default(size=max(9, image.height // 16))
    colour = (0, 0, 0) if np.asarray(changed).mean() > 160 else (255, 255, 255)
    ImageDraw.Draw(changed).text((image.width * 0.05, image.height * place), words, colour, font=font)
    return changed


def clean(seed: int) -> Image.Image:
    rows = np.add.outer(np.linspace(0, 90, 128), np.linspace(0, 60, 128))
    noise = np.random.default_rng(seed).normal(0, 6, rows.shape)
    return Image.fromarray(np.clip(rows + noise, 0, 255).astype(np.uint8))


@needs_reader
def test_an_inspection_says_in_how_many_images_and_never_which_words(tmp_path: Path) -> None:
    for number in range(4):
        clean(number).save(tmp_path / f"{number}.png")
    for number, words in enumerate(PLANTED[:2], start=4):
        draw(clean(number), words, 0.1).save(tmp_path / f"{number}.png")
    found = inspect(tmp_path)
    assert found.burned_text == (5, 6)
    (said,) = [text for text in found.remarks if "burned" in text]
    assert said.startswith("text burned into the pixels: 2 (image 5, 6). ")
    assert not any("burned" in text for text in found.not_looked_for)
    assert not any(word in found.to_json() for words in PLANTED for word in words.replace(",", "").split())


def test_without_a_reader_it_says_that_it_did_not_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burned_text, "find_engine", lambda: None)
    draw(clean(1), PLANTED[0], 0.1).save(tmp_path / "1.png")
    found = inspect(tmp_path)
    assert found.burned_text is None and found.not_looked_for[0].startswith("text burned into the pixels")
    assert not any("burned" in text for text in found.remarks)


def test_a_library_that_cannot_be_loaded_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", fail)
    assert burned_text.find_engine.__wrapped__() is None


@pytest.mark.parametrize(("words", "sure", "is_text"), [("L", 0.99, False), ("12-03", 0.7, True), ("abcd", 0.5, False)])
def test_a_side_mark_or_a_guess_is_no_text(words: str, sure: float, is_text: bool) -> None:
    assert burned_text._is_text(words, sure) is is_text


@needs_reader
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (5000, 2), (30, 3000), (3000, 2500), (640, 90)])
def test_an_image_of_any_shape_is_looked_at_or_passed_over_in_little_memory(size: tuple[int, int]) -> None:
    assert FINDER is not None
    fitted = burned_text._fit(Image.new("RGB", size))
    expected = None if min(fitted.size) < 64 else False
    assert max(fitted.size) <= 1920 and FINDER(Image.new("L", size)) is expected


class Failing:
    """A reader that fails on dark images."""

    def __call__(self, pixels: np.ndarray) -> SimpleNamespace:
        if pixels.mean() < 50:
            raise ValueError("DE VRIES")
        return SimpleNamespace(txts=(), scores=())


def test_what_could_not_be_looked_at_is_not_said_to_have_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A strip, and an image on which the reader fails."""
    monkeypatch.setattr(burned_text, "find_engine", lambda: burned_text.TextFinder(Failing()))
    for number in range(3):
        clean(number).save(tmp_path / f"{number}.png")
    Image.new("L", (128, 128), 9).save(tmp_path / "3.png")
    clean(4).resize((4000, 100)).save(tmp_path / "4.png")
    found = inspect(tmp_path)
    assert found.burned_text == () and found.text_unknown == (4, 5) and "VRIES" not in found.to_json()
    (said,) = [text for text in found.remarks if "burned" in text]
    assert said.startswith("text burned into the pixels was not looked for in 2 (image 4, 5): ")
    main(["inspect", str(tmp_path)])
    assert "looked for, found in 0 of 3; not looked for in 2" in capsys.readouterr().out


@needs_reader
@needs_films
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("folder", "fewest"),
    [("chest-xray", 9), ("breast-ultrasound-busi", 9), ("colonoscopy-kvasir", 9), ("histology-lc25000", 9)],
)
def test_names_and_dates_in_real_images_are_found(folder: str, fewest: int) -> None:
    """Of ten images without text. Whatever is printed on an original counts as text too, so those are left out."""
    assert FINDER is not None
    with (DATA / folder / "index.csv").open(encoding="utf-8") as file:
        paths = [DATA / folder / row["path"] for row in csv.DictReader(file)]
    chosen = np.random.default_rng(1).permutation(len(paths))[:16]
    images = [image for image in (Image.open(paths[place]) for place in chosen) if not FINDER(image)][:10]
    assert len(images) == 10
    written = [draw(image, PLANTED[n % 3], (0.04, 0.5, 0.88)[n % 3]) for n, image in enumerate(images)]
    assert len([image for image in written if FINDER(image)]) >= fewest
