"""The images of `bench.first_seed`: four tasks, the real images of each, and what embeddings of them drew.

Every embedding is learned once, from the first so many images of a class, and draws a fixed number of images. Drawn
images are kept in a folder of their own, since they take far longer than to judge them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bases.workshop import sampling, xray
from bases.workshop.counting import tensor
from bases.workshop.xray_judge import colour
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.recipes import COMPACT
from embhub.phantoms import Finding, draw, target_finding
from embhub.phantoms.findings import PREFIXES, SIDES, SIZES

EACH, TEST, DRAWN = 100, 200, 50
"""Images of a class: to learn from, of a phantom's test set, drawn by an embedding."""
VECTORS, IMAGES, STEPS, SAMPLING = (4, 16), (100, 10), 100, 16
TOKEN = "<study>"
Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """Images uint8 (N, H, W, 3), labels (N,) with 1 for the finding, and whose each is."""

    images: Pictures
    labels: NDArray[np.int64]
    patients: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One question of yes or no: `learn` (EACH of a class, negatives first), `tune` to set the noise by, `test`.

    `finding` says whether the base had been taught the finding, in words for the table.
    """

    name: str
    base: str
    prefix: str
    finding: str
    learn: Part
    tune: Part
    test: Part


def phantom_task(modality: str, finding: str, drawn: Callable[[np.random.Generator], Finding], seed: int) -> Task:
    """Phantoms with a finding against normal ones of the same modality, one image a patient."""

    def part(count: int, number: int) -> Part:
        rng = np.random.default_rng([seed, number])
        normal = [draw(modality, None, rng).image for _ in range(count)]
        sick = [draw(modality, drawn(rng), rng).image for _ in range(count)]
        labels = np.repeat(np.array([0, 1]), count)
        return Part(np.stack(normal + sick), labels, tuple(f"{number}-{one}" for one in range(2 * count)))

    parts = [part(count, number) for number, count in enumerate((EACH, TEST, TEST))]
    return Task(modality, "builtin", PREFIXES[modality][0], finding, *parts)


def ring(rng: np.random.Generator) -> Finding:
    """For histology, where nothing is held out: a bright ring in the middle, which `builtin` has words for."""
    size, side = SIZES[int(rng.integers(2))], SIDES[int(rng.integers(2))]
    return Finding("ring", "bright", size, "sharp", "middle", side, float(rng.uniform(0.7, 1.0)))


def xray_task(data: Path) -> Task:
    """Bacterial (1) against viral pneumonia (0) on real films; the three parts have no patient in common."""

    def part(name: str, most: int) -> Part:
        films = xray.read(data, name, ("viral pneumonia", "bacterial pneumonia"))
        sick = films.labels == xray.LABELS.index("bacterial pneumonia")
        chosen = np.concatenate([np.flatnonzero(sick == kind)[:most] for kind in (False, True)])
        people = tuple(films.patients[place] for place in chosen)
        return Part(colour(films.images[chosen]), sick[chosen].astype(np.int64), people)

    finding = "bacterial, against viral pneumonia (label held out)"
    parts = (part("site", EACH), part("judge", 10_000), part("test", 10_000))
    return Task("x-ray", "builtin-xray", xray.HEAD, finding, *parts)


def tasks(data: Path) -> Iterator[Task]:
    """The four tasks; the films are left out where they are not there."""
    if (data / "chest-xray").exists():
        yield xray_task(data)
    held = "prostate-cspca", "cxr-effusion"
    yield phantom_task("prostate", "dark oval, held out", lambda rng: target_finding(held[0], rng), 1)
    yield phantom_task("cxr", "bright level, held out", lambda rng: target_finding(held[1], rng), 2)
    yield phantom_task("histology", "bright ring, words taught", ring, 3)


def drawn(task: Task, vectors: int, images: int, folder: Path) -> tuple[Pictures, Pictures]:
    """DRAWN images of each class, negatives first, from embeddings of so many vectors, learned from so many images."""
    return _drawn_class(task, 0, vectors, images, folder), _drawn_class(task, 1, vectors, images, folder)


def is_drawn(task: Task, vectors: int, images: int, folder: Path) -> bool:
    """Whether `drawn` has only to read."""
    return all(_place(task, label, vectors, images, folder).exists() for label in (0, 1))


def _place(task: Task, label: int, vectors: int, images: int, folder: Path) -> Path:
    return folder / f"{task.name}-{label}-{vectors}-{images}.npy"


def _drawn_class(task: Task, label: int, vectors: int, images: int, folder: Path) -> Pictures:
    path = _place(task, label, vectors, images, folder)
    if not path.exists():
        found = _learn_and_draw(task, label, vectors, images)
        path.parent.mkdir(parents=True, exist_ok=True)
        with (half := path.with_suffix(".part")).open("wb") as stream:
            np.save(stream, found)
        half.replace(path)
    pictures: Pictures = np.load(path)
    return pictures


def _learn_and_draw(task: Task, label: int, vectors: int, images: int) -> Pictures:
    base = info(task.base)
    pipe: Pipeline = load_pipeline(base.path, device="cpu")
    pictures = task.learn.images[task.learn.labels == label][:images]
    caption = f"{task.prefix}, {{}}"
    recipe = replace(COMPACT, num_vectors=vectors, steps=STEPS)
    latents = inversion.encode_images(pipe, tensor(pictures))
    rows = inversion.fit(pipe, latents, token=TOKEN, caption=caption, recipe=recipe, seed=0).rows
    with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16("cpu")):
        return sampling.sample_with(
            pipe, rows, caption, DRAWN, guidance=base.recommended["guidance"], steps=SAMPLING, seed=label
        )
