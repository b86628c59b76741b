"""Builds that look right on made-up vectors, and are not: the audit of the mechanism runs what a training runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import Embedding
from embhub.diffusion.attacks import canary_patients
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.bases.pipelines import find_base
from embhub.diffusion.dp import private_training, selftest
from embhub.diffusion.dp.dpsgd import PrivateDescent
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.private_training import PrivateTraining
from embhub.privacy.calibration import calibrate_sigma
from tests.support import pipelines
from tests.support.claims import SELF_TEST, make_claim


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> tuple[Embedding, Path]:
    """An embedding of a tiny base that claims an epsilon of 2 for each of 50 patients, and the base."""
    base = pipelines.write(tmp_path_factory.mktemp("base") / "tiny-base")
    claim = make_claim(
        batch=8, steps=50, clip=1e-3, sigma=calibrate_sigma(epsilon=2.0, delta=1e-5, q=0.16, steps=50),
        n_public=50, self_test=SELF_TEST,
    )  # fmt: skip
    made = artifact.build(
        {"emb_params": np.zeros((1, pipelines.WIDTH))}, token="<a>", base=fingerprint.take(find_base(base).folder),
        base_name="tiny-base", training={"caption": "prostate mri, {}"}, privacy=claim,
    )  # fmt: skip
    return made, base


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(canary_patients, "TRAININGS", 1)
    monkeypatch.setattr(canary_patients, "CANARIES", 16)
    monkeypatch.setattr(canary_patients, "GRADIENTS", 60)


def group_images(units: Any, most: int) -> tuple[tuple[int, ...], ...]:
    """Every image is a patient."""
    return tuple((place,) for place in range(len(units)))


def keep_the_copies(self: PatientLoss, chosen: Any, coordinates: torch.Tensor) -> torch.Tensor:
    """`gradients` without the `[:count]` at its end: as if as many patients had been asked for as are computed."""
    filled = [chosen[min(place, len(chosen) - 1)] for place in range(max(len(chosen), self.at_once))]
    return gradients(self, filled, coordinates)


def halve_the_noise(self: PrivateTraining, loss: Any, mechanism: Any, *rest: Any) -> torch.Tensor:
    return descend(self, loss, replace(mechanism, noise_multiplier=mechanism.noise_multiplier / 2), *rest)


def take_two_steps(self: PrivateTraining, *words: Any) -> torch.Tensor:
    def twice(descent: PrivateDescent) -> None:
        step(descent)
        step(descent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrivateDescent, "step", twice)
        return descend(self, *words)


def start_from_the_mean(self: PrivateTraining, loss: Any, *rest: Any) -> torch.Tensor:
    """Rows start where the bare mean gradient of the first twenty patients points."""
    start = torch.zeros(loss.size, dtype=torch.float64)
    places = range(20)
    found = torch.cat([loss.gradients([place], start) for place in places]).mean(0)

    def begin(descent: PrivateDescent, *words: Any) -> None:
        init(descent, *words)
        descent.coordinates -= found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrivateDescent, "__init__", begin)
        return descend(self, loss, *rest)


gradients: Any = PatientLoss.gradients
descend: Any = PrivateTraining._descend
step: Any = PrivateDescent.step
init: Any = PrivateDescent.__init__

BUILDS = {
    "images and not patients": (private_training, "group", group_images),
    "copies that fill a part": (PatientLoss, "gradients", keep_the_copies),
    "half the noise": (PrivateTraining, "_descend", halve_the_noise),
    "two steps for one": (PrivateTraining, "_descend", take_two_steps),
    "a bare start": (PrivateTraining, "_descend", start_from_the_mean),
}


@pytest.mark.parametrize("build", BUILDS)
def test_a_broken_build_is_caught(build: str, target: tuple[Embedding, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BUILDS[build])
    with pytest.raises(selftest.BrokenMechanismError, match="the private training did not do what it would claim"):
        audit(target[0], suite="mechanism", base=target[1], device="cpu")


def test_the_right_build_passes(target: tuple[Embedding, Path]) -> None:
    report = audit(target[0], suite="mechanism", base=target[1], device="cpu")
    assert report.verdict == "bounded-by-claim" and report.check() == []
    assert sum(map(len, report.attack("mechanism-patients").ranks)) == 16


@pytest.mark.exhaustive
@pytest.mark.thorough
@pytest.mark.parametrize("build", BUILDS)
def test_nine_of_ten_are_caught(build: str, target: tuple[Embedding, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BUILDS[build])
    assert sum(not passes(target) for _ in range(10)) >= 9


@pytest.mark.exhaustive
@pytest.mark.thorough
def test_nineteen_of_twenty_pass(target: tuple[Embedding, Path]) -> None:
    assert sum(passes(target) for _ in range(20)) >= 19


def passes(target: tuple[Embedding, Path]) -> bool:
    try:
        return audit(target[0], suite="mechanism", base=target[1], device="cpu").verdict != "leak-detected"
    except selftest.BrokenMechanismError:
        return False
