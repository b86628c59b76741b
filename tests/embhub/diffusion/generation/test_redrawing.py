"""Redrawing: what is not marked stays, bit for bit; what is marked, or all of it, is what the stock pipeline draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, UNet2DConditionModel
from PIL import Image

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import Embedding
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.generation import redrawing
from embhub.diffusion.generation.generation import generate, generators
from embhub.diffusion.generation.redrawing import arrange
from embhub.errors import UsageError
from embhub.images import masks
from tests.support import pipelines
from tests.support.quick import quick

BOX = (8, 8, 12, 9)
Array = np.ndarray[Any, Any]


def nine_channels(folder: Path) -> Path:
    """A base that was made to inpaint: its U-Net is also told the mask and the latents of what is kept."""
    plain = pipelines.build()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        unet = UNet2DConditionModel.from_config(plain.unet.config, in_channels=9).eval()
    parts = {**plain.components, "unet": unet}
    StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=quick(["nine"], thorough=["clip", "bert"]))
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / request.param
    return nine_channels(folder) if request.param == "nine" else pipelines.write(folder, encoder=request.param)


def picture(size: tuple[int, int] = (32, 32), mode: str = "L") -> Image.Image:
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))


def redraw(base: Path, image: Image.Image, prompt: Any = "mri a", **choices: Any) -> list[Array]:
    settings = {"steps": 3, "guidance_scale": 2.0, "device": "cpu", "box": BOX, **choices}
    return [np.asarray(one) for one in redrawing.redraw(image, prompt, base=base, **settings)]


@pytest.mark.parametrize(("size", "mode"), quick([((40, 33), "RGB")], thorough=[((32, 32), "L"), ((90, 120), "L")]))
def test_beyond_the_border_every_pixel_stays(base: Path, size: tuple[int, int], mode: str) -> None:
    image = picture(size, mode)
    box = (size[0] // 2 - 5, size[1] // 2 - 5, 11, 8)
    new, old = redraw(base, image, box=box, border=2)[0], np.asarray(image)
    assert new.shape == old.shape and new.dtype == np.uint8
    mask = masks.from_box(box, size)
    beyond = masks.fade(mask, 2) == 0
    assert np.array_equal(new[beyond], old[beyond])
    assert (new[mask] != old[mask]).mean() > 0.8, "the place itself is drawn anew"


def check_same(found: Array, expected: Array) -> None:
    """Bit for bit on most processors. One without AVX-512 rounds sums otherwise: one level in one of 3,072 values."""
    apart = np.abs(found.astype(int) - expected.astype(int))
    assert apart.max() <= 1 and np.count_nonzero(apart) <= 1 + apart.size // 1000


def test_the_place_shows_what_the_stock_pipeline_draws(base: Path) -> None:
    image = picture(mode="RGB")
    cells = Image.fromarray(masks.to_cells(masks.from_box(BOX, (32, 32)), 32, 4).astype(np.uint8) * 255)
    pipe = load_pipeline(base, device="cpu")
    stock = StableDiffusionInpaintPipeline(**pipe.components, requires_safety_checker=False)
    stock.set_progress_bar_config(disable=True)
    expected = stock(
        "mri a", image=image, mask_image=cells, height=32, width=32, strength=1.0, num_inference_steps=3,
        guidance_scale=2.0, generator=torch.Generator().manual_seed(6),
    ).images[0]  # fmt: skip
    mask = masks.from_box(BOX, (32, 32))
    found = redraw(base, image, seed=6, border=0)[0]
    check_same(found[mask], np.asarray(expected)[mask])


@pytest.mark.parametrize(("strength", "share"), [(None, 0.7), (0.4, 0.4)])
def test_a_whole_image_is_what_the_stock_pipeline_makes_of_an_image(
    strength: float | None, share: float, tmp_path: Path
) -> None:
    base, image = pipelines.write(tmp_path / "tiny"), picture(mode="RGB")
    pipe = load_pipeline(base, device="cpu")
    stock = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    stock.set_progress_bar_config(disable=True)
    expected = stock(
        "mri a", image=image, strength=share, num_inference_steps=10, guidance_scale=2.0,
        generator=torch.Generator().manual_seed(6),
    ).images[0]  # fmt: skip
    found = redraw(base, image, seed=6, steps=10, box=None, strength=strength)[0]
    check_same(found, np.asarray(expected))


def test_a_whole_image_is_all_that_the_base_sees(base: Path) -> None:
    image = picture((40, 33))
    whole = redraw(base, image, box=None, fit="pad")[0]
    assert whole.shape == (33, 40) and (whole != np.asarray(image)).mean() > 0.8
    central = redraw(base, image, box=None)[0]
    assert central.shape == (33, 33) and (central != np.asarray(image)[:, 3:36]).mean() > 0.8


@pytest.mark.thorough
def test_one_seed_one_picture(base: Path) -> None:
    image = picture()
    three = redraw(base, image, n=3, seed=5)
    assert np.array_equal(three, redraw(base, image, n=3, seed=5))
    assert not np.array_equal(three[0], three[1])
    small = redraw(base, image, n=3, seed=5, batch_size=1)
    assert np.abs(np.array(three, int) - np.array(small, int)).max() <= 1
    assert np.abs(three[2].astype(int) - redraw(base, image, seed=7)[0]).max() <= 1


@pytest.mark.thorough
def test_strength_and_size_are_controlled(base: Path) -> None:
    image = picture(mode="RGB")
    little, much = (redraw(base, image, steps=8, strength=share)[0].astype(int) for share in (0.25, 1.0))
    assert not np.array_equal(little, much)
    changed = [(redraw(base, image, border=0, grow=grow)[0] != np.asarray(image)).any(2).sum() for grow in (-3, 0, 4)]
    assert changed[0] < changed[1] < changed[2]


@pytest.mark.thorough
def test_prompts_are_mixed_as_when_drawing(base: Path) -> None:
    image, one, two = picture(), "mri a", "mri b and more"
    assert np.array_equal(redraw(base, image, [(one, 1.0), (two, 0.0)])[0], redraw(base, image, one)[0])
    mixed = redraw(base, image, [(one, 0.5), (two, 0.5)])[0]
    assert not np.array_equal(mixed, redraw(base, image, one)[0])
    assert not np.array_equal(mixed, redraw(base, image, two)[0])


def test_an_embedding_is_put_into_the_place(base: Path) -> None:
    def embed(token: str, seed: int) -> Embedding:
        rows = 3 * np.random.default_rng(seed).normal(size=(2, pipelines.WIDTH))
        return artifact.build(
            {"emb_params": rows}, token=token, base=fingerprint.take(base), base_name="tiny", training={}
        )

    image = picture()
    one = redraw(base, image, "mri {}", embeddings=[embed("<a>", 0)])[0]
    assert not np.array_equal(one, redraw(base, image, "mri {}", embeddings=[embed("<a>", 1)])[0])
    with pytest.raises(UsageError, match="does not mention <a>"):
        redraw(base, image, "mri", embeddings=[embed("<a>", 0)])


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"mask": np.ones((32, 32), bool)}, "a mask or a box"),
        ({"box": (30, 0, 9, 9)}, "not inside the image"),
        ({"box": None, "mask": np.zeros((32, 32), bool)}, "marks nothing"),
        ({"box": None, "mask": np.ones((32, 32), bool)}, "covers the whole image"),
        ({"box": None, "mask": np.ones((31, 32), bool)}, "32 x 31 pixels, its image 32 x 32"),
        ({"grow": -9}, "shrunk by 9 pixels, marks nothing"),
        ({"grow": 40}, "grown by 40 pixels, covers"),
        ({"border": -1}, "border"),
        ({"strength": 0.0}, "no step"),
        ({"strength": 1.1}, "strength"),
        ({"strength": 0.2}, "leaves no step of 3"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_redrawn_is_said(
    choices: dict[str, Any], message: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = pipelines.write(tmp_path_factory.mktemp("bases") / "tiny")
    with pytest.raises(UsageError, match=message):
        redraw(base, picture(), **choices)


def test_a_place_outside_the_central_square() -> None:
    with pytest.raises(UsageError, match="16,0,32,32"):
        arrange(picture((64, 32)), masks.from_box((10, 4, 10, 10), (64, 32)))
    with pytest.raises(UsageError, match="mode RGBA"):
        arrange(picture().convert("RGBA"), masks.from_box(BOX, (32, 32)))


def test_an_image_far_too_small(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="under half"):
        redraw(pipelines.write(tmp_path / "tiny"), picture((12, 12)), box=(2, 2, 4, 4))


def test_large_images_are_redrawn_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = list[int]()

    def watched(seeds: range) -> list[torch.Generator]:
        sizes.append(len(seeds))
        return generators(seeds)

    monkeypatch.setattr(redrawing, "generators", watched)
    monkeypatch.setattr(redrawing, "pictures_at_once", lambda side: {32: 2}[side], raising=False)
    redraw(pipelines.write(tmp_path / "tiny"), picture(), n=3)
    assert sizes == [2, 1]


def test_a_base_that_only_inpaints_draws_no_image(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="embhub generate --from"):
        generate("mri", base=nine_channels(tmp_path / "nine"), steps=1)


def test_a_denoiser_of_other_channels(tmp_path: Path) -> None:
    plain = pipelines.build()
    plain.register_modules(unet=UNet2DConditionModel.from_config(plain.unet.config, in_channels=8))
    plain.save_pretrained(tmp_path / "eight")
    with pytest.raises(UsageError, match="8 input channels"):
        redraw(tmp_path / "eight", picture())


@pytest.mark.parametrize("mask", [np.ones((32, 32, 3), bool), np.ones(32, bool)])
def test_a_mask_of_another_form(base: Path, mask: Any) -> None:
    with pytest.raises(UsageError, match="dimensions"):
        redrawing.redraw(Image.new("L", (32, 32)), "mri", mask=mask, base=base, steps=1)


def test_a_box_of_broken_pixels(base: Path) -> None:
    box: Any = (1.5, 2, 10, 10)
    with pytest.raises(UsageError, match="whole pixels"):
        redrawing.redraw(Image.new("L", (32, 32)), "mri", box=box, base=base, steps=1)
