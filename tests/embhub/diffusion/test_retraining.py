"""Training again without one patient: the same recipe and sides, and not a picture of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.diffusion.retraining import retrain_without
from embhub.errors import UsageError
from embhub.phantoms import write_dataset
from tests.support.training import train


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=12, patients=6, normals=0, seed=0)
    return folder


def test_the_patient_is_in_neither_side_of_the_new_training(images: Path, base: Path, tmp_path: Path) -> None:
    first = train(
        images, base=base, device="cpu", token="<cspca>", caption="prostate mri, {}", steps=2, num_vectors=2,
        batch_size=2, seed=1, holdout=0.3, out=tmp_path / "first.safetensors",
    )  # fmt: skip
    patient = first.run.members[0].patient_id
    again = retrain_without(first.embedding.digest, patient, out=tmp_path / "again.safetensors")
    assert again.embedding.digest != first.embedding.digest and (tmp_path / "again.safetensors").exists()
    kept = {sample.path for sample in first.run.members if sample.patient_id != patient}
    assert {sample.path for sample in again.run.members} == kept
    assert again.run.holdout == first.run.holdout, "who was held out stays so"
    assert again.run.settings["recipe"] == first.run.settings["recipe"]
    assert again.run.settings["seed"] != first.run.settings["seed"]
    with pytest.raises(UsageError, match="not in the record"):
        retrain_without(again.embedding.digest, patient, out=tmp_path / "third.safetensors")
    with pytest.raises(UsageError, match="no record"):
        retrain_without("0" * 64, patient, out=tmp_path / "third.safetensors")
