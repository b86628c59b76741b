"""Synthetic images in a folder of patients are named by row, and no privacy claim is made of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub.diffusion.train import train
from embhub.errors import PrivacyError
from embhub.formats.synthetic_mark import mark_png
from embhub.images.checks.synthetic import is_remark
from embhub.images.images import read_images
from embhub.images.inspections.inspection import inspect
from embhub.options.training import PrivacySettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images, of which the second and the fourth say that they are generated."""
    for number in range(4):
        buffer = io.BytesIO()
        values = np.random.default_rng(number).integers(0, 255, (64, 64), dtype=np.uint8)
        Image.fromarray(values).save(buffer, "PNG")
        data = mark_png(buffer.getvalue()) if number % 2 else buffer.getvalue()
        (tmp_path / f"{number}.png").write_bytes(data)
    return tmp_path


def test_they_are_named_by_row(folder: Path) -> None:
    found = read_images(folder)
    assert found.synthetic == (2, 4)
    assert found.subset([0, 3]).synthetic == (4,) and found.subset([0, 2]).synthetic == ()
    (note,) = [note for note in found.notes if is_remark(note)]
    assert note.startswith("2 images say that they are synthetic (image 2, 4)")


def test_an_inspection_says_what_training_would(folder: Path) -> None:
    found = inspect(folder)
    assert any(is_remark(warning) for warning in found.warnings)
    (folder / "1.png").unlink()
    assert any("1 image says that it is synthetic (image 3)" in warning for warning in inspect(folder).warnings)


def test_no_privacy_claim_is_made_of_them(folder: Path, base: Path) -> None:
    settings = PrivacySettings(epsilon=8.0, n_public=10)
    with pytest.raises(PrivacyError, match=r"2 images say that they are synthetic .* privacy claim is about patients"):
        train(folder, token="<a>", caption="mri, {}", base=base, privacy=settings, device="cpu")


def test_patients_give_no_remark(folder: Path) -> None:
    for name in ("1.png", "3.png"):
        (folder / name).unlink()
    found = read_images(folder)
    assert found.synthetic == () and not any(is_remark(note) for note in found.notes)
