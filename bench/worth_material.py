"""The images of `bench.worth`: real ones of patients whom no base saw, and what embeddings and words generated.

Hospital A has the images with the finding of the part `site`; each embedding is trained on 100 of them, or privately on
those of 100 patients. Hospital B has those of `judge`. Those of `test` test. Everything generated is kept in a folder,
a file for each arm and seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bases.workshop import sampling
from bases.workshop.counting import Pictures, tensor
from bases.workshop.gating import nearest_words
from bases.workshop.generated import NORMAL, PLAIN, WORDS, place_of
from bases.workshop.public_images import SETS, rows_of
from bases.workshop.xray import open_square
from embhub.diffusion.adaptation.base_training import pixel_words
from embhub.diffusion.adaptation.base_training.latent_pictures import SIDE
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.dp import private_training, settings
from embhub.diffusion.evaluation.cells import Labelled
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.recipes import resolve
from embhub.diffusion.training.result import Task
from embhub.options.training import PrivacySettings, Recipe
from embhub.privacy.claim import is_round

LEARNED, TOKEN = 100, "<study>"  # a word of prompts, no secret
SAMPLING: dict[str, Any] = {"steps": 20, "at_once": 100}


@dataclass(frozen=True)
class Modality:
    """A line of the settings file: the set of public images, one of its folders, the finding, and what is not.

    `guidance` is that of every arm; `num_vectors` and `steps` are those of embeddings without privacy.
    """

    set: str
    source: str
    finding: str
    negative: tuple[str, ...]
    prompt: str
    guidance: float = 1.5
    num_vectors: int = 8
    steps: int = 200


def real(data: Path, one: Modality, part: str) -> Labelled:
    """Images of a part, uint8 (N, 128, 128, 3), with 1 for the finding. Raises UsageError where the data is absent."""
    chosen = SETS[one.set]
    rows = [
        row
        for source, row in rows_of(data, chosen, (part,))
        if source.folder == one.source and row["label"] in (one.finding, *one.negative)
    ]
    images = [open_square(data / one.source / row["path"], chosen.colours, SIDE) for row in rows]
    stacked = np.stack(images).transpose(0, 2, 3, 1)
    labels = np.array([row["label"] == one.finding for row in rows], np.int64)
    pictures = np.repeat(stacked, 3, 3) if chosen.colours == 1 else stacked
    return Labelled(np.ascontiguousarray(pictures), labels, tuple(row["patient_id"] for row in rows))


def site(data: Path, one: Modality) -> Labelled:
    """Hospital A's images with the finding: of patients of no base, of whom hospital B and the test have none."""
    found = real(data, one, "site")
    places = np.flatnonzero(found.labels == 1)
    return Labelled(found.images[places], found.labels[places], tuple(found.patients[place] for place in places))


def declared(count: int) -> int:
    """What a private arm of so many patients says publicly: the largest number up to it that a training accepts."""
    return next(value for value in range(count, 9, -1) if is_round(value))


def name_of(epsilon: float | None) -> str:
    """An arm of embeddings."""
    return PLAIN if epsilon is None else f"{PLAIN}, epsilon {epsilon:g}"


def generate(
    data: Path, one: Modality, base: Path, folder: Path, *, embeddings: int, epsilons: tuple[float, ...], count: int
) -> Iterator[str]:
    """Generate what is not there yet, seed by seed; yields a line for each file."""
    folder.mkdir(parents=True, exist_ok=True)
    pipe, known = load_pipeline(base), site(data, one)
    words, kept = None, folder / "words.txt"
    for seed in range(embeddings):
        for arm in (NORMAL, PLAIN, WORDS, *map(name_of, epsilons)):
            path = place_of(arm, seed, folder)
            if path.exists():
                continue
            if arm == WORDS and words is None:
                words = kept.read_text() if kept.exists() else find_words(pipe, one, known)
                kept.write_text(words)
            epsilon = next((value for value in epsilons if arm == name_of(value)), None)
            pictures = _generate(pipe, one, known, arm, seed, epsilon, words, count)
            with (half := path.with_suffix(".part")).open("wb") as stream:
                np.save(stream, pictures)
            half.replace(path)
            yield f"{one.source}: {arm}, seed {seed}"


def find_words(pipe: Pipeline, one: Modality, known: Labelled) -> str:
    """The prompt of two of the base's own words at most with the lowest loss on hospital A's images."""
    latents = inversion.encode_images(pipe, tensor(known.images[:LEARNED]))
    rows = (*(pixel_words.CHEST_LEVELS if "chest" in one.prompt else pixel_words.LEVELS), *pixel_words.GROUPS)
    single = [f"{one.prompt}, {word}" for words in rows for word in words]
    best = nearest_words(pipe, latents, [one.prompt, f"{one.prompt}, normal", *single])
    return nearest_words(pipe, latents, [best, *(f"{best}, {word}" for words in rows for word in words)])


def _generate(
    pipe: Pipeline,
    one: Modality,
    known: Labelled,
    arm: str,
    seed: int,
    epsilon: float | None,
    words: str | None,
    count: int,
) -> Pictures:
    """Images of a class, by words or by an embedding that is trained first."""
    if arm in (NORMAL, WORDS):
        prompt = f"{one.prompt}, normal" if arm == NORMAL else words or one.prompt
        return generate_words(pipe, one, prompt, arm, seed, count)
    return generate_learned(pipe, one, learn_from_site(pipe, one, known, seed, epsilon), seed, count)


def generate_words(pipe: Pipeline, one: Modality, prompt: str, arm: str, seed: int, count: int) -> Pictures:
    """Images of a prompt, uint8 (count, H, W, 3)."""
    with _fast(pipe):
        return sampling.sample(pipe, prompt, count, seed=_first(arm, seed), guidance=one.guidance, **SAMPLING)


def generate_learned(
    pipe: Pipeline, one: Modality, rows: Mapping[str, torch.Tensor], seed: int, count: int
) -> Pictures:
    """Images of the finding with learned rows, uint8 (count, H, W, 3)."""
    first, caption = _first(PLAIN, seed), f"{one.prompt}, {{}}"
    with _fast(pipe):
        return sampling.sample_with(pipe, rows, caption, count, seed=first, guidance=one.guidance, **SAMPLING)


def _first(arm: str, seed: int) -> int:
    """The finding's images start from the same noise in every arm, the normals' from another."""
    return 10_000 * (seed + 1) + (5_000 if arm == NORMAL else 0)


def _fast(pipe: Pipeline) -> torch.autocast:
    device = pipe.device.type
    return torch.autocast(device, torch.bfloat16, enabled=in_bfloat16(device))


def learn(pipe: Pipeline, one: Modality, latents: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
    """Rows of these images without privacy, `num_vectors` and `steps` as the modality says."""
    recipe = inversion.default_recipe(pipe)
    batch = min(recipe.batch_size, len(latents))
    recipe = replace(recipe, num_vectors=one.num_vectors, steps=one.steps, batch_size=batch)
    caption = f"{one.prompt}, {{}}"
    return dict(inversion.fit(pipe, latents, token=TOKEN, caption=caption, recipe=recipe, seed=seed).rows)


def learn_from_site(
    pipe: Pipeline, one: Modality, known: Labelled, seed: int, epsilon: float | None
) -> dict[str, torch.Tensor]:
    """Rows of 100 images of hospital A, or privately of those of 100 patients: each seed takes others."""
    rng = np.random.default_rng(seed)
    if epsilon is None:
        places = np.sort(rng.permutation(len(known))[:LEARNED])
        return learn(pipe, one, inversion.encode_images(pipe, tensor(known.images[places])), seed)
    people = sorted(set(known.patients))
    count = min(LEARNED, len(people))
    members = {people[place] for place in rng.permutation(len(people))[:count]}
    kept = [place for place, patient in enumerate(known.patients) if patient in members]
    latents = inversion.encode_images(pipe, tensor(known.images[kept]), alone=True)
    said = declared(count)
    asked = settings.resolve(PrivacySettings(epsilon, n_public=said))
    recipe = resolve(Recipe(), settings.default_recipe(pipe, asked, said), device=pipe.device.type)
    noise, _ = settings.calibrate(asked, recipe, said)
    names = tuple(known.patients[place] for place in kept)
    return private_training.fit(Task(pipe, "", TOKEN, f"{one.prompt}, {{}}", recipe), asked, latents, names, noise)
