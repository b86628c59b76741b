"""What a watched training may do, and what is refused: vectors, images, noise, and what comes of the releases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.dp import private_training, settings
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.patients import Patients
from embhub.diffusion.dp.selftest import BrokenMechanismError
from embhub.diffusion.dp.watch import Watch, check_noise, try_eight_images
from embhub.diffusion.training.result import Task
from embhub.options.training import PrivacySettings
from tests.embhub.diffusion.attacks.test_broken_builds import keep_the_copies
from tests.support import pipelines

NAMES = ("a", "a", "b", "c")
UNITS = ((0, 1), (2,), (3,))
SIZE = 2000  # with fewer values, noise that is a quarter more passes now and then


def begin(units: tuple[tuple[int, ...], ...] = UNITS) -> tuple[Watch, Mechanism, Patients]:
    watch = Watch(Mechanism(1.0, 1.0, 2.0, 3), NAMES)
    return watch, watch.mechanism, watch.patients(Patients(torch.zeros(4, 1), units))


def step(mechanism: Mechanism, patients: Patients, *, vectors: int = 3, size: int = SIZE) -> np.ndarray:
    mechanism.sample(len(patients))
    patients.take([0, 1, 2, 3])
    return mechanism.release(mechanism.bound(np.ones((vectors, size))).sum(0))


def test_steps_that_do_what_is_said_pass() -> None:
    watch, mechanism, patients = begin()
    out = torch.from_numpy(step(mechanism, patients) + step(mechanism, patients))
    watch.check(2, out, out)


def test_a_vector_more_than_ids_is_refused() -> None:
    watch, mechanism, patients = begin()
    step(mechanism, patients, vectors=4)
    with pytest.raises(BrokenMechanismError, match="vectors that reach the clip and ids"):
        watch.refuse()


def test_images_of_others_are_refused() -> None:
    watch, mechanism, patients = begin()
    patients.take([0])
    step(mechanism, patients)
    with pytest.raises(BrokenMechanismError, match="images of people who were not sampled"):
        watch.refuse()


@pytest.mark.parametrize("units", [((0,), (1,), (2,), (3,)), ((0, 1, 2), (3,)), ((0, 1), (2,))])
def test_units_that_are_not_the_patients_are_refused(units: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(BrokenMechanismError, match="who has which image"):
        begin(units)[0].refuse()


@pytest.mark.parametrize("share", [0.8, 1.25])
def test_other_noise_than_planned_is_refused(share: float) -> None:
    watch, mechanism, patients = begin()
    other = replace(mechanism, noise_multiplier=share * mechanism.noise_multiplier)
    out = torch.from_numpy(step(other, patients))
    with pytest.raises(BrokenMechanismError, match="noise on the sum"):
        watch.check(1, out, out)


def test_too_few_values_to_tell_of_noise_are_told_together() -> None:
    check_noise(train_often(share=1.0))
    thin = train_often(share=0.35)  # none of them is found out by itself
    with pytest.raises(BrokenMechanismError, match="noise on the sum"):
        check_noise(thin)


def train_often(*, share: float) -> list[Watch]:
    """Twenty trainings that release three values each, with this share of the noise."""
    watches = []
    for _ in range(20):
        watch, mechanism, patients = begin()
        other = replace(mechanism, noise_multiplier=share * mechanism.noise_multiplier)
        out = torch.from_numpy(step(other, patients, size=3))
        watch.check(1, out, out)
        watches.append(watch)
    return watches


def test_what_does_not_follow_from_the_releases_is_refused() -> None:
    watch, mechanism, patients = begin()
    out = torch.from_numpy(step(mechanism, patients))
    with pytest.raises(BrokenMechanismError, match="what was learned from what was released"):
        watch.check(1, out + 1e-4, out)


def test_eight_images_of_one_patient_move_the_sum_by_the_clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pipe = load_pipeline(find_base(pipelines.write(tmp_path / "tiny")), device="cpu")
    asked = settings.resolve(PrivacySettings(2.0, n_public=10))
    recipe = settings.default_recipe(pipe, asked, 10)
    task, mechanism = Task(pipe, "", "<a>", "prostate mri, {}", recipe), Mechanism(0.5, asked.max_grad_norm, 1.0, 5)
    loss = private_training.prepare_rows(task, asked, torch.randn(12, 4, 8, 8), [f"{n}" for n in range(12)])
    assert isinstance(loss, PatientLoss)
    with loss.active():
        try_eight_images(loss, mechanism, torch.randn(1, 4, 8, 8), kind="dp-sgd", votes=None)
        monkeypatch.setattr(PatientLoss, "gradients", keep_the_copies)
        with pytest.raises(BrokenMechanismError, match="eight images"):
            try_eight_images(loss, mechanism, torch.randn(1, 4, 8, 8), kind="dp-sgd", votes=None)
