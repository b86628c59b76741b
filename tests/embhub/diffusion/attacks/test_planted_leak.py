"""Planted truth on the built-in base: an embedding overfit on six images is flagged, one that never saw them is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import Embedding
from embhub.audits.report import AuditReport
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.families import resolution
from embhub.diffusion.train import describe
from embhub.diffusion.training import inversion
from embhub.diffusion.training.inversion import ResolvedRecipe
from embhub.images.images import ImageSet, read_images
from embhub.phantoms import draw, random_shape

CAPTION = "prostate mri, {}"
INSIDE, OUTSIDE = 6, 24
OVERFIT = ResolvedRecipe(
    num_vectors=32, steps=100, learning_rate=0.1, batch_size=6, high_noise=0.6, initializer_text="lesion"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """One image each of 30 patients, all kinds of findings: who is trained on is a matter of place alone."""
    folder, generator = tmp_path_factory.mktemp("patients"), np.random.default_rng(5)
    for number in range(INSIDE + OUTSIDE):
        phantom = draw("prostate", random_shape("prostate", generator), generator)
        Image.fromarray(phantom.image).save(folder / f"{number:02d}.png")
    lines = ["path,patient_id", *(f"{number:02d}.png,P{number:02d}" for number in range(INSIDE + OUTSIDE))]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return read_images(folder)


@pytest.fixture(scope="module")
def overfit(images: ImageSet) -> Embedding:
    found = find_base("builtin")
    pipe = load_pipeline(found, device="cpu")
    latents = inversion.encode_images(pipe, torch.from_numpy(images.subset(range(INSIDE)).load(resolution(pipe))))
    fit = inversion.fit(pipe, latents, token="<overfit>", caption=CAPTION, recipe=OVERFIT, seed=0)
    return artifact.build(
        {"emb_params": fit.rows["text_encoder"].numpy()},
        token="<overfit>",
        base=fingerprint.take(found.folder),
        base_name=found.name,
        training=describe(pipe, CAPTION, OVERFIT),
    )


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_an_embedding_overfit_on_six_images_is_flagged(overfit: Embedding, images: ImageSet) -> None:
    inside, outside = range(INSIDE), range(INSIDE, INSIDE + OUTSIDE)
    report = run(overfit, images, inside, outside)
    assert report.headline_result.auc > 0.7
    assert report.verdict == "leak-detected"
    assert (report.members.units, report.unit) == (5, "patient")


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_images_that_it_never_saw_are_not_flagged(overfit: Embedding, images: ImageSet) -> None:
    # In CI test_in_turn.py counts false alarms over many splits. By design one in twenty is flagged by chance. This
    # one is not: audits had AUCs of .44 to .51.
    strangers = (np.random.default_rng(0).permutation(OUTSIDE) + INSIDE).tolist()
    report = run(overfit, images, strangers[: OUTSIDE // 2], strangers[OUTSIDE // 2 :])
    assert report.verdict == "insufficient-evidence"
    assert "not evidence of safety" in report.statement


def run(embedding: Embedding, images: ImageSet, inside: Sequence[int], outside: Sequence[int]) -> AuditReport:
    report = audit(
        embedding, members=images.subset(inside), nonmembers=images.subset(outside), base="builtin", device="cpu"
    )
    assert report.check() == []
    return report
