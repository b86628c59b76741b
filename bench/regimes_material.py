"""The images of `bench.regimes`: real films of patients whom no base saw, and what embeddings and words drew.

Hospital A has films with bacterial pneumonia of the part `site`; each embedding is trained on 100 of them, or privately
on those of 100 patients. Hospital B has few films, of other patients: pneumonia of the parts `base` and `judge` (a base
learns from normal films alone; patients who told it when to stop are left out), normal ones of `judge`. Films of `test`
test. What sets the noise is of no patient of hospital B and no test patient: normal films that said when the base's
training stops, and films of hospital A.
Everything drawn is kept in a folder, a file for each arm and seed, since drawing takes far longer than teaching.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bases.workshop import sampling, xray
from bases.workshop.counting import tensor
from bases.workshop.public_images import SETS, is_held_out, read_rows, rows_of
from bases.workshop.xray_judge import colour
from embhub.builtin_bases import BaseInfo, info
from embhub.diffusion.adaptation.base_training import poses
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.dp import private_training, settings
from embhub.diffusion.evaluation.cells import Labelled
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.recipes import resolve
from embhub.diffusion.training.result import Task
from embhub.options.training import PrivacySettings, Recipe
from embhub.privacy.choices import Mechanism

BASE, FINDING, NORMAL = "builtin-xray", "bacterial pneumonia", "normal"
CAPTION, NEAREST = f"{xray.HEAD}, {{}}", f"{xray.HEAD}, smooth, low contrast"
LEARNED, DRAWN = 100, 40
"""Films or patients of an embedding; images of a class that each draws."""
TOKEN = "<study>"  # a word of prompts, no secret
PLAIN, WORDS = "embedding", "nearest words"
Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Real:
    """Films of hospital B, of the test patients, and those that set the noise (`tune`); no two share a patient."""

    pool: Labelled
    test: Labelled
    tune: Labelled


def real(data: Path) -> Real:
    """The films, uint8 (N, 128, 128, 3), with 1 for the finding.

    Raises:
        UsageError: the data is not there.
    """
    pool = [
        _unseen(xray.read(data, "base", (FINDING,))),
        *(xray.read(data, "judge", (kind,)) for kind in (FINDING, NORMAL)),
    ]
    return Real(_join(*pool), _join(xray.read(data, "test", (NORMAL, FINDING))), _to_tune(data))


def _unseen(films: xray.Films) -> xray.Films:
    """Without patients whose films said when the base's training stops."""
    places = [place for place, patient in enumerate(films.patients) if not is_held_out(patient)]
    return xray.Films(films.images[places], films.labels[places], tuple(films.patients[place] for place in places))


def _to_tune(data: Path) -> Labelled:
    """Normal films that said when the base's training stops, and as many of hospital A.

    Embeddings may learn from those of hospital A, too.
    """
    children, held_out = SETS[BASE].sources[0], rows_of(data, SETS[BASE], ("held-out",))
    rows = [(source, row) for source, row in held_out if source is children and row["label"] == NORMAL]
    normal = read_rows(data, SETS[BASE], rows)
    grey = ((poses.plain(normal.images)[:, 0] + 1) * 127.5).round().byte().numpy()
    sick = xray.hospital(data, FINDING, len(grey))
    return _join(xray.Films(grey, np.zeros(len(grey), np.int64), normal.patients), sick)


def _join(*parts: xray.Films) -> Labelled:
    labels = np.concatenate([part.labels for part in parts]) == xray.LABELS.index(FINDING)
    patients = tuple(patient for part in parts for patient in part.patients)
    return Labelled(colour(np.concatenate([part.images for part in parts])), labels.astype(np.int64), patients)


def name_of(epsilon: float | None) -> str:
    """An arm of embeddings."""
    return PLAIN if epsilon is None else f"{PLAIN}, epsilon {epsilon:g}"


def drawn(arm: str, seed: int, folder: Path) -> Labelled | None:
    """What an arm drew with a seed: normals of the base's own words, and images of the finding; None before that."""
    parts = [_place(arm, seed, folder), _place(NORMAL, seed, folder)]
    if not all(path.exists() for path in parts):
        return None
    sick, normal = (np.load(path) for path in parts)
    labels = np.repeat(np.array([0, 1]), [len(normal), len(sick)])
    return Labelled(np.concatenate([normal, sick]), labels, tuple(str(place) for place in range(len(labels))))


def draw(
    data: Path, folder: Path, *, embeddings: int, epsilons: tuple[float, ...], device: str = "cpu"
) -> Iterator[str]:
    """Draw what is not there yet: seed by seed, so that what is there at any moment is a smaller study.

    Yields a line for each file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = info(BASE)
    pipe = load_pipeline(base.path, device=device)
    site = xray.read(data, "site", (FINDING,))
    for arms in ((NORMAL, PLAIN, WORDS), *((name_of(epsilon),) for epsilon in epsilons)):
        for seed in range(embeddings):
            for arm in arms:
                path = _place(arm, seed, folder)
                if path.exists():
                    continue
                epsilon = next((one for one in epsilons if arm == name_of(one)), None)
                pictures = _draw(pipe, base, site, arm, seed, epsilon)
                with (half := path.with_suffix(".part")).open("wb") as stream:
                    np.save(stream, pictures)
                half.replace(path)
                yield f"{arm}, seed {seed}"


def _place(arm: str, seed: int, folder: Path) -> Path:
    return folder / f"{arm.replace(' ', '-')}-{seed}.npy"


def _draw(pipe: Pipeline, base: BaseInfo, site: xray.Films, arm: str, seed: int, epsilon: float | None) -> Pictures:
    """Images of a class. The finding's start from the same noise in every arm, the normals' from another."""
    guidance, steps = base.recommended["guidance"], int(base.recommended["steps"])
    first = 10_000 * (seed + 1) + (5_000 if arm == NORMAL else 0)
    if arm in (NORMAL, WORDS):
        prompt = base.prompts[NORMAL] if arm == NORMAL else NEAREST
        with fast(pipe):
            return sampling.sample(pipe, prompt, DRAWN, guidance=guidance, steps=steps, seed=first)
    rows = learn_plainly(pipe, site, seed) if epsilon is None else learn_privately(pipe, site, seed, epsilon)
    with fast(pipe):
        return sampling.sample_with(pipe, rows, CAPTION, DRAWN, guidance=guidance, steps=steps, seed=first)


def fast(pipe: Pipeline) -> torch.autocast:
    """Drawing in bfloat16 where the device has instructions for it."""
    device = pipe.device.type
    return torch.autocast(device, torch.bfloat16, enabled=in_bfloat16(device))


def learn_plainly(pipe: Pipeline, site: xray.Films, seed: int) -> dict[str, torch.Tensor]:
    """Vectors of 100 films of hospital A: each seed takes others of its patients' films."""
    chosen = np.random.default_rng(seed).permutation(len(site.images))[:LEARNED]
    latents = inversion.encode_images(pipe, tensor(colour(site.images[np.sort(chosen)])))
    recipe = inversion.default_recipe(pipe)
    return dict(inversion.fit(pipe, latents, token=TOKEN, caption=CAPTION, recipe=recipe, seed=seed).rows)


def learn_privately(
    pipe: Pipeline, site: xray.Films, seed: int, epsilon: float, *, mechanism: Mechanism = "dp-sgd"
) -> dict[str, torch.Tensor]:
    """The same with a patient as the unit, from all films of 100 patients, with the shipped settings."""
    latents, names = patients_of(pipe, site, seed)
    asked = settings.resolve(PrivacySettings(epsilon, n_public=LEARNED, mechanism=mechanism))
    recipe = resolve(Recipe(), settings.default_recipe(pipe, asked, LEARNED), device=pipe.device.type)
    noise, _ = settings.calibrate(asked, recipe, LEARNED)
    return private_training.fit(Task(pipe, "", TOKEN, CAPTION, recipe), asked, latents, names, noise)


def patients_of(pipe: Pipeline, site: xray.Films, seed: int) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Latents (N, C, h, w) of all films of 100 patients of hospital A, and whose each of them is."""
    people = sorted(set(site.patients))
    members = {people[place] for place in np.random.default_rng(seed).permutation(len(people))[:LEARNED]}
    places = [place for place, patient in enumerate(site.patients) if patient in members]
    latents = inversion.encode_images(pipe, tensor(colour(site.images[places])), alone=True)
    return latents, tuple(site.patients[place] for place in places)


__all__ = [
    "BASE", "DRAWN", "FINDING", "LEARNED", "PLAIN", "WORDS", "Real", "draw", "drawn", "name_of", "patients_of", "real",
]  # fmt: skip
