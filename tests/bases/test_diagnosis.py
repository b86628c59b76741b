"""What is counted of an embedding's images that miss: faults of phantoms, and images denoised from a noise level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bases.workshop import diagnosis
from bases.workshop.judge import Verdict
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import classifier
from embhub.diffusion.training import inversion
from embhub.phantoms.findings import HELD_OUT, near_miss, target_finding
from embhub.phantoms.varied import OVERSIZE


@pytest.mark.parametrize("name", sorted(HELD_OUT))
def test_faults_are_those_of_the_scene(name: str) -> None:
    rng = np.random.default_rng(1)
    for side, sides in (("right", (1, 0)), ("left", (0, 1))):
        one = replace(target_finding(name, rng), side=side)
        assert diagnosis.faults_of((one,), name) == (*sides, 0, 0)
        assert diagnosis.faults_of((replace(one, size=OVERSIZE),), name) == (*sides, 1, 0)
        assert diagnosis.faults_of((one, near_miss(name, rng)), name) == (*sides, 0, 1)
    both = tuple(replace(target_finding(name, rng), side=side) for side in ("right", "left"))
    assert diagnosis.faults_of(both, name) == (1, 1, 0, 0)
    assert diagnosis.faults_of((), name) == (0, 0, 0, 0)


def test_shares_take_each_fault_apart() -> None:
    marks = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], np.float64)
    images = np.zeros((4, 8, 8, 3), np.uint8)

    class Faults(classifier.Classifier):
        def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
            return marks

    faults = Faults(torch.nn.Identity(), diagnosis.FAULTS, exclusive=False)
    verdict = Verdict(np.array([True, True, True, False]), np.array([False, True, True, False]))
    found = diagnosis.shares(lambda _: verdict, faults, images)
    assert found == diagnosis.Shares(0.75, 0.25, both=0.25, too_large=0.25, foreign=0.25, n=4)


@pytest.mark.thorough
def test_images_denoised_from_little_noise_are_the_rebuilt_ones() -> None:
    pipe = load_pipeline(info("builtin").path)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.4
    latents = inversion.encode_images(pipe, images)
    rebuilt = (pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample.clamp(-1, 1) + 1) * 127.5
    far = []
    for level in (100, 999):
        seen = diagnosis.regenerated(pipe, latents, ["chest x-ray"] * 2, level, guidance=1.5, steps=10)
        far.append(np.abs(seen.transpose(0, 3, 1, 2) - rebuilt.detach().numpy()).mean())
    assert far[0] < 8 < far[1]
