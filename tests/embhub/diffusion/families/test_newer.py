"""The families since 2024 beyond what all families share: sizes, guidance, schedulers, autoencoders, old libraries."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.artifact import embedding
from embhub.copies.planted import KINDS
from embhub.diffusion.adaptation.examples import Examples
from embhub.diffusion.adaptation.objectives import PictureObjective
from embhub.diffusion.adaptation.plan import Plan
from embhub.diffusion.bases import pipelines
from embhub.diffusion.bases.pipelines import load_pipeline, size_rule
from embhub.diffusion.bases.sizes import SizeRule, read_rule
from embhub.diffusion.copying.planting import plant
from embhub.diffusion.families import autoencoding, detect, image_size_arguments, resolution
from embhub.diffusion.generation.generation import draw
from embhub.diffusion.generation.sampling import set_scheduler
from embhub.errors import UsageError
from tests.support import families, kandinsky
from tests.support.quick import quick

KLEIN = pytest.param("klein", marks=pytest.mark.thorough)
SETTINGS: dict[str, Any] = {"n": 1, "seed": 3, "steps": 2}


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize(
    ("kind", "multiple", "most"),
    quick([("pixart", 8, 64), ("sana", 32, 64)], thorough=[("zimage", 8, 64), ("qwen-image", 8, 64), ("klein", 8, 64)]),
)
def test_sizes_are_known_before_anything_is_loaded(tmp_path: Path, kind: str, multiple: int, most: int) -> None:
    folder = families.write(tmp_path / kind, kind)
    expected = SizeRule(32, multiple, max(16, multiple), most)
    assert read_rule(folder) == expected
    pipe = load_pipeline(folder, device="cpu")
    assert size_rule(pipe) == expected and resolution(pipe) == 32


@pytest.mark.parametrize("kind", ["pixart", "sana", "zimage", "qwen-image", KLEIN])
def test_another_size_is_drawn_as_asked_for(kind: str) -> None:
    """No bins of sizes, which would draw another one and scale it."""
    pipe: Any = families.build(kind)
    pipe.set_progress_bar_config(disable=True)
    (image,) = draw(pipe, "mri", guidance_scale=1.0, side=64, **SETTINGS)
    assert image.size == (64, 64) and detect(pipe).latents(pipe, torch.zeros(1, 3, 64, 64)).shape[-1] in (8, 16)


def test_guidance_of_qwen_image_is_of_two_prompts() -> None:
    pipe: Any = families.build("qwen-image")
    pipe.set_progress_bar_config(disable=True)
    guided = draw(pipe, "mri", guidance_scale=4.0, **SETTINGS)[0]
    generator = torch.Generator().manual_seed(3)
    stock = pipe(
        prompt="mri", negative_prompt=" ", true_cfg_scale=4.0, num_inference_steps=2, generator=generator,
        **image_size_arguments(pipe),
    ).images[0]  # fmt: skip
    np.testing.assert_array_equal(pixels(guided), pixels(stock))
    plain = draw(pipe, "mri", guidance_scale=1.0, **SETTINGS)[0]
    away = draw(pipe, "mri", guidance_scale=4.0, negative="blurred", **SETTINGS)[0]
    assert not np.array_equal(pixels(guided), pixels(plain)) and not np.array_equal(pixels(guided), pixels(away))


def test_one_step_of_a_schedule_that_ends_above_no_noise_is_refused() -> None:
    """diffusers divides by the distance between its first and last step, and draws black images."""
    with pytest.raises(UsageError, match="cannot sample in one step"):
        draw(families.build("qwen-image"), "mri", n=1, seed=0, steps=1, guidance_scale=1.0)


@pytest.mark.parametrize("kind", ["pixart", "sana", "zimage"])
def test_a_negative_prompt_is_read(kind: str) -> None:
    pipe: Any = families.build(kind)
    pipe.set_progress_bar_config(disable=True)
    plain, away = (
        pixels(draw(pipe, "mri", guidance_scale=8.0, negative=negative, **SETTINGS)[0]) for negative in (None, "zz zz")
    )
    assert not np.array_equal(plain, away)


@pytest.mark.thorough
def test_klein_reads_no_negative_prompt() -> None:
    with pytest.raises(UsageError, match="takes no negative prompt"):
        draw(families.build("klein"), "mri", guidance_scale=4.0, negative="zz", **SETTINGS)


def test_a_flow_by_dpm_solver_takes_only_schedulers_of_flows() -> None:
    pipe: Any = families.build("sana")
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(UsageError, match="ddim cannot replace"):
        set_scheduler(pipe, "ddim")
    set_scheduler(pipe, "unipc")
    assert len(draw(pipe, "mri", guidance_scale=1.0, **SETTINGS)) == 1


@pytest.mark.parametrize("kind", ["sana", "qwen-image", "klein"])
def test_every_autoencoder_serves_copies_and_decoders(kind: str) -> None:
    """The copy check plants what the decoder makes of images; a decoder learns from latents as they are drawn."""
    pipe: Any = families.build(kind)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents, made = detect(pipe).latents(pipe, images), autoencoding.reconstruct(pipe.vae, images)
        assert torch.equal(latents, detect(pipe).latents(pipe, images))
        objective = PictureObjective(pipe, Plan(("vae-decoder",), 1, 1e-3, 1))
        assert objective.measure(Examples(latents, ("", ""), lambda _chosen: made)) < 1e-6
    planted = plant(pipe, images, images)["through the autoencoder"]
    torch.testing.assert_close(planted, made.clamp(-1, 1), atol=1 / 127, rtol=0)


@pytest.mark.parametrize("build", [kandinsky.kandinsky3, kandinsky.decoder])
def test_copies_go_through_an_autoencoder_of_another_name(build: Callable[[], Any]) -> None:
    pipe = build()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    planted = plant(pipe, images, images)
    assert tuple(planted) == KINDS
    with torch.no_grad():
        made = pipe.movq.decode(pipe.movq.encode(images).latents, force_not_quantize=True).sample
    torch.testing.assert_close(planted[KINDS[-1]], made.clamp(-1, 1), atol=1 / 127, rtol=0)


def test_sd35_has_what_sd3_has_not() -> None:
    pipe: Any = families.build("sd35")
    block = pipe.transformer.transformer_blocks[0]
    assert detect(pipe).name == "sd3" and block.attn2 is not None and block.attn.norm_q is not None


def test_a_library_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = dataclasses.replace(detect(families.build("zimage")), pipelines=("ZImageOfNextYearPipeline",))
    monkeypatch.setattr(pipelines, "FAMILIES", (newer,))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "ZImageOfNextYearPipeline"}))
    with pytest.raises(UsageError, match=r"is a ZImageOfNextYearPipeline, which diffusers .* does not have") as refusal:
        load_pipeline(tmp_path, device="cpu")
    assert "--upgrade diffusers" in refusal.value.hint


def test_a_file_of_components_names_them() -> None:
    rows = {"text_encoder": np.ones((2, 16)), "text_encoder_2": np.ones((2, 24))}
    made = embedding.build(rows, token="<a>", base=None, base_name="x", training={})
    assert made.layout == "components-2" and [part.encoder for part in made.vectors] == sorted(rows)
    assert made.metadata["modelspec.architecture"] == "text-conditioned/textual-inversion"
    assert embedding.parse(made.data).layout == "components-2"
