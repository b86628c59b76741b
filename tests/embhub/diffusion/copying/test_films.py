"""The copy check on real films: copies that are moved, halved or blended are caught, and other patients are not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bases.workshop import xray
from bases.workshop.counting import tensor
from bases.workshop.xray_judge import colour
from embhub import builtin_bases as bases
from embhub.__main__ import main
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.copies import tail
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.copying.comparing import compare, one_each
from embhub.diffusion.copying.matching import Gallery

WIDTH = 128

pytestmark = pytest.mark.skipif(
    not (xray.default_data() / "chest-xray" / "index.csv").exists(), reason="needs chest-xray/ in EMBHUB_TEST_DATA"
)


def films(part: str, seed: int) -> np.ndarray:
    """One film of each patient of a part, in an order of its own, uint8 (N, 128, 128)."""
    found = xray.read(xray.default_data(), part)
    rows = one_each(found.patients)
    return found.images[np.random.default_rng(seed).permutation(rows)]


def write(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    rows = ["path,patient_id"]
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        rows.append(f"{number:03d}.png,{folder.name}-{number}")
    manifest = folder.parent / f"{folder.name}.csv"
    manifest.write_text("\n".join([rows[0], *(f"{folder.name}/{row}" for row in rows[1:])]) + "\n")
    return manifest


def turn(pixels: np.ndarray, degrees: float, zoom: float) -> np.ndarray:
    """Enlarged by Lanczos' filter, turned, and the middle cut out: neither the search nor the planting does so."""
    side = round(len(pixels) * zoom)
    larger = Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)
    first = (side - len(pixels)) // 2
    cut = larger.rotate(degrees, Image.Resampling.BILINEAR).crop(
        (first, first, first + len(pixels), first + len(pixels))
    )
    return np.asarray(cut)


@pytest.mark.thorough
def test_training_films_that_are_turned_and_zoomed_are_copies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    trained, kept = films("site", 0)[:20], films("judge", 0)[:20]
    members, nonmembers = write(tmp_path / "m", trained), write(tmp_path / "n", kept)
    write(tmp_path / "samples", np.stack([turn(pixels, 8, 1.13) for pixels in trained[:4]]))
    rows = np.random.default_rng(0).normal(size=(1, WIDTH))
    path = bases.info("builtin-xray").path
    made = artifact.build(
        {"emb_params": rows}, token="<a>", base=fingerprint.take(path), base_name="builtin-xray", training={},
        dtype="float16",
    )  # fmt: skip
    file = tmp_path / "b.safetensors"
    file.write_bytes(made.data)
    words = ["copy-check", file, "--samples", tmp_path / "samples", "--members", members, "--nonmembers", nonmembers]
    assert main([*map(str, words), "--base", "builtin-xray", "--device", "cpu"]) == 6
    assert "4 of 4 images are nearer" in " ".join(capsys.readouterr().out.split())


@pytest.mark.thorough
def test_every_kind_of_copy_is_caught() -> None:
    """62 patients trained on, 60 kept back, and other patients' films as what was drawn."""
    pipe = load_pipeline(bases.info("builtin-xray").path)
    trained, kept, others = films("site", 2)[:62], films("judge", 2)[:60], films("test", 2)[:100]
    members, controls, drawn = (tensor(colour(part)) for part in (trained, kept, others))
    found = compare(pipe, members, range(62), controls, drawn, alpha=0.05)
    assert len(found.planted) == 19
    assert not [item for item in found.planted if not item.enough], found.planted


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_false_alarms_over_random_splits() -> None:
    """Who is trained on, kept back and drawn is shuffled; six galleries, since splits of one gallery are alike."""
    everybody = np.concatenate([films(part, 0) for part in ("site", "judge", "test")])
    alarms = []
    for gallery in range(6):
        rng = np.random.default_rng(gallery)
        order = rng.permutation(len(everybody))
        trained, others = (torch.from_numpy(everybody[part])[:, None] / 127.5 - 1 for part in (order[:40], order[40:]))
        tables = Gallery(trained).measure(others)
        scores = [tail.score(table, range(40)) for table in tables.values()]
        for split in range(200):
            samples, controls = ((8, 20), (100, 20), (8, 60), (100, 60))[split % 4]
            drawn, kept, _ = np.split(rng.permutation(len(others)), [samples, samples + controls])
            p = [tail.p_values(score[drawn], score[kept]) for score in scores]
            alarms.append(np.min(p) <= tail.threshold(0.05, samples=samples, measures=2))
    # Galleries are what is independent, so the sampling error is that of six.
    assert np.mean(alarms) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 6) / 4, np.mean(alarms)
