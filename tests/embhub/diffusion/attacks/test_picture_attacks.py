"""Attacks that look at pictures: what comes back from noise, and who is recognised in drawn images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bases.workshop.counting import tensor
from embhub.audits import statistics
from embhub.diffusion.attacks import reidentification
from embhub.diffusion.attacks.evidence import Evidence, Suspect, draw
from embhub.diffusion.attacks.frequencies import STEPS, compare_bands, score_by_frequencies
from embhub.diffusion.attacks.predictions import Denoiser
from embhub.diffusion.attacks.reidentification import score_by_reidentification
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training import inversion
from embhub.phantoms import varied
from tests.support import pipelines

CAPTION, TOKEN = "mri, {}", "<a>"
PATIENTS = 24


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("base")
    return load_pipeline(pipelines.write(folder), device="cpu")


@pytest.fixture(scope="module")
def suspect(pipe: Any) -> Suspect:
    generator = np.random.default_rng(0)
    drawn = [
        varied.draw("prostate", varied.random_shape("prostate", generator), generator, side=64).image
        for _ in range(PATIENTS)
    ]
    images = tensor(np.stack(drawn))
    latents = inversion.encode_images(pipe, F.interpolate(images, (pipelines.RESOLUTION,) * 2, mode="area"))
    rows = {"text_encoder": torch.randn(2, pipelines.WIDTH, generator=torch.Generator().manual_seed(0))}
    units = tuple(f"p{number}" for number in range(PATIENTS))
    return Suspect(
        pipe, latents, draw(pipe, latents.shape[1:], count=4), CAPTION, TOKEN, rows, images=images, units=units
    )


def ask(suspect: Suspect) -> Evidence:
    table = torch.zeros(len(suspect.latents), 1).double()
    return Evidence(table, table, suspect=suspect)


def auc(scores: torch.Tensor, inside: torch.Tensor) -> float:
    return statistics.auc(scores[inside], scores[~inside])


def wave(cycles: float, amount: float = 1.0) -> torch.Tensor:
    """A cosine of so many cycles over 16 columns, (1, 1, 16, 16)."""
    return (amount * torch.cos(2 * torch.pi * cycles * torch.arange(16) / 16)).expand(1, 1, 16, 16)


def test_only_middle_frequencies_count() -> None:
    picture = wave(3)
    assert compare_bands(picture, picture).item() == pytest.approx(1)
    assert compare_bands(picture, picture + wave(7) + 5 * wave(0) + wave(1)).item() == pytest.approx(1, abs=1e-5)
    assert compare_bands(picture, -picture).item() == pytest.approx(-1)
    assert compare_bands(picture, wave(5)).item() == pytest.approx(0, abs=1e-5)
    assert compare_bands(picture, wave(3, 0.5)).item() == pytest.approx(2 * 0.5 / 1.25)


def test_images_that_come_back_are_told_from_those_that_do_not(
    suspect: Suspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denoiser that knows the noise on half of the images: planted, since a tiny base remembers nobody."""
    inside = torch.arange(PATIENTS) % 2 == 0
    noises = suspect.draws.noise

    def knows(self: Denoiser, noisy: torch.Tensor, time: int) -> torch.Tensor:
        wrong = torch.randn(noisy.shape, generator=torch.Generator().manual_seed(time))
        told = noises[len(asked) // STEPS % 2].expand_as(noisy)
        asked.append(time)
        return torch.where(inside[:, None, None, None], told, told + 0.5 * wrong)

    asked: list[int] = []
    monkeypatch.setattr(Denoiser, "noise_in", knows)
    scores = score_by_frequencies(ask(suspect))
    assert scores.shape == (PATIENTS,) and auc(scores, inside) == 1
    assert (scores[inside] > 2 - 1e-3).all()  # both draws of noise come off altogether


def changed(images: torch.Tensor, seed: int) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return reidentification._change(images)


@pytest.mark.thorough
def test_patients_whose_pictures_are_drawn_are_recognised(suspect: Suspect) -> None:
    """Half of the patients are drawn, turned and zoomed; the others are not, so nobody else can be found."""
    assert suspect.images is not None
    for seed in range(2):
        inside = torch.randperm(PATIENTS, generator=torch.Generator().manual_seed(seed)) < PATIENTS // 2
        told = replace(suspect, seed=seed)
        told.drawn.append(changed(suspect.images[inside][:, :1], seed).expand(-1, 3, -1, -1))
        assert auc(score_by_reidentification(ask(told)), inside) > 0.95


@pytest.mark.thorough
def test_drawings_of_strangers_betray_nobody(suspect: Suspect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The net learned from both sides alike, so other labels are told as badly as the true ones."""
    monkeypatch.setattr(reidentification, "STEPS", 20)
    told = replace(suspect)
    told.drawn.append(torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    scores = score_by_reidentification(ask(told))
    generator = torch.Generator().manual_seed(1)
    areas = [auc(scores, torch.randperm(PATIENTS, generator=generator) < PATIENTS // 2) for _ in range(300)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.03)
    assert np.quantile(areas, 0.05) < 0.4  # labels that happen to fit the order are as likely as any


@pytest.mark.thorough
def test_two_images_of_a_patient_are_one_person_to_the_net(suspect: Suspect) -> None:
    """A second picture of each patient, quite another one, is learned to be hers."""
    assert suspect.images is not None
    grey = reidentification._shrink(suspect.images)
    both = torch.cat([grey[:8], -grey[8:16]])
    net = reidentification.learn(both, [f"p{number % 8}" for number in range(16)], seed=0)
    with torch.no_grad():
        known = F.normalize(net(both), dim=1)
    alike = known[:8] @ known[8:].T
    assert (alike.argmax(1) == torch.arange(8)).all()


def test_chance_of_the_net_leaves_no_trace(suspect: Suspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reidentification, "STEPS", 3)
    before = torch.get_rng_state()
    told = replace(suspect)
    told.drawn.append(torch.zeros(2, 3, 64, 64))
    first = score_by_reidentification(ask(told))
    assert torch.equal(first, score_by_reidentification(ask(told)))
    assert torch.equal(before, torch.get_rng_state())
    other = replace(suspect, seed=5)
    other.drawn.append(torch.zeros(2, 3, 64, 64))
    assert not torch.equal(first, score_by_reidentification(ask(other)))


def test_images_are_needed(suspect: Suspect) -> None:
    with pytest.raises(ValueError, match="needs the images"):
        score_by_reidentification(ask(replace(suspect, images=None)))
