"""The sizes of the published bases, and that the how-to's table is what the code computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.base_memory import BASES, measure, table
from tests.support.quick import quick

PAGE = Path(__file__).parents[2] / "docs/how-to/base-families.md"

PUBLISHED = {
    "Stable Diffusion 1.5": (859_520_964, 123_060_480, 83_653_863),
    "Stable Diffusion 2.1": (865_910_724, 340_387_840, 83_653_863),
    "SDXL 1.0": (2_567_463_684, 123_060_480 + 694_659_840, 83_653_863),
    "SD 3 medium": (2_028_328_000, 123_650_304 + 694_659_840 + 4_762_310_656, 83_819_683),
    "FLUX.1-dev": (11_901_408_320, 123_060_480 + 4_762_310_656, 83_819_683),
}
"""Parameters of denoiser, text encoders and autoencoder."""


@pytest.mark.parametrize("name", quick(["SDXL 1.0"], thorough=[name for name in BASES if name != "SDXL 1.0"]))
def test_the_models_have_the_published_sizes(name: str) -> None:
    size = measure(name, steps=())
    assert (size.denoiser, size.encoders, size.autoencoder) == PUBLISHED[name]
    each = 2 if BASES[name][1].half_on_gpu else 4
    assert size.weights == each * sum(PUBLISHED[name])
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.thorough
def test_a_step_is_walked_through_without_memory() -> None:
    size = measure("Stable Diffusion 1.5", steps=((1, True), (1, False), (2, False)))
    saving, one, two = (step.activations for step in size.steps)
    assert one > 2 * 859_520_964  # bfloat16 copies of the denoiser's weights, once
    assert saving < one < two < 2 * one


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_the_page_says_what_is_computed() -> None:
    assert table([measure(name) for name in BASES]) in PAGE.read_text()
