"""The learning rate is in units of each encoder's own token table, so that no encoder runs ahead of another."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from embhub.diffusion.training.inversion import LARGE, Inversion, encode_images
from embhub.diffusion.training.recipes import ResolvedRecipe, default_recipe, describe, recorded_recipe, resolve
from embhub.diffusion.training.table_units import token_norms, token_units
from embhub.options.training import Recipe
from tests.support import families, kandinsky, pipelines
from tests.support.quick import quick

RECIPE = replace(LARGE, num_vectors=2, batch_size=2, mixed_precision=False)


def moved(pipe: Any, recipe: ResolvedRecipe, steps: int) -> dict[str, float]:
    """How far the rows of each encoder have gone, as a share of the length that they started with."""
    latents = torch.randn(4, pipe.vae.config.latent_channels, 4, 4, generator=torch.Generator().manual_seed(0))
    training = Inversion(pipe, latents, token="<cspca>", caption="mri, {}", recipe=recipe, seed=0)
    start = training.rows
    with training.active():
        for _ in range(steps):
            training.step()
    return {
        name: float((rows - start[name]).norm(dim=-1).mean() / start[name].norm(dim=-1).mean())
        for name, rows in training.rows.items()
    }


@pytest.mark.thorough
@pytest.mark.rounding
@pytest.mark.parametrize(
    ("kind", "steps"),
    quick([("sd3", 20), ("sd35", 20)], exhaustive=[(kind, 150) for kind in ("sdxl", "sd3", "flux")]),
)
def test_every_encoder_moves_alike_beside_its_table(kind: str, steps: int) -> None:
    shares = moved(families.build(kind), RECIPE, steps)
    print(kind, steps, shares)
    assert max(shares.values()) < 2 * min(shares.values()), shares


@pytest.mark.thorough
def test_one_absolute_rate_leaves_wide_tables_behind() -> None:
    """Why there are units: T5's numbers are 50 times as large as CLIP's."""
    shares = moved(families.build("sd3"), replace(RECIPE, relative_rate=False, learning_rate=5e-3), 20)
    assert max(shares.values()) > 4 * min(shares.values()), shares


@pytest.mark.parametrize("kind", quick(["sd1", "zimage"], thorough=["pixart", "sana", "klein", "qwen-image"]))
def test_the_first_step_is_the_rate_in_units_of_the_table(kind: str) -> None:
    """Where there is one text encoder, none can run ahead: its step is as long as it was told."""
    pipe = families.build(kind)
    units = token_units(pipe)
    width = pipe.text_encoder.get_input_embeddings().weight.shape[1]
    assert units["text_encoder"] == pytest.approx(token_norms(pipe)["text_encoder"] / math.sqrt(width), rel=1e-6)
    training = Inversion(
        pipe, encode_images(pipe, torch.zeros(2, 3, 32, 32)), token="<cspca>", caption="mri, {}",
        recipe=replace(RECIPE, learning_rate=0.1, warm_up=1), seed=0,
    )  # fmt: skip
    before = training.rows["text_encoder"]
    with training.active():
        training.step()
    step = (training.rows["text_encoder"] - before).abs().max()
    assert float(step) == pytest.approx(0.1 * units["text_encoder"], rel=1e-2)  # AdamW's first step is the rate itself


def test_a_base_without_words_has_a_rate_of_its_own() -> None:
    pipe = kandinsky.decoder()
    recipe = default_recipe(pipe)
    assert not recipe.relative_rate and token_units(pipe) == {}
    assert describe(pipe, "{}", recipe)["learning_rate_unit"] == "1"


def test_records_from_before_the_units_keep_their_rate() -> None:
    recorded = asdict(ResolvedRecipe(learning_rate=5e-3))
    assert recorded_recipe(recorded, device="cpu").relative_rate is True
    del recorded["relative_rate"]
    assert recorded_recipe(recorded, device="cpu").relative_rate is False


def test_schedule_noise_and_weighting_can_be_chosen() -> None:
    pipe = pipelines.build()
    recipe = resolve(Recipe(high_noise=0.25, warm_up=3, snr_gamma=5), default_recipe(pipe), device="cpu")
    facts = describe(pipe, "{}", recipe)
    assert facts["timestep_bias"] == "0.25 of each batch from the noisiest 30 %"
    assert facts["schedule"] == "cosine, 3 steps of warm-up" and facts["snr_gamma"] == 5
    at_the_edges = replace(recipe, high_noise=1.0, warm_up=0, steps=1)
    assert moved(pipe, at_the_edges, 1)["text_encoder"] > 0
