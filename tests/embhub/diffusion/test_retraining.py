"""Training again without one patient: the same recipe and sides, and not a picture of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embhub.diffusion.retraining import retrain_without
from embhub.errors import UsageError
from embhub.ledger import budget
from embhub.ledger.books import open_books
from embhub.phantoms import write_dataset
from embhub.privacy.claim import PrivacyClaim
from embhub.site.memory import runs
from tests.support.training import train


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=12, patients=6, normals=0, seed=0)
    return folder


def test_the_patient_is_in_neither_side_of_the_new_training(images: Path, base: Path, tmp_path: Path) -> None:
    first = train(
        images, base=base, device="cpu", token="<cspca>", caption="prostate mri, {}", steps=2, num_vectors=2,
        batch_size=2, seed=1, holdout=0.3, fit="pad", out=tmp_path / "first.safetensors",
    )  # fmt: skip
    patient = first.run.members[0].patient_id
    again = retrain_without(first.embedding.digest, patient, out=tmp_path / "again.safetensors")
    assert again.embedding.digest != first.embedding.digest and (tmp_path / "again.safetensors").exists()
    kept = {sample.path for sample in first.run.members if sample.patient_id != patient}
    assert {sample.path for sample in again.run.members} == kept
    assert again.run.holdout == first.run.holdout, "who was held out stays so"
    assert again.run.settings["recipe"] == first.run.settings["recipe"]
    assert again.run.settings["seed"] != first.run.settings["seed"]
    assert again.embedding.training["fit"] == "pad", "images are fitted as they were"
    with pytest.raises(UsageError, match="not in the record"):
        retrain_without(again.embedding.digest, patient, out=tmp_path / "third.safetensors")
    with pytest.raises(UsageError, match="no record"):
        retrain_without("0" * 64, patient, out=tmp_path / "third.safetensors")


@pytest.mark.parametrize(
    ("noted", "mechanism"),
    [
        ({"study": "a" * 64}, "dp-sgd"),
        ({"ported_from": "b" * 64, "protection": {"epsilon": 4.0}}, "dp-sgd"),
        ({"adapter": {"rank": 4}}, "none"),
        ({"recipe": {}}, "dp-sgd"),
    ],
    ids=["study", "port", "adapter", "protection lost"],
)
def test_no_plain_training_follows_on_what_was_no_plain_training(
    images: Path, base: Path, tmp_path: Path, noted: dict[str, Any], mechanism: str
) -> None:
    """Without its recipe, or the settings of its privacy, a file cannot be trained again; nothing is charged."""
    paths = sorted(path for path in images.rglob("*.png"))
    samples = tuple(runs.Sample(path=str(path), patient_id=f"P{number}") for number, path in enumerate(paths))
    digest, names = "c" * 64, [sample.patient_id for sample in samples]
    facts: dict[str, Any] = {"base": str(base), "caption": "prostate mri, {}", "token": "<cspca>", "vectors": 2}
    runs.save(runs.Run(embedding_digest=digest, members=samples, settings=noted, **facts))
    charge: dict[str, Any] = {"mechanism": mechanism} | ({"q": 0.25, "sigma": 4.0} if mechanism == "dp-sgd" else {})
    with budget.reserve(names, unit="patient", steps=5, **charge) as run:
        run.spend(5)
        run.release(digest)
    with open_books() as books:
        before = books.account().runs
    with pytest.raises(UsageError, match="cannot be trained again here"):
        retrain_without(digest, names[0], out=tmp_path / "again.safetensors")
    with open_books() as books:
        assert books.account().runs == before
    assert not (tmp_path / "again.safetensors").exists()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "chosen",
    [
        {"steps": 6, "batch_size": 5, "noise_draws": 2, "subspace_dim": 8},
        {"mechanism": "votes", "num_candidates": 8, "noise_draws": 1, "subspace_dim": 8},
    ],
    ids=["dp-sgd", "votes"],
)
def test_a_private_training_is_private_again_and_charged(chosen: dict[str, Any], base: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "images", "prostate-cspca", images=24, patients=24, normals=0, seed=0)
    first = train(
        tmp_path / "images", base=base, device="cpu", token="<cspca>", caption="prostate mri, {}", epsilon=4.0,
        n_public=20, **chosen, out=tmp_path / "first.safetensors",
    )  # fmt: skip
    patient = first.run.members[0].patient_id
    again = retrain_without(first.embedding.digest, patient, out=tmp_path / "again.safetensors")
    assert patient not in {sample.patient_id for sample in again.run.members}
    assert len(again.run.members) == len(first.run.members) - 1
    before, after = first.embedding.privacy, again.embedding.privacy
    assert isinstance(before, PrivacyClaim) and isinstance(after, PrivacyClaim)
    assert (after.epsilon, after.delta, after.n_public, after.steps) == (
        before.epsilon, before.delta, before.n_public, before.steps
    )  # fmt: skip
    with open_books() as books:
        assert len(books.account().runs) == 2, "the second training is charged as well"
