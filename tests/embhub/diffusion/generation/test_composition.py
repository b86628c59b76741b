"""Composition: the stock pipeline untouched where one prompt has all the weight, else the sum that is promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.generation.composition import at_once, composed
from embhub.diffusion.generation.generation import draw
from embhub.diffusion.generation.weighted_prompts import Part
from embhub.errors import UsageError
from tests.support import pipelines
from tests.support.quick import quick

STEPS, GUIDANCE = 3, 3.0
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module", params=quick(["v_prediction"], thorough=["clip", "bert"]))
def pipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("bases") / request.param
    if request.param == "v_prediction":
        pipelines.write(folder, prediction="v_prediction")
    else:
        pipelines.write(folder, encoder=request.param)
    return load_pipeline(folder, device="cpu")


def stock(pipe: Any, prompt: str, seed: int = 4, guidance: float = GUIDANCE, **more: Any) -> Array:
    generator = torch.Generator().manual_seed(seed)
    drawn = pipe(prompt, num_inference_steps=STEPS, guidance_scale=guidance, generator=generator, **more)
    return np.asarray(drawn.images[0], dtype=int)


def mixed(pipe: Any, *parts: tuple[str, float], guidance: float = GUIDANCE, n: int = 1, batch_size: int = 8) -> Array:
    drawn = draw(pipe, parts, n=n, seed=4, steps=STEPS, guidance_scale=guidance, batch_size=batch_size)
    return np.stack([np.asarray(image, dtype=int) for image in drawn])


@torch.no_grad()
@pytest.mark.parametrize("guidance", [float("nan"), float("inf")])
def test_guidance_that_is_no_number_is_refused(pipe: Any, guidance: float) -> None:
    """diffusers would draw without any, and the manifest would hold what is no JSON."""
    with pytest.raises(UsageError, match="guidance of"):
        mixed(pipe, ("mri", 1), guidance=guidance)


def latents_by_hand(pipe: Any, parts: list[tuple[str, float]], guidance: float, seed: int = 4) -> Tensor:
    """The formula, step by step, each prompt in a call of its own."""

    def encode(text: str) -> Tensor:
        hidden: Tensor = pipe.encode_prompt([text], pipe.device, 1, False)[0]
        return hidden

    free, each = encode(""), [(encode(text), weight) for text, weight in parts]
    pipe.scheduler.set_timesteps(STEPS)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) * pipe.scheduler.init_noise_sigma
    for time in pipe.scheduler.timesteps:
        alone = pipe.unet(latents, time, free).sample
        moved = sum(weight * (pipe.unet(latents, time, hidden).sample - alone) for hidden, weight in each)
        latents = pipe.scheduler.step(alone + guidance * moved, time, latents).prev_sample
    return latents


@pytest.mark.parametrize("guidance", [GUIDANCE, 1.0])
def test_all_the_weight_on_one_is_the_plain_pipeline_bit_for_bit(pipe: Any, guidance: float) -> None:
    one, two = "mri a", "mri b and more words"
    assert np.array_equal(mixed(pipe, (one, 1), (two, 0), guidance=guidance)[0], stock(pipe, one, guidance=guidance))
    assert np.array_equal(mixed(pipe, (one, 0), (two, 1), guidance=guidance)[0], stock(pipe, two, guidance=guidance))
    assert np.array_equal(
        mixed(pipe, (one, 0.5), (one, 0.5), guidance=guidance)[0], stock(pipe, one, guidance=guidance)
    )


@pytest.mark.parametrize(
    ("weights", "guidance"),
    quick(
        [((0.3, 0.7), GUIDANCE), ((1, -0.5), GUIDANCE)],
        thorough=[((1, 1), GUIDANCE), ((0.4,), GUIDANCE), ((0.3, 0.7), 1.0)],
    ),
)
def test_the_denoiser_is_moved_by_the_weighted_sum(pipe: Any, weights: tuple[float, ...], guidance: float) -> None:
    parts = [(text, float(weight)) for text, weight in zip(["mri a", "mri b"], weights, strict=False)]
    with composed(pipe, [Part(*part) for part in parts], guidance=guidance) as prompt:
        found = pipe(
            prompt,
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(4),
            output_type="latent",
        ).images
    expected = latents_by_hand(pipe, parts, guidance)
    plain = latents_by_hand(pipe, [("mri a", 1.0)], guidance)
    assert torch.allclose(found, expected, atol=2e-4)
    assert not torch.allclose(found, plain, atol=2e-3), "the test would pass without a composition"


def test_a_mixture_lies_apart_from_its_ends_and_comes_from_the_seed_alone(pipe: Any) -> None:
    parts = [("mri a", 0.3), ("mri b", 0.7)]
    whole, small = mixed(pipe, *parts, n=3), mixed(pipe, *parts, n=3, batch_size=1)
    assert np.abs(whole - small).max() <= 1  # sums of another order may round a last bit differently
    assert np.array_equal(whole, mixed(pipe, *parts, n=3))
    for end in ("mri a", "mri b"):
        assert not np.array_equal(whole[0], stock(pipe, end))


def test_three_prompts_escape_the_length_of_one(pipe: Any) -> None:
    long = " ".join("abcdefgh")
    room = pipe.tokenizer.model_max_length
    texts = [" ".join([long] * (room // 10)), " ".join([long] * (room // 10)) + " z", "mri"]
    assert mixed(pipe, *((text, 1 / 3) for text in texts)).shape == (1, 32, 32, 3)
    with pytest.raises(UsageError, match="this base reads"):
        mixed(pipe, (" ".join(texts), 0.5), ("mri", 0.5))


def test_the_pipeline_is_as_before_afterwards(pipe: Any) -> None:
    before = stock(pipe, "mri a")
    mixed(pipe, ("mri a", 0.3), ("mri b", 0.7))
    with pytest.raises(RuntimeError, match="stopped"), composed(pipe, [Part("a", 2)], guidance=2):
        raise RuntimeError("stopped")
    assert np.array_equal(before, stock(pipe, "mri a"))
    assert not pipe.unet._forward_hooks and not pipe.unet._forward_pre_hooks


def test_weights_off_one_need_guidance(pipe: Any) -> None:
    with pytest.raises(UsageError, match=r"add up to 1\.5 need guidance"):
        mixed(pipe, ("a", 1), ("b", 0.5), guidance=1.0)
    mixed(pipe, ("a", 0.1), ("b", 0.2), ("c", 0.7), guidance=1.0)


def test_a_pipeline_of_another_shape_is_refused() -> None:
    class FluxPipeline:
        unet = torch.nn.Identity()

    with (
        pytest.raises(UsageError, match="FluxPipeline"),
        composed(FluxPipeline(), [Part("a", 0.5), Part("b", 0.5)], guidance=2),  # type: ignore[arg-type]  # no pipeline
    ):
        pass


def test_no_larger_batch_for_more_prompts() -> None:
    assert [at_once(8, [Part(str(i)) for i in range(count)]) for count in (1, 2, 3, 40)] == [8, 5, 4, 1]
