"""The mark in the first noise: noise as normal as before, of the seed alone, and only where it can be found again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.generation.generation import draw, generate
from embhub.diffusion.generation.noise_mark import INDEXES, marked, signs, why_unmarked
from embhub.diffusion.generation.sampling import set_scheduler

KEY, OTHER = hashlib.sha256(b"a").hexdigest(), hashlib.sha256(b"b").hexdigest()


@pytest.fixture(scope="module")
def pipe(base: Path) -> Any:
    return load_pipeline(base, device="cpu")


def noise(pipe: Any, key: str | None, *seeds: int) -> torch.Tensor:
    with marked(pipe, key, seeds):
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        made = pipe.prepare_latents(len(seeds), 4, 32, 32, torch.float32, torch.device("cpu"), sources)
    return made / float(pipe.scheduler.init_noise_sigma)


def test_sizes_are_those_of_plain_noise_and_signs_those_of_the_key(pipe: Any) -> None:
    plain, with_mark = noise(pipe, None, 7, 8), noise(pipe, KEY, 7, 8)
    assert torch.equal(plain.abs(), with_mark.abs())
    for row, seed in zip(with_mark, (7, 8), strict=True):
        assert (torch.sign(row).flatten().numpy() == signs(KEY, seed, row.numel())).all()


def test_an_image_does_not_depend_on_its_batch(pipe: Any) -> None:
    assert torch.equal(noise(pipe, KEY, 5)[0], noise(pipe, KEY, 4, 5, 2**48 - 1)[1])


def test_marked_noise_is_normal_and_that_of_two_images_is_not_alike(pipe: Any) -> None:
    many = noise(pipe, KEY, *range(INDEXES)).flatten(1).double().numpy()
    assert stats.kstest(many.ravel(), "norm").pvalue > 1e-4
    alike = np.corrcoef(many) - np.eye(INDEXES)
    expected = stats.norm.isf(0.5e-6 / INDEXES**2) / np.sqrt(many.shape[1])
    assert np.abs(alike).max() < expected, "no two images of one key start from related noise"


def test_another_key_is_another_pattern() -> None:
    assert 1_800 < int((signs(KEY, 1, 4_096) != signs(OTHER, 1, 4_096)).sum()) < 2_300


def test_the_pipeline_is_left_as_it_was(pipe: Any) -> None:
    before = noise(pipe, None, 3)
    with pytest.raises(ZeroDivisionError), marked(pipe, KEY, [3]):
        raise ZeroDivisionError
    assert torch.equal(noise(pipe, None, 3), before) and "prepare_latents" not in vars(pipe)


def test_a_sampler_with_noise_of_its_own_gets_no_mark(base: Path) -> None:
    pipe = load_pipeline(base, device="cpu")
    for name in ("ddpm", "euler-ancestral", "dpm++-sde", "lcm"):
        set_scheduler(pipe, name)
        assert "noise of its own" in str(why_unmarked(pipe))
        assert torch.equal(noise(pipe, KEY, 1), noise(pipe, None, 1))
    for name in ("ddim", "dpm++", "euler", "unipc"):
        set_scheduler(pipe, name)  # type: ignore[arg-type]
        assert why_unmarked(pipe) is None


def test_without_a_mark_images_are_those_of_plain_noise(base: Path, pipe: Any) -> None:
    usual: dict[str, Any] = {"n": 1, "seed": 3, "steps": 2, "guidance_scale": 2.0}
    plain = draw(pipe, "mri a", **usual)[0]
    assert generate("mri a", base=base, device="cpu", mark=False, **usual)[0].tobytes() == plain.tobytes()
    assert generate("mri a", base=base, device="cpu", **usual)[0].tobytes() != plain.tobytes()
