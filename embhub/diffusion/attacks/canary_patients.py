"""Made-up patients in whole private trainings: an audit of the code from end to end that reads nobody's image.

The self-test tries the privatising code on vectors. Here a training runs as a site's does, by `PrivateTraining.learn`:
with its budget, batches, parts, self-test and watch (`embhub.diffusion.dp.watch`), over a ledger that is thrown away.
Its cohort is made up: companions with one to eight images, always there, and canaries, each of whom is there or not by
a fair coin of its own. Pictures are drawn, written as files with a manifest, and read as a site's are.

Whoever sees what each step released guesses the coins: releases that went where a canary's pictures pull, and others
less, were pulled. Of votes it is the noisy count of the candidate that a canary votes for. All trainings together are
one release, and a canary changes nothing but what it is in, so guesses are bounded as those of one run are (Steinke,
Nasr and Jagielski 2023, arXiv 2305.08846). Canaries hide each other, and pull in much the same direction: guesses find
gross faults, and the watch in every training finds the finer ones.

False alarms: guesses accuse right code in at most 5 % of audits, 2.5 % for each kind of canary. The rest adds 5 in
100,000 at most, at one in a million a test: eight in each of five self-tests, one of noise in each of four trainings,
and one of all their noise.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from embhub.artifact.embedding import Embedding
from embhub.diffusion.dp import private_training, settings
from embhub.diffusion.dp.aggregation import train_alone
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.noise import flip
from embhub.diffusion.dp.private_training import PrivateTraining
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.dp.votes import PatientVoters
from embhub.diffusion.dp.watch import Watch, check_noise
from embhub.diffusion.families import resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.latents import encode
from embhub.diffusion.training.remarks import Remarks
from embhub.diffusion.training.result import Task
from embhub.images.images import ImageSet, read_images
from embhub.options.training import PrivacySettings
from embhub.privacy.claim import PrivacyClaim
from embhub.progress import OnProgress, Progress
from embhub.site import config

TRAININGS, CANARIES = 4, 50
"""Trainings, and canaries with a coin in each of them."""
GRADIENTS = 800
"""About so many gradients are computed in all: trainings of a claim with more steps are cut short. Their noise is
chosen anew for the claim's epsilon, as a training of so many steps would."""
DECLARED = 20
"""Patients that a training declares, and companions in it, where the claim declares no fewer."""
_COMPANIONS = 1, 2, 1, 8, 1, 3, 1, 2
"""Images of the companions, in turn."""
_EACH = 2
"""Images of a canary, where the claim allows more than one."""
_DRAWS = 2
"""So often, with other noise and times, it is seen where a canary's pictures pull."""
_VOTED_ON, _ROUNDS = 4, 2
"""So many candidates and rounds at most, where the claim is of votes: epsilon does not depend on the candidates."""

Values = NDArray[np.float64]


def guess_patients(
    target: Embedding, claim: PrivacyClaim, pipe: Pipeline, *, on_progress: OnProgress | None = None
) -> tuple[Values, Values]:
    """Scores of the canaries inside their trainings and of those left out, higher for those that look as if
    they had been. `pipe` is the base of `target`, whose caption, vectors and claim set the trainings.

    Nothing is drawn from a seed, no ledger of the site is charged, and nothing is kept.

    Raises:
        UsageError: the base's loss on a made-up image is not a number, so that nobody would pull at anything.
        DivergedError: rows are no longer numbers.
        BrokenMechanismError: a training did something else than it would claim.
    """
    protection, task = _plan(target, claim, pipe)
    inside = flip(TRAININGS * CANARIES, 0.5).reshape(TRAININGS, CANARIES)
    scores = np.zeros((TRAININGS, CANARIES))
    with _cohort(protection, resolution(pipe)) as (images, canary):
        loss = _prepare_canaries(task, protection, images, canary)
        watches: list[Watch] = []
        pulls: Values | None = None
        for number, coins in enumerate(inside):
            present = [place for place, whose in enumerate(canary) if whose < 0 or coins[whose]]
            watch = _train(task, protection, images.subset(present))
            watches.append(watch)
            if watch.votes is not None:
                scores[number] = _see_votes(watch, loss)
            else:  # only now is the base known to give numbers
                pulls = _find_pulls(loss, protection, watch.plan) if pulls is None else pulls
                scores[number] = pulls @ np.sum(watch.releases, axis=0)
            if on_progress:
                on_progress(Progress("training on made-up patients", number + 1, TRAININGS))
    check_noise(watches)
    return scores[inside], scores[~inside]


def _plan(target: Embedding, claim: PrivacyClaim, pipe: Pipeline) -> tuple[Protection, Task]:
    """The claim's training with a small cohort, cut short where it is long; what epsilon does not depend on suits the
    guesser: small steps keep a pull where it was, so that it adds up."""
    declared = min(claim.n_public, DECLARED)
    protection = replace(
        settings.resolve(PrivacySettings(claim.epsilon, mechanism=claim.mechanism, unit=claim.unit)),
        n_public=declared,
        delta=claim.delta,
        max_images_per_patient=claim.max_images_per_unit,
        max_grad_norm=claim.clip,
    )
    if claim.mechanism == "votes":
        protection = replace(protection, num_candidates=_VOTED_ON, noise_draws=1)
    batch = max(1, round(claim.sampling.q * declared))
    own: dict[str, Any] = {"steps": min(claim.steps, _ROUNDS) if claim.mechanism == "votes" else 4}
    if claim.mechanism == "dp-sgd":
        came = batch / declared * (declared + CANARIES / 2)
        own = {"steps": min(claim.steps, max(1, int(GRADIENTS / (TRAININGS * came)))), "learning_rate": 1e-3}
    recipe = replace(
        settings.default_recipe(pipe, protection, declared),
        num_vectors=target.vectors[0].count,
        batch_size=batch,
        **own,
    )
    return protection, Task(pipe, "", target.token, str(target.training.get("caption", "{}")), recipe)


def _train(task: Task, protection: Protection, images: ImageSet) -> Watch:
    """A private training of these images as a site runs it, at a site of its own that is gone afterwards."""
    training = PrivateTraining(None, protection, resume=False)
    with tempfile.TemporaryDirectory(prefix="embhub-made-up-") as home, config.elsewhere(Path(home)):
        members, held_out = training.split(images, 0.0)
        training.learn(task, members, held_out, Remarks(None), None, None)
    if training.watch is None:
        raise AssertionError("every private training is watched")
    return training.watch


def _prepare_canaries(task: Task, protection: Protection, images: ImageSet, canary: Sequence[int]) -> PatientLoss:
    """The loss of the canaries, by number; theirs are the images with a number in `canary` that is not negative."""
    places = [place for number in range(CANARIES) for place, whose in enumerate(canary) if whose == number]
    chosen = images.subset(places)
    latents = encode(task.pipe, chosen, alone=protection.mechanism == "votes").latents
    return private_training.prepare_rows(task, protection, latents, chosen.names())


def _see_votes(watch: Watch, loss: PatientLoss) -> Values:
    """For each canary the noisy count (CANARIES,) of the candidates that it votes for, over all rounds."""
    scores = np.zeros(len(loss.patients))
    with loss.active():
        for number, (points, shares) in enumerate(watch.votes.candidates.followed if watch.votes else ()):
            for place in range(len(scores)):
                scores[place] += shares[int(PatientVoters(loss).losses(place, points, number).argmin())]
    return scores


def _find_pulls(loss: PatientLoss, protection: Protection, mechanism: Mechanism) -> Values:
    """The direction (CANARIES, size) in which each canary moves what is learned more than the others do, on average."""
    pulls = np.zeros((len(loss.patients), loss.size))
    with loss.active():
        for first in range(0, len(pulls), loss.at_once):
            part = list(range(len(pulls)))[first : first + loss.at_once]
            start = torch.zeros(len(part), loss.size, dtype=torch.float64)
            gradients = partial(loss.gradients, part)
            for _ in range(_DRAWS):
                found = gradients(start)
                if protection.mechanism == "dp-agg":
                    found = train_alone(gradients, start, loss.recipe.learning_rate, loss.recipe.steps)
                pulls[part] += mechanism.bound(found.numpy())
    pulls -= pulls.mean(0)
    lengths: Values = np.linalg.norm(pulls, axis=1, keepdims=True)
    found_pulls: Values = pulls / np.maximum(lengths, 1e-300)
    return found_pulls


@contextmanager
def _cohort(protection: Protection, side: int) -> Iterator[tuple[ImageSet, list[int]]]:
    """Companions and canaries as a site has patients: a folder of pictures with a manifest, gone afterwards.

    With it goes the number of the canary that has each image, -1 for a companion's. They come in no order.
    """
    by_patient = protection.unit == "patient"
    each = [_COMPANIONS[number % len(_COMPANIONS)] if by_patient else 1 for number in range(protection.n_public or 0)]
    people = [(-1, count) for count in each]
    people += [(number, _EACH if by_patient else 1) for number in range(CANARIES)]
    chance = np.random.default_rng()  # pictures and their order need no secrecy
    with tempfile.TemporaryDirectory(prefix="embhub-made-up-") as made:
        folder, rows, canary = Path(made), list[tuple[str, str]](), list[int]()
        for place in chance.permutation(len(people)):
            number, count = people[place]
            for _ in range(count):
                name = f"{len(rows):05d}.png"
                Image.fromarray(_draw(chance, side)).save(folder / name)
                rows.append((name, f"made-up {place}"))
                canary.append(number)
        _list(folder / "manifest.csv", rows, by_patient=by_patient)
        images = read_images(folder)
        yield images, [canary[int(Path(sample.path).stem)] for sample in images.samples]


def _draw(chance: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A picture (side, side, 3) of random tiles."""
    tiles = chance.integers(2, 9)
    colours = chance.integers(0, 256, (tiles, tiles, 3), dtype=np.uint8)
    places = np.arange(side) * tiles // side
    picture: NDArray[np.uint8] = colours[places][:, places]
    return picture


def _list(path: Path, rows: Sequence[tuple[str, str]], *, by_patient: bool) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "patient_id") if by_patient else ("path",))
        writer.writerows(row if by_patient else row[:1] for row in rows)
