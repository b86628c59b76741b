"""What people hand in by mistake or in bad faith: images."""

from __future__ import annotations

import pytest

from tests.support.refusing import ARTIFACT, CONFIG, PRIVACY, TRAIN, USAGE, Refused, draw
from tests.support.sites import Site


def test_not_an_image(site: Site, refused: Refused) -> None:
    for number in range(3):
        draw(site.folder / f"images/{number}.png", seed=number)
    (site.folder / "images/3.png").write_bytes(b"this is no image")
    refused("train", "images", *TRAIN, code=USAGE)


@pytest.mark.parametrize("number", [0, 1])
def test_no_image_or_a_single_one(site: Site, refused: Refused, number: int) -> None:
    (site.folder / "images").mkdir()
    for index in range(number):
        draw(site.folder / f"images/{index}.png")
    refused("train", "images", *TRAIN, code=USAGE)


def test_a_folder_that_is_not_there(site: Site, refused: Refused) -> None:
    refused("train", "nowhere", *TRAIN, code=USAGE)


def test_sizes_of_which_some_are_too_small(site: Site, refused: Refused) -> None:
    """Other mixtures are cut to their central squares, with a remark."""
    for number, size in enumerate([(64, 64), (80, 96), (16, 16)]):
        draw(site.folder / f"images/{number}.png", seed=number, size=size)
    refused("train", "images", *TRAIN, code=USAGE)


@pytest.mark.parametrize("name", ["Janssen_Maria_1954-03-12", "1.2.840.113619.2.55.3.2831.776", "MRN-00482913"])
def test_names_that_look_like_patients(site: Site, refused: Refused, name: str) -> None:
    for number in range(3):
        draw(site.folder / f"images/{number}.png", seed=number)
    draw(site.folder / f"images/{name}.png", seed=9)
    said = refused("train", "images", *TRAIN, code=PRIVACY)
    assert name not in said


@pytest.mark.parametrize("token", ["<CSPCA>", "cspca", "<cs pca>", "<cspca_1>", "<>", "", "<cspcä>"])
def test_a_token_that_loaders_would_mangle(site: Site, refused: Refused, token: str) -> None:
    draw(site.folder / "images/0.png")
    words = ["--token", token, "--caption", "x, {}", "--out", "out.safetensors"]
    refused("train", "images", *words, code=ARTIFACT)


def test_a_place_that_cannot_hold_the_result(site: Site, refused: Refused) -> None:
    for number in range(3):
        draw(site.folder / f"images/{number}.png", seed=number)
    (site.folder / "taken.safetensors").write_bytes(b"mine")
    (site.folder / "folder.safetensors").mkdir()
    for out, code in (("taken.safetensors", USAGE), ("out.pt", USAGE), ("taken.safetensors/out.safetensors", CONFIG)):
        refused("train", "images", *TRAIN[:-1], out, code=code)
