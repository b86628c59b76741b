"""Training with differential privacy, and audits, on the families that have several encoders or are flows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from embhub.artifact import embedding
from embhub.artifact.embedding import LAYOUTS
from embhub.diffusion.attacks import QUICK, THOROUGH, nearest, reidentification
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.attacks.evidence import Evidence, Suspect, draw, measure_losses
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.dp import selftest
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.patients import Patients
from embhub.diffusion.dp.subspace import lay
from embhub.diffusion.families import detect, encoders, loss
from embhub.diffusion.generation.loading import load_into
from embhub.diffusion.training.inversion import encode_images
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.phantoms import write_dataset
from embhub.privacy import epsilon as epsilons
from embhub.privacy import self_test
from embhub.privacy.claim import PrivacyClaim
from tests.support import families
from tests.support.quick import quick
from tests.support.training import train

CHEAP = ("pixart", "sana", "zimage", "qwen-image")
KINDS = quick(["sd3"], thorough=["bert", "flux", "zimage"], exhaustive=["sdxl", "sd2", "sd35", "pixart", "sana",
              "qwen-image", "klein"])  # fmt: skip
"""SD 3 has three encoders; one has a text encoder that is not CLIP, two are flows, one of them with a chat model.

Training and gradients of every family have tests of their own: `test_learning.py`, and below.
"""
CAPTION = "prostate mri, {}"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=26, patients=23, normals=0, seed=0)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.write(tmp_path_factory.mktemp("bases") / request.param, request.param)


@pytest.fixture
def fewer_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A self-test of fewer canaries: its own tests run the whole."""
    monkeypatch.setattr(self_test, "CANARIES", 200)
    monkeypatch.setattr(self_test, "DIMENSION", 1024)
    monkeypatch.setattr(selftest, "ROUNDS", 20)
    monkeypatch.setattr(selftest, "OWN_ROUNDS", (20, 200))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "base", quick(["zimage"], exhaustive=["sd3", *(kind for kind in families.NEWER if kind != "zimage")]), indirect=True
)
@pytest.mark.usefixtures("fewer_canaries")
def test_private_means_of_patients(images: Path, base: Path) -> None:
    """The other mechanism: an embedding a patient, and noise on their mean."""
    asked: dict[str, Any] = {
        "epsilon": 4.0,
        "n_public": 20,
        "steps": 1,
        "noise_draws": 1,
        "subspace_dim": 4,
        "num_vectors": 1,
    }
    made = train(images, token="<a>", caption=CAPTION, base=base, device="cpu", mechanism="dp-agg", **asked)
    claim = made.embedding.privacy
    assert isinstance(claim, PrivacyClaim) and (claim.mechanism, claim.steps) == ("dp-agg", 1) and claim.epsilon <= 4.0
    assert set(made.embedding.tensors) == set(LAYOUTS[detect(load_pipeline(base, device="cpu")).layout])


@pytest.mark.thorough
@pytest.mark.usefixtures("fewer_canaries")
def test_private_training_writes_its_claim_and_loads(images: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    asked: dict[str, Any] = {
        "epsilon": 4.0,
        "n_public": 20,
        "steps": 3,
        "batch_size": 5,
        "noise_draws": 1,
        "subspace_dim": 4,
    }
    train(images, token="<a>", caption=CAPTION, base=base, device="cpu", out=out, **asked)
    written = embedding.read(out)
    claim = written.privacy
    assert isinstance(claim, PrivacyClaim) and (claim.mechanism, claim.unit, claim.steps) == ("dp-sgd", "patient", 3)
    assert claim.epsilon == epsilons.compute(claim.parameters[0], delta=1e-5).epsilon <= 4.0
    pipe = load_pipeline(base, device="cpu")
    assert load_into(pipe, written) == "<a>"


@pytest.mark.thorough
def test_an_audit_by_the_quick_suite(tmp_path: Path, base: Path) -> None:
    write_dataset(tmp_path / "images", "prostate-cspca", images=12, patients=12, normals=0, seed=0)
    made = train(tmp_path / "images", token="<a>", caption=CAPTION, base=base, device="cpu", holdout=0.5, steps=2,
                 num_vectors=2, batch_size=2, seed=1)  # fmt: skip
    report = audit(made, device="cpu")
    assert set(report.tried) == {*QUICK, "blind"}
    assert report.check() == [] and report.artifact.sha256 == made.embedding.digest


@pytest.mark.thorough
def test_every_attack_tells_images_apart(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gives finite scores that differ between images, and is moved by the rows of every encoder."""
    monkeypatch.setattr(nearest, "DRAWN", 2)
    monkeypatch.setattr(reidentification, "STEPS", 5)
    monkeypatch.setattr(nearest, "STEPS", 2)  # with one, a flow with `shift_terminal` has no noise that is a number
    pipe = load_pipeline(base, device="cpu")
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = encode_images(pipe, pictures)
    draws = draw(pipe, latents.shape[1:], count=2)

    def evidence(left_out: str = "") -> Evidence:
        generator = torch.Generator().manual_seed(1)
        rows = {part.name: torch.randn(2, part.table.shape[1], generator=generator) for part in encoders(pipe)}
        rows = {name: part * 0 if name == left_out else part for name, part in rows.items()}
        told: dict[str, Any] = {"caption": CAPTION, "token": "<a>"}
        losses = [measure_losses(pipe, latents, draws, rows=given, **told) for given in (rows, None)]
        return Evidence(losses[0], losses[1], suspect=Suspect(pipe, latents, draws, rows=rows, images=pictures, **told))

    whole, parts = evidence(), [evidence(encoder.name) for encoder in encoders(pipe)]
    for name, attack in THOROUGH.items():
        scores = attack(whole)
        assert scores.shape == (4,) and torch.isfinite(scores).all(), name
        assert len(set(scores.tolist())) == 4, name
        assert all(not torch.equal(scores, attack(part)) for part in parts), name


@pytest.mark.parametrize(
    "base",
    quick(["sdxl"], thorough=["flux", "sd3", *CHEAP, "klein", "sd35"]),
    indirect=True,
)
def test_the_gradient_of_each_patient_is_its_own(base: Path) -> None:
    """One backward pass for all gives what one for each gives, through every encoder."""
    pipe = load_pipeline(base, device="cpu")
    shape = encode_images(pipe, torch.zeros(1, 3, 32, 32)).shape[1:]
    latents = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    frame = lay(pipe, "mri", 2, 4)
    assert set(frame.start) == set(detect(pipe).encoders)
    recipe = ResolvedRecipe(num_vectors=2, batch_size=3, mixed_precision=False)
    patients = Patients(latents, ((0,), (1,), (2,)))
    task = PatientLoss(pipe, patients, frame, token="<a>", caption="mri, {}", recipe=recipe, noise_draws=1)
    clean, noise, times = latents, torch.randn_like(latents), torch.tensor([100, 500, 900])
    leaf = torch.zeros(3, frame.size, requires_grad=True)
    with task.active():
        (together,) = torch.autograd.grad(task.losses(leaf, clean, noise, times).sum(), leaf)
        for patient in range(3):
            alone = torch.zeros(1, frame.size, requires_grad=True)
            own = slice(patient, patient + 1)
            error = loss(pipe, detect(pipe), clean[own], task._condition(alone), noise[own], times[own])
            (gradient,) = torch.autograd.grad(error.sum(), alone)
            torch.testing.assert_close(together[own], gradient, rtol=1e-3, atol=1e-6)
    first = 0
    for name, rows in frame.start.items():  # the coordinates of every encoder have a hand in it
        count = len(rows) * len(frame.directions[name])
        assert bool((together[:, first : first + count].abs() > 0).any()), name
        first += count
