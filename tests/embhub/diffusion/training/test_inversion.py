"""The loop: it learns, it is deterministic, it leaves the base and the pipeline as they were."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training import inversion, table_units
from embhub.diffusion.training.inversion import (
    COMPACT,
    LARGE,
    DivergedError,
    ResolvedRecipe,
    default_recipe,
    encode_images,
    fit,
    mean_loss,
)
from embhub.diffusion.training.schedule import draw_times
from embhub.errors import UsageError
from tests.support import pipelines
from tests.support.quick import quick

QUICK = replace(COMPACT, num_vectors=2, steps=6, batch_size=4)


@pytest.fixture(
    scope="module",
    params=[
        ("bert", "v_prediction"),
        *(pytest.param(kind, marks=pytest.mark.thorough) for kind in (("clip", "epsilon"), ("clip", "v_prediction"))),
    ],
)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    encoder, prediction = request.param
    folder = pipelines.write(tmp_path_factory.mktemp("base"), encoder=encoder, prediction=prediction)
    return load_pipeline(folder)


@pytest.fixture
def pipe(loaded: Any) -> Any:
    """A copy, which a test may change."""
    return copy.deepcopy(loaded)


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def learn(
    pipe: Any, latents: torch.Tensor, recipe: ResolvedRecipe = QUICK, seed: int = 0, **more: Any
) -> inversion.Fit:
    return fit(pipe, latents, token="<cspca>", caption="prostate mri, {}", recipe=recipe, seed=seed, **more)


def state(pipe: Any) -> dict[str, torch.Tensor]:
    parts = {"unet": pipe.unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}
    return {f"{n}.{k}": v.clone() for n, part in parts.items() for k, v in part.state_dict().items()}


def test_the_loss_falls_and_the_base_stays(pipe: Any, latents: torch.Tensor) -> None:
    before, tokenizer = state(pipe), pipe.tokenizer
    processors = {name: type(part) for name, part in pipe.unet.attn_processors.items()}
    recipe = replace(QUICK, steps=80, learning_rate=10.0, mixed_precision=False)
    learned = learn(pipe, latents, recipe)
    after = state(pipe)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert pipe.tokenizer is tokenizer and "<cspca" not in str(tokenizer.get_added_vocab())
    assert {name: type(part) for name, part in pipe.unet.attn_processors.items()} == processors
    assert learned.rows["text_encoder"].shape == (2, pipelines.WIDTH) and len(learned.losses) == 80
    start = learn(pipe, latents, replace(recipe, steps=1, learning_rate=1e-9)).rows
    losses = [
        mean_loss(pipe, latents, token="<cspca>", caption="prostate mri, {}", rows=rows, draws=16)
        for rows in (start, learned.rows)
    ]
    assert losses[1] < losses[0]


def test_one_seed_gives_one_result(pipe: Any, latents: torch.Tensor) -> None:
    one, two, other = (learn(pipe, latents, seed=seed) for seed in (3, 3, 4))
    assert one.losses == two.losses and torch.equal(one.rows["text_encoder"], two.rows["text_encoder"])
    assert not torch.equal(one.rows["text_encoder"], other.rows["text_encoder"])


@pytest.mark.thorough
@pytest.mark.rounding
def test_global_random_numbers_play_no_part(pipe: Any, latents: torch.Tensor) -> None:
    torch.manual_seed(1)
    one = learn(pipe, latents)
    torch.manual_seed(2)
    expected = torch.rand(1)
    torch.manual_seed(2)
    two = learn(pipe, latents)
    assert torch.equal(one.rows["text_encoder"], two.rows["text_encoder"])
    assert torch.equal(torch.rand(1), expected)


def test_an_interrupt_leaves_the_pipeline_whole(pipe: Any, latents: torch.Tensor) -> None:
    tokenizer, table = pipe.tokenizer, pipe.text_encoder.get_input_embeddings()
    processors = [type(part) for part in pipe.unet.attn_processors.values()]

    def stop(step: int, _loss: float) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(pipe, latents, on_step=stop)
    assert pipe.tokenizer is tokenizer and not table._forward_hooks and not table._forward_pre_hooks
    assert [type(part) for part in pipe.unet.attn_processors.values()] == processors


def test_the_text_encoder_runs_once_a_step(pipe: Any, latents: torch.Tensor) -> None:
    sizes = []
    handle = pipe.text_encoder.register_forward_hook(lambda _m, args, _out: sizes.append(len(args[0])))
    learn(pipe, latents)
    handle.remove()
    assert sizes == [1] * QUICK.steps


def test_the_autoencoder_is_not_in_the_loop(pipe: Any, latents: torch.Tensor) -> None:
    pipe.vae = None
    assert len(learn(pipe, latents).losses) == QUICK.steps


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run(pipe: Any, latents: torch.Tensor, number: float) -> None:
    with pytest.raises(UsageError, match="step 1 is not a number"):
        learn(pipe, torch.full_like(latents, number))


@pytest.mark.thorough
@pytest.mark.rounding
def test_min_snr_changes_what_is_learned(pipe: Any, latents: torch.Tensor) -> None:
    low = replace(QUICK, high_noise=0.0, lowest=0.0, batch_size=16)
    plain, weighted = (learn(pipe, latents, replace(low, snr_gamma=gamma)) for gamma in (None, 5.0))
    assert plain.losses != weighted.losses


def test_progress_is_reported_step_by_step(pipe: Any, latents: torch.Tensor) -> None:
    seen: list[tuple[int, float]] = []
    learned = learn(pipe, latents, on_step=lambda step, loss: seen.append((step, loss)))
    assert seen == list(enumerate(learned.losses, start=1))


def test_too_many_vectors(pipe: Any, latents: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="use at most"):
        learn(pipe, latents, replace(QUICK, num_vectors=64))


def test_images_become_latents_in_parts_as_in_one(pipe: Any) -> None:
    images = torch.rand(9, 3, 32, 32) * 2 - 1
    whole = encode_images(pipe, images)
    assert whole.shape == (9, 4, 8, 8)
    assert torch.allclose(whole[8:], encode_images(pipe, images[8:]), atol=1e-5)


@pytest.mark.parametrize("others", quick([2], thorough=[1, 9]))
def test_the_latents_of_an_image_do_not_tell_how_many_others_there_are(others: int) -> None:
    pipe, threads = load_pipeline("builtin", device="cpu"), torch.get_num_threads()
    images = torch.rand(others + 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.set_num_threads(1)
    try:
        alone, first, last = (
            encode_images(pipe, part) for part in (images[1:], images, images[[*range(1, others + 1), 0]])
        )
    finally:
        torch.set_num_threads(threads)
    assert alone.dtype == torch.float32
    assert torch.equal(alone, first[1:]) and torch.equal(alone, last[:-1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_vectors": 0},
        {"num_vectors": 65},
        {"steps": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"snr_gamma": 0.0},
    ],
)
def test_impossible_recipes(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ResolvedRecipe(**wrong)


def test_the_recipe_follows_the_size_of_the_base(pipe: Any) -> None:
    assert default_recipe(pipe) == COMPACT
    pipe.unet.register_to_config(sample_size=128)
    assert default_recipe(pipe) == LARGE


def draw_many(size: int, *, high: float, lowest: float = 0.0, count: int = 300) -> torch.Tensor:
    """Times (count, size) of batches, each from a seed of its own."""
    seeds = (torch.Generator().manual_seed(seed) for seed in range(count))
    return torch.stack([draw_times(size, 1000, seed, high=high, lowest=lowest) for seed in seeds])


def test_times_are_biased_to_noise() -> None:
    times = draw_many(10, high=0.4, lowest=0.1)
    assert times.shape == (300, 10) and times.min() >= 100 and times.max() <= 999
    assert times[:, 6:].min() >= 700
    assert abs(float(times[:, :6].float().mean()) - 550) < 20


@pytest.mark.parametrize("size", [1, 2, 3, 16])
def test_the_share_of_high_noise_holds_for_any_batch_size(size: int) -> None:
    """As the header states it: a batch that the share gives no whole image of has one by chance."""
    count = 6000 // size
    noisy = float((draw_many(size, high=0.4, count=count) >= 700).float().mean())
    assert noisy == pytest.approx(0.4 + 0.6 * 0.3, abs=4 * 0.5 / 6000**0.5)
    edges = draw_many(size, high=1.0, count=20), draw_many(size, high=0.0, count=20)
    assert edges[0].min() >= 700 and edges[1].shape == (20, size)


@pytest.mark.thorough
@pytest.mark.rounding
def test_rows_of_a_directional_training_keep_the_length_of_the_bases_words(pipe: Any, latents: torch.Tensor) -> None:
    usual = table_units.token_norms(pipe)["text_encoder"]
    table = pipe.text_encoder.get_input_embeddings().weight
    assert usual == pytest.approx(float(table.norm(dim=1).mean()))
    learned = learn(pipe, latents, replace(QUICK, norm="directional", learning_rate=1.0, relative_rate=False))
    free = learn(pipe, latents, replace(QUICK, learning_rate=1.0, relative_rate=False))
    assert torch.allclose(learned.rows["text_encoder"].norm(dim=1), torch.tensor(usual), rtol=1e-5)
    assert float(free.rows["text_encoder"].norm(dim=1).max()) > 2 * usual
    start = learn(pipe, latents, replace(QUICK, norm="directional", learning_rate=1e-9)).rows["text_encoder"]
    assert float(torch.cosine_similarity(start, learned.rows["text_encoder"]).max()) < 0.9  # they did turn


@pytest.mark.thorough
@pytest.mark.rounding
@pytest.mark.parametrize(
    "saving", quick([{"micro_batch_size": 3}], thorough=[{"micro_batch_size": 1}, {"gradient_checkpointing": True}])
)
def test_saving_memory_learns_the_same(pipe: Any, latents: torch.Tensor, saving: dict[str, Any]) -> None:
    recipe = replace(QUICK, mixed_precision=False, snr_gamma=5.0)
    whole, saved = learn(pipe, latents, recipe), learn(pipe, latents, replace(recipe, **saving))
    assert saved.losses == pytest.approx(whole.losses, rel=1e-5)
    assert torch.allclose(saved.rows["text_encoder"], whole.rows["text_encoder"], atol=1e-3)
    assert not pipe.unet.is_gradient_checkpointing


def test_a_micro_batch_keeps_the_text_encoder_at_once_a_step(pipe: Any, latents: torch.Tensor) -> None:
    sizes = []
    handle = pipe.unet.register_forward_hook(lambda _m, args, _out: sizes.append(len(args[0])))
    calls: list[None] = []
    other = pipe.text_encoder.register_forward_hook(lambda *_: calls.append(None))
    learn(pipe, latents, replace(QUICK, micro_batch_size=3, steps=2))
    handle.remove()
    other.remove()
    assert sizes == [3, 1, 3, 1] and len(calls) == 2


@pytest.mark.thorough
@pytest.mark.rounding
@pytest.mark.parametrize("norm", quick(["free"], thorough=["directional"]))
def test_a_state_is_all_that_the_rest_depends_on(pipe: Any, latents: torch.Tensor, norm: Any) -> None:
    recipe = replace(QUICK, norm=norm)
    states: list[inversion.State] = []
    whole = learn(pipe, latents, recipe, watch=lambda training: states.append(training.state()))
    assert [len(state.losses) for state in states] == list(range(QUICK.steps + 1))
    for state in (states[0], states[1], states[4], states[-1]):
        rest = learn(pipe, latents, recipe, resume=state)
        assert rest.losses == whole.losses and torch.equal(rest.rows["text_encoder"], whole.rows["text_encoder"])


def test_a_state_of_other_rows_is_refused(pipe: Any, latents: torch.Tensor) -> None:
    states: list[inversion.State] = []
    learn(pipe, latents, replace(QUICK, steps=1), watch=lambda training: states.append(training.state()))
    with pytest.raises(UsageError, match="other rows"):
        learn(pipe, latents, replace(QUICK, num_vectors=3), resume=states[-1])


@pytest.mark.parametrize("wrong", [{"micro_batch_size": 0}, {"norm": "fixed"}])
def test_impossible_ways_of_computing(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ResolvedRecipe(**wrong)


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1e30, "the loss at step 1 is not a number"),
        # The loss is about 1e32 and stays finite to the end; AdamW squares the gradient, which float32 cannot hold.
        (1e16, "the gradient at step 1 is not a number"),
    ],
)
@pytest.mark.parametrize("mixed", [False, True])
def test_what_is_no_number_ends_the_training_before_the_rows_move(
    pipe: Any, latents: torch.Tensor, factor: float, said: str, mixed: bool
) -> None:
    """The denoiser's answer is so large that it overflows in any processor's arithmetic."""
    with torch.no_grad():
        pipe.unet.conv_out.weight *= factor
    training = inversion.Inversion(
        pipe, latents, token="<cspca>", caption="mri, {}", recipe=replace(QUICK, mixed_precision=mixed), seed=0
    )
    before = training.rows["text_encoder"].clone()
    with training.active(), pytest.raises(DivergedError, match=said):
        training.step()
    assert torch.equal(training.rows["text_encoder"], before) and training.losses == []
