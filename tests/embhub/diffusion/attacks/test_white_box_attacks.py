"""Attacks that ask the denoiser themselves: what they compute is checked where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embhub.diffusion import families
from embhub.diffusion.attacks import QUICK, THOROUGH, nearest, reidentification
from embhub.diffusion.attacks.evidence import Evidence, Suspect, draw, measure_losses
from embhub.diffusion.attacks.gradients import score_by_gradient
from embhub.diffusion.attacks.nearest import score_by_nearest
from embhub.diffusion.attacks.predictions import score_by_proximal_start, score_by_step_error
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.generation import generation
from embhub.diffusion.training import inversion
from embhub.diffusion.training.rows import Rows, starting_rows
from tests.support import pipelines
from tests.support.quick import quick

CAPTION, TOKEN = "mri, {}", "<a>"
KINDS = ("epsilon", "v_prediction", "sample")
EPSILON = pytest.mark.parametrize("pipe", quick(KINDS[:1], thorough=KINDS[1:]), indirect=True)
"""What `families` makes of the other predictions is tried by quicker tests."""


@pytest.fixture(scope="module", params=quick(KINDS[:2], thorough=KINDS[2:]))
def pipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("base")
    return load_pipeline(pipelines.write(folder, prediction=request.param), device="cpu")


@pytest.fixture(scope="module")
def suspect(pipe: Any) -> Suspect:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, pipelines.RESOLUTION, pipelines.RESOLUTION, generator=generator) * 2 - 1
    latents = inversion.encode_images(pipe, images)
    rows = {"text_encoder": torch.randn(3, pipelines.WIDTH, generator=generator)}
    return Suspect(pipe, latents, draw(pipe, latents.shape[1:], count=4), CAPTION, TOKEN, rows, images=images)


def gather(suspect: Suspect) -> Evidence:
    def losses(rows: Any) -> torch.Tensor:
        return measure_losses(
            suspect.pipe, suspect.latents, suspect.draws, caption=suspect.caption, token=suspect.token, rows=rows
        )

    return Evidence(losses(suspect.rows), losses(None), suspect=suspect)


def test_predicted_noise_has_the_error_that_the_loss_says(suspect: Suspect) -> None:
    pipe, latents = suspect.pipe, suspect.latents
    told, times = suspect.condition(suspect.rows), torch.full((6,), 300)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        seen = families.predict_noise(pipe, families.add_noise(pipe, latents, noise, times), told, times)
        stated = families.loss(pipe, families.detect(pipe), latents, told, noise, times)
    alpha = float(pipe.scheduler.alphas_cumprod[300])
    scale = {"epsilon": 1.0, "v_prediction": 1 / alpha, "sample": (1 - alpha) / alpha}
    error = (seen - noise).square().flatten(1).mean(1) * scale[families.prediction_type(pipe)]
    torch.testing.assert_close(error, stated, rtol=1e-3, atol=1e-5)


def test_noise_that_is_added_is_taken_away(suspect: Suspect) -> None:
    noise, times = torch.randn_like(suspect.latents), torch.full((6,), 500)
    noisy = families.add_noise(suspect.pipe, suspect.latents, noise, times)
    back = families.take_noise(suspect.pipe, noisy, noise, times)
    torch.testing.assert_close(back, suspect.latents, rtol=1e-3, atol=1e-4)


@pytest.mark.thorough
@EPSILON
def test_each_gives_a_finite_score_an_image_and_leaves_the_base_as_it_was(
    suspect: Suspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reidentification, "STEPS", 5)
    evidence, before = gather(suspect), weights(suspect.pipe)
    for name, attack in THOROUGH.items():
        scores = attack(evidence)
        assert (scores.shape, scores.dtype) == ((6,), torch.float64), name
        assert torch.isfinite(scores).all() and scores.unique().numel() > 1, name
        assert torch.equal(scores, attack(evidence)), name
    assert all(torch.equal(one, other) for one, other in zip(before, weights(suspect.pipe), strict=True))


def test_losses_alone_are_not_enough_for_them(suspect: Suspect) -> None:
    evidence = replace(gather(suspect), suspect=None)
    for name in THOROUGH.keys() - QUICK.keys():
        with pytest.raises(ValueError, match="needs the embedding"):
            THOROUGH[name](evidence)


def test_a_denoiser_that_always_sees_the_same_noise_betrays_nobody(tmp_path: Path) -> None:
    """SecMI and PIA measure how its answers differ along a path; with no difference every image is at the end alike."""
    pipe = load_pipeline(pipelines.write(tmp_path, prediction="epsilon"), device="cpu")
    with torch.no_grad():
        pipe.unet.conv_out.weight.zero_()
        pipe.unet.conv_out.bias.zero_()
    latents = torch.randn(3, 4, 4, 4)
    rows = {"text_encoder": torch.zeros(1, pipelines.WIDTH)}
    evidence = gather(Suspect(pipe, latents, draw(pipe, latents.shape[1:], count=2), CAPTION, TOKEN, rows))
    assert score_by_proximal_start(evidence).tolist() == [0.0] * 3
    assert score_by_step_error(evidence).abs().max() < 1e-9


def test_the_gradient_names_the_image_that_pulled(suspect: Suspect) -> None:
    """Rows that went one small step where image 2 pulls and the others do not."""
    pipe, family = suspect.pipe, families.detect(suspect.pipe)
    start = starting_rows(pipe, "mri,", 3, generator=torch.Generator(), spread=0.0)
    rows = Rows(pipe, TOKEN, start)
    with rows.active():
        told = family.condition(pipe, [rows.expand(CAPTION.replace("{}", TOKEN))])
        losses = sum(
            families.loss(pipe, family, suspect.latents, told, noise.expand_as(suspect.latents), time.expand(6))
            for noise, time in zip(suspect.draws.noise, suspect.draws.timesteps, strict=True)
        )
        assert isinstance(losses, torch.Tensor)
        (pull,) = torch.autograd.grad(losses.mean() - losses[2], list(rows.parameters()))
    moved = {"text_encoder": start["text_encoder"] + 0.05 * pull / pull.norm()}
    assert score_by_gradient(gather(replace(suspect, rows=moved))).argmax() == 2


@EPSILON
def test_an_image_that_the_embedding_draws_is_nearest(suspect: Suspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "DRAWN", 3)
    drawn = []

    def keep(*words: Any, **choices: Any) -> Any:
        drawn.extend(real(*words, **choices))
        return drawn

    real = generation.draw
    monkeypatch.setattr(nearest, "draw", keep)
    score_by_nearest(gather(replace(suspect)))
    pixels = np.stack([np.asarray(image, np.float32) for image in drawn[:1]]) / 127.5 - 1
    copied = inversion.encode_images(suspect.pipe, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    with_copy = replace(suspect, latents=torch.cat([suspect.latents, copied]))
    scores = score_by_nearest(gather(with_copy))
    assert scores.argmax() == 6 and scores[6] == pytest.approx(0, abs=1e-3)


def weights(pipe: Any) -> list[torch.Tensor]:
    return [
        part.detach().clone() for module in (pipe.unet, pipe.text_encoder, pipe.vae) for part in module.parameters()
    ]
