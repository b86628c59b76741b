"""Composition and redrawing beyond Stable Diffusion 1 and 2: pooled texts and transformers are mixed as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import detect, encoders
from embhub.diffusion.generation.generation import draw, generate, prepare
from embhub.diffusion.generation.interpolation import interpolate
from embhub.diffusion.generation.redrawing import arrange, redraw, redraw_scenes
from embhub.diffusion.generation.weighted_prompts import Part
from embhub.errors import UsageError
from embhub.images.masks import from_box
from tests.support import families
from tests.support.quick import quick

Array = np.ndarray[Any, Any]
REST = ["sd3", "sd35", "flux", "pixart", "sana", "qwen-image", "klein"]
SETTINGS: dict[str, Any] = {"seed": 4, "steps": 2, "guidance_scale": 3.0}


@pytest.fixture(scope="module", params=quick(["sdxl"], thorough=["sd3", "sd35"]))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.write(tmp_path_factory.mktemp("bases") / request.param, request.param)


def pixels(images: list[Image.Image]) -> Array:
    return np.stack([np.asarray(image, dtype=int) for image in images])


@torch.no_grad()
def test_the_whole_condition_of_each_prompt_is_mixed(folder: Path) -> None:
    """At equal weights the order is of no account; it would be, were a pooled text taken from the first alone."""
    pipe = load_pipeline(folder, device="cpu")
    generator = torch.Generator().manual_seed(4)
    stock = pipe("mri a", num_inference_steps=2, guidance_scale=3.0, generator=generator).images
    one = pixels(draw(pipe, [("mri a", 1.0), ("b", 0.0)], n=1, **SETTINGS))
    other = pixels(draw(pipe, [("mri a", 0.0), ("b", 1.0)], n=1, **SETTINGS))
    assert np.array_equal(one, pixels(stock)) and not np.array_equal(one, other)
    both = [pixels(draw(pipe, [(x, 0.5), (y, 0.5)], n=2, **SETTINGS)) for x, y in (("mri a", "b"), ("b", "mri a"))]
    assert np.abs(both[0] - both[1]).max() <= 1
    assert np.abs(both[0][0] - one[0]).max() > 1 and np.abs(both[0][0] - other[0]).max() > 1


def test_a_place_is_redrawn(folder: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    choices: dict[str, Any] = {"box": (8, 8, 12, 12), "base": folder, "border": 0, "device": "cpu", **SETTINGS}
    if folder.name in ("sd3", "sd35"):
        scene = arrange(image, from_box((8, 8, 12, 12), image.size))
        for attempt in (
            lambda: redraw(image, "mri a", **choices),
            lambda: list(redraw_scenes(prepare(base=folder, steps=2, device="cpu"), [scene], "mri a")),
        ):
            with pytest.raises(UsageError, match="StableDiffusion3Pipeline cannot redraw") as refusal:
                attempt()
            assert "Stable Diffusion 1, 2 or XL" in refusal.value.hint
        return
    new, old = pixels(redraw(image, [Part("mri a", 0.5), Part("b", 0.5)], **choices))[0], pixels([image])[0]
    changed = (new != old).any(-1)
    assert changed[8:20, 8:20].mean() > 0.9 and changed.sum() == changed[8:20, 8:20].sum()


@pytest.mark.parametrize("kind", quick(["zimage"], thorough=["sdxl", *REST]))
def test_rows_turn_between_siblings_in_every_encoder(kind: str, tmp_path: Path) -> None:
    base = families.write(tmp_path / kind, kind)
    pipe = load_pipeline(base, device="cpu")
    widths = {encoder.name: encoder.table.shape[1] for encoder in encoders(pipe)}

    def embed(token: str, shift: float) -> Embedding:
        rows = {
            name: np.random.default_rng(width).normal(size=(2, width)) + shift
            for name, width in ((name, widths[part]) for name, part in LAYOUTS[detect(pipe).layout].items())
        }
        return artifact.build(rows, token=token, base=fingerprint.take(base), base_name=kind, training={})

    one, other = embed("<a>", 0.0), embed("<b>", 0.4)
    series = interpolate("mri {}", embeddings=[one], slerp_to=other, series=3, base=base, device="cpu", **SETTINGS)
    drawn = pixels(list(series.pictures[0]))
    for place, end in ((0, one), (2, other)):
        plain = pixels(generate("mri {}", embeddings=[end], base=base, device="cpu", mark=False, **SETTINGS))
        assert np.abs(drawn[place] - plain[0]).max() <= 1
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], drawn[2])


@pytest.mark.parametrize("kind", quick(["flux"], thorough=["pixart", "sana", "zimage", "klein", "qwen-image"]))
def test_a_loaded_pipeline_of_another_family_mixes_no_prompts(kind: str) -> None:
    pipe: Any = families.build(kind)
    pipe.set_progress_bar_config(disable=True)
    assert len(draw(pipe, [("mri a", 1.0), ("b", 0.0)], n=1, **SETTINGS)) == 1
    with pytest.raises(UsageError, match=f"weighed against each other in a {type(pipe).__name__}") as refusal:
        draw(pipe, [("mri a", 0.5), ("b", 0.5)], n=1, **SETTINGS)
    assert "one prompt of weight 1" in refusal.value.hint
