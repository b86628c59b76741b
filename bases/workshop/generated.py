"""Images that a study generated, a file of uint8 (N, 128, 128, 3) for each arm and seed; what a published network calls
them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bases.workshop.counting import Figures, Pictures
from bases.workshop.gating import share
from embhub.diffusion.evaluation import classifier, fidelity, fitting, pretrained
from embhub.diffusion.evaluation.cells import Labelled, of_class
from embhub.diffusion.evaluation.regimes import Lesson, balance

NORMAL, PLAIN, WORDS = "generated normals", "embedding", "nearest words"


def place_of(arm: str, seed: int, folder: Path) -> Path:
    """The file of an arm and a seed."""
    return folder / f"{arm.replace(' ', '-').replace(',', '')}-{seed}.npy"


def generated(arm: str, folder: Path) -> list[Labelled]:
    """What each seed of an arm generated, with 1 for the arm's images and 0 for the base's normals of that seed."""
    found: list[Labelled] = []
    for seed in itertools.count():
        parts = [place_of(arm, seed, folder), place_of(NORMAL, seed, folder)]
        if not all(path.exists() for path in parts):
            break
        sick, normal = (np.load(path) for path in parts)
        labels = np.repeat(np.array([0, 1]), [len(normal), len(sick)])
        names = tuple(str(place) for place in range(len(labels)))
        found.append(Labelled(np.concatenate([normal, sick]), labels, names))
    return found


def recognised(
    pool: Labelled, test: Labelled, sets: Mapping[str, Sequence[Labelled]], choices: fitting.Choices
) -> Figures:
    """Which share of images the published network, taught with `pool`, calls the finding; KID to real ones.

    A row for the images of `test` with the finding and without, and for each seed of each arm. The KID in the row of
    real images with the finding is that of the ones in `pool`: those of `test` are what all are compared with.
    """
    chances = balance(pool.labels, np.ones(len(pool), bool), None)
    judge = fitting.fit([Lesson(pool, 0, chances=chances)], choices, seed=0)
    area = classifier.area_under_curve(test.labels == 1, fitting.score(judge, test.images, choices))
    positive = of_class(test, 1).images
    shown: dict[tuple[str, int], Pictures] = {
        ("real, with the finding", 0): positive,
        ("real, without", 0): of_class(test, 0).images,
    }
    for name, made in sets.items():
        shown |= {(name, seed): of_class(one, 1).images for seed, one in enumerate(made)}
    for seed, one in enumerate(sets.get(WORDS, [])):
        shown[NORMAL, seed] = of_class(one, 0).images
    space = fidelity.Features(pretrained.network(choices.device), pool.images)
    compared = shown | {("real, with the finding", 0): of_class(pool, 1).images}
    alike = fidelity.compare(space, {f"{name} {seed}": images for (name, seed), images in compared.items()}, positive)
    rows: list[dict[str, Any]] = []
    for (name, seed), images in shown.items():
        called = fitting.score(judge, images, choices) > 0.5
        kid = round(alike[f"{name} {seed}"].kid, 4)
        rows.append({"images": name, "seed": seed, "n": len(images), **share(called.tolist()), "kid": kid})
    return {"judge_auc": round(area, 3), "recognised": rows}
