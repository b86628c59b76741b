"""The images of `bench.private_images`: real films of patients whom no base saw, and embeddings learned from them.

Hospital A has films with bacterial pneumonia of the part `site`; each embedding is trained on 100 of them, or privately
on those of 100 patients. The judge of likeness learns from films of other patients: pneumonia of the parts `base` and
`judge` (a base learns from normal films alone; patients who told it when to stop are left out), normal ones of `judge`.
Films of `test` test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bases.workshop import xray
from bases.workshop.counting import tensor
from bases.workshop.public_images import is_held_out
from bases.workshop.xray_judge import colour
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
LEARNED = 100
"""Films or patients of an embedding."""
TOKEN = "<study>"  # a word of prompts, no secret


@dataclass(frozen=True)
class Real:
    """Films of the judge of likeness (`pool`) and of the test patients; no two share a patient."""

    pool: Labelled
    test: Labelled


def real(data: Path) -> Real:
    """The films, uint8 (N, 128, 128, 3), with 1 for the finding.

    Raises:
        UsageError: the data is not there.
    """
    pool = [
        _unseen(xray.read(data, "base", (FINDING,))),
        *(xray.read(data, "judge", (kind,)) for kind in (FINDING, NORMAL)),
    ]
    return Real(_join(*pool), _join(xray.read(data, "test", (NORMAL, FINDING))))


def _unseen(films: xray.Films) -> xray.Films:
    """Without patients whose films said when the base's training stops."""
    places = [place for place, patient in enumerate(films.patients) if not is_held_out(patient)]
    return xray.Films(films.images[places], films.labels[places], tuple(films.patients[place] for place in places))


def _join(*parts: xray.Films) -> Labelled:
    labels = np.concatenate([part.labels for part in parts]) == xray.LABELS.index(FINDING)
    patients = tuple(patient for part in parts for patient in part.patients)
    return Labelled(colour(np.concatenate([part.images for part in parts])), labels.astype(np.int64), patients)


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
