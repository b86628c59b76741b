"""Which resolutions a base allows: read from a folder as from a loaded pipeline, and refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embhub.diffusion.bases.pipelines import load_pipeline, size_rule
from embhub.diffusion.bases.sizes import SizeRule, check_resolution, read_rule, rule_of
from embhub.diffusion.families import resolution
from embhub.errors import UsageError
from tests.support import families, kandinsky, pipelines
from tests.support.quick import quick

VAE = {"block_out_channels": [1, 1, 1, 1], "sample_size": 1024}


def of(kind: str, **configs: dict[str, Any]) -> SizeRule:
    return rule_of(kind, lambda name: configs[name])


def test_the_rules_of_published_shapes() -> None:
    assert of("sd", vae=VAE, unet={"sample_size": 64}) == SizeRule(512, 8, 256, 1024)
    assert of("sdxl", vae=VAE, unet={"sample_size": 128}) == SizeRule(1024, 8, 512, 2048)
    flow = {"sample_size": 128, "patch_size": 2, "pos_embed_max_size": 192}
    assert of("sd3", vae=VAE, transformer=flow) == SizeRule(1024, 16, 512, 2048)
    assert of("sd3", vae=VAE, transformer={**flow, "pos_embed_max_size": 96}).high == 1536
    assert of("flux", vae=VAE) == SizeRule(1024, 16, 512, 2048)
    assert of("kandinsky3", movq=VAE, unet={}) == SizeRule(1024, 64, 512, 2048)
    assert of("kandinsky22-decoder", movq=VAE, unet={"sample_size": 64}) == SizeRule(512, 64, 256, 1024)
    assert of("kandinsky22-prior", image_encoder={"image_size": 224}) == SizeRule(224, 1, 224, 224)


@pytest.mark.parametrize("wanted", [100, 255, 1032, 4096])
def test_others_are_refused_with_the_rule(wanted: int) -> None:
    with pytest.raises(UsageError, match=f"{wanted} pixels does not fit this base, which was made for 512") as caught:
        SizeRule(512, 8, 256, 1024).choose(wanted)
    assert caught.value.hint == "choose a multiple of 8 from 256 to 1024"


def test_its_own_and_none_are_always_taken() -> None:
    odd = SizeRule(500, 8, 256, 1000)
    assert odd.choose(None) == odd.choose(500) == 500 and odd.choose(512) == 512 and odd.allows(500)
    with pytest.raises(UsageError, match="224 pixels only"):
        SizeRule(224, 1, 224, 224).choose(256)


@pytest.mark.parametrize("kind", quick(["sd", "sd3"], thorough=["sdxl", "flux", "sd35"]))
def test_folder_and_pipeline_agree(kind: str, tmp_path: Path) -> None:
    folder = pipelines.write(tmp_path / "base") if kind == "sd" else families.write(tmp_path / "base", kind)
    pipe = load_pipeline(folder, device="cpu")
    rule = size_rule(pipe)
    assert read_rule(folder) == rule and rule.own == resolution(pipe)


@pytest.mark.parametrize(
    "write",
    quick(
        [kandinsky.write_prior],
        thorough=[kandinsky.write_kandinsky3, kandinsky.write_decoder, kandinsky.write_combined],
    ),
)
def test_kandinsky_folders_agree(write: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = write(tmp_path / "base")
    pipe = load_pipeline(folder, device="cpu")
    rule = size_rule(pipe)
    assert rule.own == resolution(pipe) and read_rule(folder) == rule


def test_a_base_on_this_machine_is_checked_before_it_is_loaded(tmp_path: Path) -> None:
    folder = pipelines.write(tmp_path / "base")
    check_resolution(folder, 48)
    check_resolution("owner/on-the-hub", 12345)
    check_resolution("builtin", None)
    for base in (folder, "builtin"):
        with pytest.raises(UsageError, match="does not fit this base"):
            check_resolution(base, 1024)
