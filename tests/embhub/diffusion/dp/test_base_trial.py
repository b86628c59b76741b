"""A base is tried on a made-up image, all the way from its autoencoder to the gradient, and without a patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from embhub.diffusion.dp.base_trial import AT_THE_END, BaseTrial, make_up
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.patients import Patients
from embhub.diffusion.dp.subspace import lay
from embhub.diffusion.families import Condition
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.prompts import Prompts
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import UsageError
from tests.support import pipelines

NAN = float("nan")
RECIPE = ResolvedRecipe(num_vectors=2, steps=3, batch_size=4, mixed_precision=False, learning_rate=0.1)
NOBODY = Patients(torch.full((2, 4, 8, 8), NAN), ((0,), (1,)))
"""Whose latents have no part in it: they would spoil everything."""


@pytest.fixture
def pipe() -> Any:
    built = pipelines.build()
    for part in (built.unet, built.text_encoder, built.vae):
        part.requires_grad_(False).eval()
    return built


@pytest.fixture
def loss(pipe: Any) -> PatientLoss:
    return embedding(pipe)


def embedding(pipe: Any, prompts: Prompts | None = None) -> PatientLoss:
    frame = lay(pipe, "prostate mri", 2, 8)
    return PatientLoss(
        pipe, NOBODY, frame, token="<a>", caption="mri, {}", recipe=RECIPE, noise_draws=2, prompts=prompts
    )


@contextmanager
def far_out(loss: PatientLoss, furthest: float) -> Iterator[None]:
    """While open, no loss is a number that lies further from the start than this."""
    losses = loss.losses

    def spoilt(leaf: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        return losses(leaf, *rest, **more) + torch.where(leaf.norm(dim=1) > furthest, NAN, 0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "losses", spoilt)
        yield


def test_a_sound_base_passes_whatever_the_patients_are(loss: PatientLoss) -> None:
    with loss.active():
        trial = BaseTrial(loss, 32)
        trial.check(own_steps=3)
        assert trial.remark(torch.zeros(loss.size, dtype=torch.float64)) == ""


def test_for_votes_the_loss_is_tried_and_no_gradient_is_taken(pipe: Any) -> None:
    loss = embedding(pipe)
    with loss.active(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "gradients_of", lambda *_, **__: pytest.fail("a way back needs memory"))
        trial = BaseTrial(loss, 32, by_loss=True)
        trial.check()
        assert trial.remark(torch.zeros(loss.size, dtype=torch.float64)) == ""
        with far_out(loss, 1.0):
            trial.check()
            assert trial.remark(torch.full((loss.size,), 2.0, dtype=torch.float64)) == AT_THE_END
        with far_out(loss, -1.0), pytest.raises(UsageError, match="loss on a made-up image"):
            trial.check()


@pytest.mark.parametrize("component", ["vae.encoder.conv_in", "unet.conv_in"])
@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_a_broken_part_is_found_before_a_patient_is_read(
    loss: PatientLoss, pipe: Any, component: str, bad: float
) -> None:
    name, _, place = component.partition(".")
    getattr(pipe, name).get_submodule(place).bias[0] = bad
    with loss.active(), pytest.raises(UsageError, match=r"made-up image (is not a number|are not numbers)") as refused:
        BaseTrial(loss, 32).check()
    assert refused.value.hint


def test_a_gradient_that_is_no_number_is_found_too(loss: PatientLoss) -> None:
    losses = loss.losses

    def flat(leaf: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        return losses(leaf, *rest, **more) + leaf.square().sum(1).sqrt()  # 0 at the start, without a slope

    with loss.active(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "losses", flat)
        with pytest.raises(UsageError, match="made-up image is not a number"):
            BaseTrial(loss, 32).check()


def test_what_is_lost_on_the_way_is_told_at_the_end(loss: PatientLoss) -> None:
    """The start is sound; where the noised sums have led, nobody has a loss any more."""
    with loss.active(), far_out(loss, 0.5):
        trial = BaseTrial(loss, 32)
        trial.check()
        inside = torch.zeros(loss.size, dtype=torch.float64)
        outside = torch.ones(loss.size, dtype=torch.float64)
        assert [trial.remark(point) for point in (inside, outside, inside)] == ["", AT_THE_END, ""]


def test_steps_of_its_own_are_tried_for_dp_agg(loss: PatientLoss) -> None:
    """The mean of all is close to the start where every patient contributes zero, so the end would tell nothing."""
    with loss.active(), far_out(loss, 0.5):
        trial = BaseTrial(loss, 32)
        with pytest.raises(UsageError, match="not a number within 3 steps") as refused:
            trial.check(own_steps=3)
    assert "learning rate" in refused.value.hint


def test_it_is_the_same_for_everybody_and_takes_no_random_number_of_the_training(loss: PatientLoss) -> None:
    seen: list[torch.Tensor] = []
    find = loss.gradients_of

    def hear(*parts: torch.Tensor, **more: Any) -> torch.Tensor:
        seen.extend((*parts, found := find(*parts, **more)))
        return found

    images = []
    with loss.active(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "gradients_of", hear)
        patch.setattr(loss, "_seed", lambda: pytest.fail("a random number of the training"))
        for _ in range(2):
            images.append(make_up(32))
            BaseTrial(loss, 32).check(own_steps=1)
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert len(first) == 10 and all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert torch.equal(*images) and float(images[0].abs().max()) <= 1 and float(images[0].std()) > 0.1


def test_no_caption_of_a_patient_is_read(pipe: Any) -> None:
    told: list[str] = []
    loss = embedding(pipe, Prompts(("mri of ann, {}", "mri of bob, {}"), (0, 1), own=True))
    condition = loss._family.condition

    def hear(pipe: Pipeline, words: Sequence[str]) -> Condition:
        told.extend(words)
        return condition(pipe, words)

    loss._family = replace(loss._family, condition=hear)
    with loss.active():
        trial = BaseTrial(loss, 32)
        trial.check(own_steps=1)
        trial.remark(torch.zeros(loss.size, dtype=torch.float64))
    assert told and not any("mri of" in word for word in told)


def test_the_image_goes_through_the_autoencoder_by_itself(loss: PatientLoss, pipe: Any) -> None:
    seen: list[torch.Size] = []
    pipe.vae.encoder.register_forward_hook(lambda _module, given, _out: seen.append(given[0].shape))
    assert isinstance(pipe.vae.encoder, nn.Module)
    with loss.active():
        BaseTrial(loss, 32).check()
    assert seen == [(1, 3, 32, 32)]
