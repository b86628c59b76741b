"""Who trains a base of films, and what is said of a film's pose; on the real films where they are at hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bases.workshop import films, material, xray
from tests.support.tools import DATA, needs_films


@needs_films
def test_only_normal_films_train_and_patients_stay_apart() -> None:
    taught, apart, judged = films.training(DATA), films.held_out(DATA), films.judges(DATA)
    normal = xray.LABELS.index("normal")
    assert (taught.labels == normal).all() and (apart.labels == normal).all()
    parts = xray.split()
    tested = {patient for patient, part in parts.items() if part in ("judge", "test")}
    groups = [set(taught.patients), set(apart.patients), tested]
    assert not any(one & other for number, one in enumerate(groups) for other in groups[:number])
    assert set(judged.patients) <= tested
    assert len(taught.patients) > 10 * len(apart.patients) > 200


@pytest.mark.thorough
@needs_films
def test_captions_tell_the_pose_and_never_pneumonia() -> None:
    pool = material.of_films(DATA).pool(0)
    first = [pool.caption(place, np.random.default_rng(place)).text for place in range(120)]
    later = [pool.caption(place, np.random.default_rng(place)).text for place in range(500, 700)]
    assert not any("pneumonia" in text or "hazy" in text for text in first + later)
    assert not any(word in text for text in first for word in ("mirrored", "turned", "closer", "brighter"))
    assert 0.1 < np.mean(["mirrored" in text for text in later]) < 0.4


def still(**changed: torch.Tensor) -> films.Poses:
    return films.Poses(**{**vars(films.still(1)), **changed})


def test_poses_do_what_their_words_say() -> None:
    picture = torch.zeros(1, 224, 224, dtype=torch.uint8)
    picture[0, 40:60, 40:60] = 255  # upper left
    places = {}
    for name, poses in {
        "still": still(),
        "mirrored": still(mirrored=torch.tensor([True])),
        "turned clockwise": still(turn=torch.tensor([10.0])),
        "closer": still(zoom=torch.tensor([0.1])),
    }.items():
        shown = films.pose(picture, poses)[0, 0] + 1
        rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
        places[name] = (float((shown * rows).sum() / shown.sum()), float((shown * columns).sum() / shown.sum()))
        assert poses.words(0) == ([] if name == "still" else [name])
    row, column = places["still"]
    assert places["mirrored"] == pytest.approx((row, 127 - column), abs=0.5)
    assert places["turned clockwise"][0] < row - 2 and places["turned clockwise"][1] > column + 2
    assert places["closer"][0] < row - 2 and places["closer"][1] < column - 2


def test_light_is_told_and_seen() -> None:
    grey = torch.full((1, 224, 224), 100, dtype=torch.uint8)
    brighter = still(light=torch.tensor([0.1]))
    assert films.pose(grey, brighter).mean() > films.plain(grey).mean() + 0.05
    assert brighter.words(0) == ["brighter"]
