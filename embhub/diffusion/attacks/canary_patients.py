"""Made-up patients through whole private trainings: an audit of the code from end to end that reads nobody's image.

The self-test tries the privatising code on vectors. Here everything around it runs too: pictures are drawn, written
as files and read as a site's are, become latents, and those of each patient go through a training of her own, with the
sampling, noise, clip and steps of a claim; its rows are written as an embedding and read again. A fair coin of the
patient's own decides whether she is in that training, or nobody is.

Whoever sees the rows guesses the coins: rows that went where made-up pictures pull were pulled. For votes it is the
noisy counts of every round that are looked at: the claim covers them, and rows stay put where no count stands out. They
are what the next candidates were made of, and she whose candidate has more votes was there. All trainings together
are one release, and a patient changes nothing but her own, so guesses are bounded as those of one run are (Steinke,
Nasr and Jagielski 2023, arXiv 2305.08846). One patient a training leaves no other pull to hide in; what patients of one
batch do to each other it cannot show.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from embhub.artifact import embedding as artifact
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.diffusion.dp import adapter_gradients, aggregation, private_training, settings
from embhub.diffusion.dp.base_trial import BaseTrial
from embhub.diffusion.dp.candidates import Candidates
from embhub.diffusion.dp.gradients import PerPatientLoss
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.noise import flip
from embhub.diffusion.dp.patients import Patients
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.dp.votes import PatientVoters, Voters
from embhub.diffusion.drawing.loading import tensors
from embhub.diffusion.families import detect, resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.latents import encode
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.diffusion.training.result import Task
from embhub.images.images import read_images
from embhub.options.training import PrivacySettings
from embhub.privacy.claim import PrivacyClaim
from embhub.progress import OnProgress, Progress

COINS = 200
"""Made-up patients, each with a coin: enough to refute an epsilon of 2.78 where every guess is right."""
GRADIENTS = 800
"""About so many gradients are computed: trainings of a claim with more steps are cut short, which costs less epsilon
than the claim allows, so that the comparison holds."""
_PULLING = 32
"""So many patients show where made-up pictures pull."""
_ALONE, _ADAPTER_DRAWS = 4, 4
"""So many times, by so many draws of noise and time, it is seen where the pictures of one patient pull an adapter."""
_IMAGES = 2
"""Images of a patient, where the claim allows more than one."""
_VOTED_ON, _ROUNDS = 4, 2
"""So many candidates and rounds at most, where the claim is of votes: epsilon does not depend on the candidates, and
fewer rounds cost less of it."""

Values = NDArray[np.float64]


def guess_patients(
    target: Embedding, claim: PrivacyClaim, pipe: Pipeline, *, on_progress: OnProgress | None = None
) -> tuple[Values, Values]:
    """Scores of the made-up patients who were in their trainings and of those who were not, higher for those who look
    as if they had been. `pipe` is the base of `target`, whose caption, vectors and claim set the trainings.

    Nothing is drawn from a seed, no ledger is charged, and nothing is kept.

    Raises:
        UsageError: the base's loss on a made-up image is not a number, so that nobody would pull at anything.
        DivergedError: rows are no longer numbers.
    """
    protection, task = _plan(target, claim, pipe)
    mechanism = Mechanism(claim.sampling.q, claim.clip, claim.sigma, claim.denominator)
    most = _IMAGES if claim.max_images_per_unit > 1 else 1
    with _pictures(COINS, most, resolution(pipe)) as folder:
        images = read_images(folder)
        is_voted = claim.mechanism == "votes"
        latents, names = encode(pipe, images, alone=is_voted).latents, images.names()
    is_adapter = target.kind == "adapter"
    prepare: private_training.Prepare = adapter_gradients.prepare if is_adapter else private_training.prepare_rows
    loss = prepare(task, protection, latents, names)
    everybody = loss.patients
    inside, scores, seen = flip(COINS, 0.5), np.zeros(COINS), list[tuple[Values, Values]]()
    with loss.active():
        trial = BaseTrial(loss, resolution(pipe), by_loss=is_voted)
        trial.check(own_steps=task.recipe.steps if claim.mechanism == "dp-agg" else 0)
        shared = range(min(_PULLING, COINS))
        by_rows = not (is_adapter or is_voted)
        pull = _find_pull(loss, protection, task.recipe, shared) if by_rows else torch.zeros(0)
        for place in range(COINS):
            if is_adapter:  # patients move one in directions of their own
                pull = _find_pull(loss, protection, task.recipe, [place] * _ALONE)
            loss.patients = Patients(everybody.latents, everybody.images[place : place + 1] if inside[place] else ())
            if is_voted:
                voted = private_training.cast_votes(task, protection, loss, mechanism)
                loss.patients = everybody
                seen.append(_see_votes(voted, PatientVoters(loss), place))
            else:
                rows = _reread(private_training.learn_rows(task, protection, loss, mechanism), target, pipe)
                scores[place] = float(loss.frame.coordinates(rows).double() @ pull)
            loss.patients = everybody
            if on_progress:
                on_progress(Progress("training on made-up patients", place + 1, COINS))
    scores = _weigh_rounds(seen) if is_voted else scores
    return scores[inside], scores[~inside]


def _plan(target: Embedding, claim: PrivacyClaim, pipe: Pipeline) -> tuple[Protection, Task]:
    """The claim's training, cut short where it is long; what epsilon does not depend on suits the guesser.

    Small steps keep a pull where it was, so that it adds up; dp-agg's vectors need only reach the clip.
    """
    protection = replace(
        settings.resolve(PrivacySettings(claim.epsilon, mechanism=claim.mechanism, unit=claim.unit)),
        n_public=claim.n_public,
        delta=claim.delta,
        max_images_per_patient=claim.max_images_per_unit,
        max_grad_norm=claim.clip,
    )
    if claim.mechanism == "votes":
        protection = replace(protection, num_candidates=_VOTED_ON, noise_draws=1)
    if target.kind == "adapter":  # a patient's gradient points another way for each draw, and less so on average
        protection = replace(protection, noise_draws=_ADAPTER_DRAWS)
    own: dict[str, Any] = {"steps": min(claim.steps, _ROUNDS) if claim.mechanism == "votes" else 4}
    if claim.mechanism == "dp-sgd":
        longest = max(1, int(GRADIENTS / (COINS / 2 * claim.sampling.q)))
        own = {"steps": min(claim.steps, longest), "learning_rate": 1e-3}
    recipe = replace(
        settings.default_recipe(pipe, protection, claim.n_public),
        num_vectors=target.vectors[0].count,
        micro_batch_size=protection.noise_draws,  # one patient is computed at a time, who has no company
        **own,
    )
    return protection, Task(pipe, "", target.token, str(target.training.get("caption", "{}")), recipe)


def _see_votes(voted: Candidates, voters: Voters, place: int) -> tuple[Values, Values]:
    """In each round, the noisy count (rounds,) of the candidate for which the made-up patient at `place` votes, and the
    counts (rounds, M - 1) of the others, for which nobody does."""
    own, others = [], []
    for number, (points, shares) in enumerate(voted.followed):
        chosen = int(voters.losses(place, points, number).argmin())
        own.append(shares[chosen])
        others.append(np.delete(shares, chosen))
    return np.array(own), np.stack(others)


def _weigh_rounds(seen: Sequence[tuple[Values, Values]]) -> Values:
    """A score for each training: its rounds' counts, those of a round that has less noise weighing more.

    How much noise a round has shows in counts of candidates that nobody voted for, over all trainings.
    """
    noise = np.stack([others for _, others in seen]).var(axis=(0, 2))
    weights = 1 / np.maximum(noise, noise.max() * 1e-9 + 1e-300)
    scores: Values = np.stack([own for own, _ in seen]) @ (weights / weights.max())
    return scores


def _find_pull(
    loss: PerPatientLoss, protection: Protection, recipe: ResolvedRecipe, places: Sequence[int]
) -> torch.Tensor:
    """The direction (size,) float64 in which the made-up patients at these places move what is learned, on average."""
    everybody = loss.patients
    open_hand = Mechanism(sample_rate=1.0, max_grad_norm=protection.max_grad_norm, noise_multiplier=0.0, denominator=1)
    total = np.zeros(loss.size)
    if protection.mechanism == "dp-agg":
        loss.patients = Patients(everybody.latents, tuple(everybody.images[place] for place in places))
        total = aggregation.collect(loss, open_hand, steps=recipe.steps)
        loss.patients = everybody
    else:
        start = torch.zeros(loss.size, dtype=torch.float64)
        for place in places:
            total -= open_hand.bound(loss.gradients([place], start).numpy()).sum(0)
    return torch.from_numpy(total / max(float(np.linalg.norm(total)), 1e-300))


def _reread(rows: dict[str, torch.Tensor], target: Embedding, pipe: Pipeline) -> dict[str, torch.Tensor]:
    """The rows, or an adapter's matrices, as they are in a file that was written, rounded, and read."""
    is_adapter = target.kind == "adapter"
    names = dict.fromkeys(rows) if is_adapter else LAYOUTS[detect(pipe).layout]
    written = artifact.build(
        {name: rows[component or name].numpy() for name, component in names.items()},
        token=target.token,
        base=target.base,
        base_name=target.base_name,
        training={},
    )
    read = artifact.parse(written.data)
    if not is_adapter:
        return tensors(read)
    return {name: torch.from_numpy(np.array(part, dtype=np.float32)) for name, part in read.tensors.items()}


@contextmanager
def _pictures(patients: int, each: int, side: int) -> Iterator[Path]:
    """A folder of pictures of made-up patients with a manifest, as a site would have them; gone afterwards."""
    chance = np.random.default_rng()  # pictures need no secrecy
    with tempfile.TemporaryDirectory(prefix="embhub-made-up-") as made:
        folder, rows = Path(made), []
        for number in range(patients * each):
            name = f"{number:05d}.png"
            Image.fromarray(_draw(chance, side)).save(folder / name)
            rows.append((name, f"made-up {number // each}"))
        _list(folder / "manifest.csv", rows)
        yield folder


def _draw(chance: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """A picture (side, side, 3) of random tiles."""
    tiles = chance.integers(2, 9)
    colours = chance.integers(0, 256, (tiles, tiles, 3), dtype=np.uint8)
    places = np.arange(side) * tiles // side
    picture: NDArray[np.uint8] = colours[places][:, places]
    return picture


def _list(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "patient_id"))
        writer.writerows(rows)
