"""A base that computes values which are not numbers is stopped before an image is written."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from embhub.diffusion.generation.generation import draw
from embhub.diffusion.generation.redrawing import redraw
from embhub.errors import UsageError
from tests.support import families, pipelines

MESSAGE = "not numbers"


def spoil(part: Any) -> None:
    """Put NaN into the last weight of a model, as an overflow in float16 does to its activations."""
    with torch.no_grad():
        list(part.parameters())[-1].fill_(float("nan"))


@pytest.mark.parametrize("part", ["unet", "vae.decoder"])
def test_generation_is_refused(part: str) -> None:
    pipe = pipelines.build()
    pipe.set_progress_bar_config(disable=True)
    spoil(attrgetter(part)(pipe))
    with pytest.raises(UsageError, match=MESSAGE):
        draw(pipe, "mri", n=1, seed=0, steps=2, guidance_scale=2.0)


def test_one_image_of_several_is_enough() -> None:
    pipe = pipelines.build()
    pipe.set_progress_bar_config(disable=True)
    decode = pipe.vae.decode

    def spoiled(latents: torch.Tensor, *rest: Any, **more: Any) -> Any:
        images = decode(latents, *rest, **more)
        images[0][1, 0, 0, 0] = float("nan")
        return images

    pipe.vae.decode = spoiled
    with pytest.raises(UsageError, match=MESSAGE):
        draw(pipe, "mri", n=2, seed=0, steps=2, guidance_scale=2.0)


def test_redrawing_is_refused(tmp_path: Path) -> None:
    pipe = pipelines.build()
    spoil(pipe.vae.decoder)
    pipe.save_pretrained(tmp_path / "base")
    image = Image.new("RGB", (32, 32), "gray")
    with pytest.raises(UsageError, match=MESSAGE):
        list(redraw(image, "mri a", base=tmp_path / "base", box=(8, 8, 12, 9), steps=2, device="cpu"))


def test_a_black_image_is_an_image() -> None:
    pipe = pipelines.build()
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.zero_()
        pipe.vae.decoder.conv_out.bias.fill_(-5.0)
    (image,) = draw(pipe, "mri", n=1, seed=0, steps=2, guidance_scale=2.0)
    assert image.getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("kind", sorted(families.BUILDERS))
def test_every_weight_of_a_tiny_base_has_a_value(kind: str) -> None:
    """Some versions of diffusers leave weights that only a checkpoint fills; torch puts NaN there in this mode."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        pipe = families.build(kind)
    finally:
        torch.use_deterministic_algorithms(False)
    models = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert models
    assert all(bool(torch.isfinite(weight).all()) for model in models for weight in model.parameters())
