"""Trainings that share their batches end where they would have ended alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training import batched, inversion
from embhub.diffusion.training.inversion import DivergedError, ResolvedRecipe
from tests.support import pipelines
from tests.support.quick import quick

CAPTION, TOKEN = "mri, {}", "<a>"
RECIPE = ResolvedRecipe(num_vectors=2, steps=6, batch_size=3, mixed_precision=False)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_pipeline(pipelines.write(tmp_path_factory.mktemp("base"), prediction="v_prediction"), device="cpu")


def latents(seed: int, count: int) -> torch.Tensor:
    return torch.randn(count, 4, 4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "recipe",
    quick([RECIPE], thorough=[replace(RECIPE, norm="directional"), replace(RECIPE, snr_gamma=5.0, high_noise=0.0)]),
)
def test_each_is_what_it_would_be_alone(pipe: Any, recipe: ResolvedRecipe) -> None:
    jobs = [(latents(1, 4), 10), (latents(2, 7), 11), (latents(3, 2), 12)]
    together = batched.fit_many(pipe, jobs, token=TOKEN, caption=CAPTION, recipe=recipe)
    for (images, seed), found in zip(jobs, together, strict=True):
        alone = inversion.fit(pipe, images, token=TOKEN, caption=CAPTION, recipe=recipe, seed=seed)
        torch.testing.assert_close(found.rows["text_encoder"], alone.rows["text_encoder"], rtol=1e-3, atol=2e-4)
        assert found.losses == pytest.approx(alone.losses, rel=1e-3)


@pytest.mark.thorough
def test_another_training_s_images_change_nothing(pipe: Any) -> None:
    mine = (latents(1, 4), 10)
    found = [
        batched.fit_many(pipe, [mine, (latents(seed, 5), seed)], token=TOKEN, caption=CAPTION, recipe=RECIPE)[0]
        for seed in (2, 3)
    ]
    torch.testing.assert_close(found[0].rows["text_encoder"], found[1].rows["text_encoder"], rtol=1e-4, atol=1e-5)


def test_the_pipeline_is_as_it_was(pipe: Any) -> None:
    tokenizer = pipe.tokenizer
    broken = (latents(1, 3) * float("nan"), 0)
    with pytest.raises(DivergedError):
        batched.fit_many(pipe, [broken, (latents(2, 3), 1)], token=TOKEN, caption=CAPTION, recipe=RECIPE)
    assert pipe.tokenizer is tokenizer
    assert not [module for module in pipe.text_encoder.modules() if module._forward_hooks]


def test_who_shares_a_batch() -> None:
    assert batched.group(6, replace(RECIPE, batch_size=16)) == [range(3), range(3, 6)]
    shared = batched.group(12, replace(RECIPE, batch_size=16))
    assert shared == [range(3), range(3, 6), range(6, 9), range(9, 12)], "two processes have the same to do"
    assert batched.group(4, replace(RECIPE, batch_size=16)) == [range(4)]
    assert batched.group(2, replace(RECIPE, batch_size=100)) == [range(1), range(1, 2)]
    assert batched.group(3, replace(RECIPE, micro_batch_size=2)) == [range(1), range(1, 2), range(2, 3)]
