"""Each patient's gradient by a compact adapter: what peft's own LoRA gives, and nobody else's concern."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from embhub.diffusion.dp import adapter_gradients
from embhub.diffusion.dp.adapter_gradients import AdapterLoss
from embhub.diffusion.dp.base_trial import BaseTrial
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.patients import Patients
from embhub.diffusion.families import detect, loss, resolution
from embhub.diffusion.training.recipes import ResolvedRecipe
from tests.support import families, pipelines
from tests.support.quick import quick


@pytest.fixture(params=["sd", "sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return pipelines.build() if request.param == "sd" else families.BUILDERS["sdxl"]()


def prepare(pipe: Any, *, images: int = 6, draws: int = 2, **changes: Any) -> AdapterLoss:
    channels = pipe.unet.config.in_channels
    latents = torch.randn(images, channels, 8, 8, generator=torch.Generator().manual_seed(3))
    recipe = ResolvedRecipe(mixed_precision=False, batch_size=6, micro_batch_size=4, **changes)
    people = Patients(latents, tuple((n,) for n in range(images)))
    return AdapterLoss(pipe, people, text="mri, <a>", rank=2, recipe=recipe, noise_draws=draws)


def test_coordinates_are_an_ordinary_lora(pipe: Any) -> None:
    frame = adapter_gradients.lay(pipe.unet, 2)
    point = torch.randn(frame.size, generator=torch.Generator().manual_seed(1))
    rows = frame.rows(point)
    assert torch.allclose(frame.coordinates(rows), point, atol=1e-5)
    assert frame.size == 4 * len(frame.places) and len(rows) == 2 * len(frame.places)
    for name, place in frame.places.items():
        weight = pipe.unet.get_submodule(name).weight
        assert torch.allclose(place.down @ place.down.T, torch.eye(2), atol=1e-5)
        assert float((weight.detach() @ place.down.T).norm(dim=0).max()) == pytest.approx(
            float(torch.linalg.matrix_norm(weight.detach(), 2)), rel=1e-4
        )
        assert float((place.down.T).abs().max(0).values.sub(place.down.T.max(0).values).abs().max()) == 0.0


def test_the_change_is_the_one_that_peft_makes_of_the_file(pipe: Any) -> None:
    made = prepare(pipe, draws=1)
    point = 0.3 * torch.randn(made.size, generator=torch.Generator().manual_seed(1))
    clean, noise = made.patients.latents, torch.randn(6, *made.patients.latents.shape[1:])
    times = torch.full((6,), 500)
    with torch.no_grad(), made.active():
        ours = made.losses(point.expand(6, -1), clean, noise, times, places=range(6))
    plain = _stock(pipe, clean, noise, times)
    pipe.load_lora_weights(made.frame.rows(point))
    assert torch.allclose(ours, _stock(pipe, clean, noise, times), atol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-4)


@torch.no_grad()
def _stock(pipe: Any, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    return loss(pipe, detect(pipe), clean, detect(pipe).condition(pipe, ["mri, <a>"]), noise, times)


@pytest.mark.parametrize("checkpointing", quick([False], thorough=[True]))
def test_the_gradient_of_each_patient_is_that_of_the_patient_alone(pipe: Any, checkpointing: bool) -> None:
    made = prepare(pipe, gradient_checkpointing=checkpointing)
    point = 0.1 * torch.randn(made.size, generator=torch.Generator().manual_seed(6))
    drawn = [0, 0, 1, 1, 2, 2]
    clean = made.patients.take(drawn)
    noise, times = torch.randn(clean.shape), torch.tensor([100, 700, 300, 500, 900, 20])
    leaf = point.expand(3, -1).clone().requires_grad_()
    with made.active():
        (together,) = torch.autograd.grad(made.losses(leaf, clean, noise, times, places=drawn).sum(), leaf)
        for person in range(3):
            part = slice(2 * person, 2 * person + 2)
            alone = point[None].clone().requires_grad_()
            value = made.losses(alone, clean[part], noise[part], times[part], places=drawn[part]).sum()
            (expected,) = torch.autograd.grad(value, alone)
            assert torch.allclose(together[person], expected[0], atol=1e-6, rtol=1e-3)
            assert float(expected.norm()) > 0


def test_the_base_is_as_it_was_afterwards(pipe: Any) -> None:
    before = {name: part.clone() for name, part in pipe.unet.state_dict().items()}
    made = prepare(pipe)
    with made.active():
        found = made.gradients([0, 1], torch.zeros(made.size, dtype=torch.float64))
    assert found.shape == (2, made.size) and found.dtype == torch.float64
    assert all(torch.equal(before[name], part) for name, part in pipe.unet.state_dict().items())
    assert not any(part._forward_hooks for part in pipe.unet.modules())


def test_a_patient_whose_image_is_no_number_counts_as_zero_and_changes_nobody_else(pipe: Any) -> None:
    noiseless, found = Mechanism(1.0, 1e-3, 0.0, 6), []
    for value in (None, float("nan")):
        made = prepare(pipe)
        if value is not None:
            made.patients.latents[1] = value
        made._generator.manual_seed(8)
        with made.active():
            start = torch.zeros(made.size, dtype=torch.float64)
            parts = [noiseless.bound(made.gradients(part, start).numpy()) for part in ([0, 1], [2, 3], [4, 5])]
        found.append(np.concatenate(parts))
    sound, spoilt = found
    assert not spoilt[1].any() and all(row.any() for row in sound)
    others = [0, 2, 3, 4, 5]
    assert np.array_equal(sound[others], spoilt[others])


def test_the_base_is_tried_without_a_patient(pipe: Any) -> None:
    made = prepare(pipe)
    made.patients.latents[:] = float("nan")
    with made.active():
        BaseTrial(made, resolution(pipe)).check()
