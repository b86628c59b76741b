"""`--suite mechanism` on a real private training, and on broken code; shadows of a private training are private."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embhub.audits.report import AuditReport
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.attacks.in_turn import REFERENCES
from embhub.diffusion.dp import noise, private_training, selftest
from embhub.diffusion.dp.mechanism import Mechanism, Vectors
from embhub.diffusion.train import TrainResult
from embhub.diffusion.training import inversion
from embhub.errors import UsageError
from embhub.phantoms import write_dataset
from embhub.privacy.claim import PrivacyClaim
from tests.support import pipelines
from tests.support.training import train


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    root = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(root / "home"))
        write_dataset(root / "images", "prostate-cspca", images=40, patients=40, normals=0, seed=0)
        return train(
            root / "images", token="<a>", caption="prostate mri, {}", base=pipelines.write(root / "tiny-base"),
            device="cpu", epsilon=4.0, n_public=10, steps=4, batch_size=5, subspace_dim=4, holdout=0.4,
        )  # fmt: skip


@pytest.fixture(autouse=True)
def home(private: TrainResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(Path(private.run.members[0].path).parents[2] / "home"))


@pytest.mark.thorough
def test_the_code_as_it_is(private: TrainResult) -> None:
    report = audit(private, suite="mechanism")
    assert isinstance(private.embedding.privacy, PrivacyClaim)
    assert report.claim is not None and report.claim.epsilon == private.embedding.privacy.epsilon
    assert (report.verdict, report.unit, report.headline_result.kind) == ("bounded-by-claim", "canary", "attack")
    assert report.members.units + report.nonmembers.units == 1000
    assert AuditReport.parse(report.to_bytes()).check() == []


def test_code_that_forgets_most_of_its_noise(private: TrainResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """In fewer rounds than usual, which are enough for so little noise."""
    monkeypatch.setattr(selftest, "ROUNDS", 20)
    monkeypatch.setattr(selftest, "OWN_ROUNDS", (20, 200))

    def release(self: Mechanism, total: Vectors) -> Vectors:
        loud = total + 0.1 * self.noise_multiplier * self.max_grad_norm * noise.draw_normal(total.size)
        return np.asarray(loud / self.denominator)

    monkeypatch.setattr(Mechanism, "release", release)
    with pytest.raises(selftest.BrokenMechanismError, match="noise"):
        audit(private, suite="mechanism")


@pytest.mark.thorough
def test_without_a_claim_there_is_no_mechanism(private: TrainResult, tmp_path: Path) -> None:
    write_dataset(tmp_path / "images", "prostate-cspca", images=4, patients=4, normals=0, seed=1)
    plain = train(
        tmp_path / "images", token="<b>", caption="prostate mri, {}", device="cpu", steps=2, num_vectors=1,
        base=pipelines.write(tmp_path / "tiny-base"),
    )  # fmt: skip
    with pytest.raises(UsageError, match="claims no differential privacy"):
        audit(plain, suite="mechanism")


@pytest.mark.thorough
def test_shadows_of_a_private_training_are_trained_by_its_mechanism(
    private: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Mechanism] = []

    def keep(*words: Any, **choices: Any) -> dict[str, torch.Tensor]:
        used.append(words[4])
        return real(*words, **choices)

    real = private_training.fit
    monkeypatch.setattr(private_training, "fit", keep)
    monkeypatch.setattr(inversion, "fit", None)
    report = audit(private, suite="standard", shadows=4, device="cpu")
    claim = private.embedding.privacy
    assert isinstance(claim, PrivacyClaim) and len(used) == 4 + REFERENCES
    assert {(one.sample_rate, one.noise_multiplier, one.max_grad_norm, one.denominator) for one in used} == {
        (claim.sampling.q, claim.sigma, claim.clip, claim.denominator)
    }
    assert (report.unit, report.headline, report.check()) == ("patient", "lira-shadows", [])
