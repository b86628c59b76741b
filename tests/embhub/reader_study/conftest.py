"""Folders of images: patients' with shapes, generated ones with another mean and the mark of synthetic images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub.formats.synthetic_mark import mark_png
from embhub.reader_study.preparing import prepare
from embhub.reader_study.study import Study

EMBEDDING = "ab" * 32
NUMBER = 10


def write_images(
    folder: Path, number: int, *, side: int, generated: bool = False, colour: bool = False, embedding: str = EMBEDDING
) -> Path:  # fmt: skip
    folder.mkdir()
    rows = ["path,patient_id"]
    for place in range(number):
        values = np.random.default_rng([place, side, generated]).integers(0, 255, (side, side, 3), dtype=np.uint8)
        pixels = values if colour else values[:, :, 0]
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        data = mark_png(buffer.getvalue(), embeddings=[embedding]) if generated else buffer.getvalue()
        (folder / f"{place:03}.png").write_bytes(data)
        rows.append(f"{place:03}.png,p{place // 2 if not generated else place}")
    if not generated:
        (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """24 real images of 12 patients and 12 generated ones."""
    folder = tmp_path_factory.mktemp("images")
    return write_images(folder / "real", 24, side=96), write_images(folder / "drawn", 12, side=64, generated=True)


@pytest.fixture
def prepared(sources: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Study]:
    """A study of ten images of each kind, which asks for a finding."""
    real, drawn = sources
    out = tmp_path / "study"
    return out, prepare(real, drawn, out, dataset="noise", finding="spot", number=NUMBER)
