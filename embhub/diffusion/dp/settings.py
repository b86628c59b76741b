"""What a person asks of a private training, and what suits it where nothing was said.

The defaults follow from arithmetic and from measurement (docs/explanation/private-training.md): few numbers are
learned, in few steps, and lengths are cut so far that every patient counts alike.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from dataclasses import dataclass, replace
from typing import Any

from embhub.diffusion.dp.candidates import STANDS_OUT
from embhub.diffusion.dp.mechanism import Mechanism as Noise
from embhub.diffusion.dp.votes import VOTE
from embhub.diffusion.families import encoders, resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.recipes import COMPACT, LARGE, ResolvedRecipe
from embhub.errors import PrivacyError, UsageError
from embhub.images.images import ImageSet
from embhub.options.fields import check_ranges, given
from embhub.options.training import PrivacySettings, Recipe
from embhub.privacy.calibration import calibrate_sigma
from embhub.privacy.claim import DEFAULT_DELTA, Mechanism, Unit, is_round, largest_delta
from embhub.privacy.wording import odds
from embhub.site.memory.secret import derive_key

FEWEST = 10
"""Patients: with fewer the noise drowns whatever they have in common."""

_SGD = replace(COMPACT, num_vectors=1, steps=50, learning_rate=0.1, batch_size=16, warm_up=5)
_ROOM = 0.1
_WITH_ROOM: dict[str, Any] = {"num_vectors": 4, "steps": 100}
"""Where the noise of `_SGD` is at most `_ROOM` of the longest signal, more is learned, for longer. Measured on small
bases: docs/explanation/private-training.md."""
_AGG = replace(COMPACT, num_vectors=1, steps=16, learning_rate=0.1, warm_up=1)
_VOTES = replace(COMPACT, num_vectors=1, warm_up=1)
_LARGE: dict[str, Any] = {"high_noise": LARGE.high_noise, "lowest": LARGE.lowest, "snr_gamma": LARGE.snr_gamma}
_MICRO_BATCH = 8
MOST_ROUNDS, _CLEAR = 4, 8.0
"""Votes have as many rounds, up to this, as leave the declared patients so many standard deviations of the noise."""
_AGREEING = 0.25
"""Of the declared patients, who are more than can be expected to vote for the same candidate."""


@dataclass(frozen=True)
class Protection:
    """Privacy settings with everything filled in; see `embhub.options.training.PrivacySettings`.

    Raises:
        UsageError: a value out of its range.
    """

    epsilon: float
    n_public: int | None = None
    delta: float = DEFAULT_DELTA
    unit: Unit = "patient"
    mechanism: Mechanism = "dp-sgd"
    max_images_per_patient: int = 8
    subspace_dim: int = 128
    noise_draws: int = 1
    max_grad_norm: float = 1e-3
    num_candidates: int = 16

    def __post_init__(self) -> None:
        check_ranges(self, PrivacySettings)


def resolve(privacy: PrivacySettings) -> Protection:
    """The settings with what suits mechanism and unit where nothing was chosen.

    Raises:
        UsageError: options of another mechanism.
    """
    chosen = given(privacy)
    if privacy.mechanism == "votes":
        if privacy.max_grad_norm not in (None, VOTE):
            raise UsageError(f"a vote counts {VOTE:g}, so nothing is clipped", "leave out --max-grad-norm")
        chosen = {"noise_draws": 4, **chosen, "max_grad_norm": VOTE}
    elif privacy.num_candidates is not None:
        raise UsageError("candidates are for --mechanism votes", "leave out --num-candidates")
    if privacy.mechanism == "dp-agg":
        chosen = {"max_grad_norm": 1.0, "noise_draws": 2, **chosen}
    if privacy.unit == "image":
        chosen = {"max_images_per_patient": 1, **chosen}
    return Protection(**chosen)


def default_recipe(pipe: Pipeline, protection: Protection, n_public: int) -> ResolvedRecipe:
    """How rows are learned privately, where nothing was said; `batch_size` counts patients, not images.

    For dp-agg all take part, and `steps` are those of each patient's own training; for votes they are rounds.
    """
    recipe = {"dp-sgd": _SGD, "dp-agg": _AGG, "votes": _VOTES}[protection.mechanism]
    recipe = replace(recipe, micro_batch_size=_MICRO_BATCH)
    if protection.mechanism == "votes":
        recipe = replace(recipe, steps=choose_rounds(protection, n_public))
    most = recipe.batch_size if protection.mechanism == "dp-sgd" else 4096
    mixed = in_bfloat16(pipe.device.type)
    recipe = replace(recipe, batch_size=min(most, n_public), mixed_precision=mixed)
    if resolution(pipe) > 128:
        return replace(recipe, **_LARGE)
    has_room = encoders(pipe) and _has_room(protection, recipe, n_public)
    return replace(recipe, **_WITH_ROOM) if has_room else recipe


def _has_room(protection: Protection, recipe: ResolvedRecipe, n_public: int) -> bool:
    """Whether the noise of this recipe is small beside what the patients could have in common: public figures."""
    if protection.mechanism != "dp-sgd" or not protection.subspace_dim:
        return False
    try:
        noise, steps = calibrate(protection, recipe, n_public)
    except PrivacyError:  # the recipe that is chosen may get there
        return False
    return _share(noise, steps, max(protection.subspace_dim, Protection.subspace_dim)) <= _ROOM


def _share(mechanism: Noise, steps: int, size: int) -> float:
    """Noise over all steps on `size` numbers, as a share of the longest signal that all patients could give."""
    return mechanism.noise_multiplier * math.sqrt(size) / (mechanism.denominator * math.sqrt(steps))


def check_choices(recipe: Recipe, *, seed: int | None, preview: int | None) -> None:
    """Refuse what has no place in a private training.

    Raises:
        UsageError: see the message.
    """
    if seed is not None:
        raise UsageError(
            "a private training has no seed: an attacker who knew it could remove the noise", "leave out --seed"
        )
    if recipe.norm == "directional" or preview:
        raise UsageError("--norm directional and --preview are not for private training", "leave them out")
    if recipe.per_layer:
        raise UsageError(
            "--per-layer is not for private training: every learned number gets noise, and it has many",
            "leave it out",
        )


def choose_rounds(protection: Protection, n_public: int) -> int:
    """As many rounds of votes as still let a count of all declared patients stand out of the noise: public figures."""
    counts = range(MOST_ROUNDS, 1, -1)
    asked = {"epsilon": protection.epsilon, "delta": protection.delta, "q": 1.0}
    return next((steps for steps in counts if n_public >= _CLEAR * calibrate_sigma(steps=steps, **asked)), 1)


def check_unit(protection: Protection, images: ImageSet) -> None:
    """Refuse a promise about patients where nobody knows whose the images are, and a weaker one where that is known.

    Raises:
        PrivacyError: either.
    """
    if protection.unit == "patient" and not images.has_patients:
        raise PrivacyError(
            "privacy for patients was asked for, and the images come without patient ids",
            "give a manifest with the column patient_id, or DICOM files with a PatientID; --unit image promises each"
            " image the same, and says so",
        )
    if protection.unit == "image" and images.has_patients:
        raise PrivacyError(
            "the manifest names patients, so the patient is what is protected",
            "leave out --unit image: it would leave people with several images with less",
        )


def check_number(protection: Protection, patients: int) -> int:
    """The declared number of patients, or a refusal that suggests one.

    Raises:
        UsageError: none was declared.
        PrivacyError: too few patients; a number that is not round, or larger than there are; delta too large.
    """
    declared, unit = protection.n_public, protection.unit
    if patients < FEWEST:
        raise PrivacyError(
            f"too few {unit}s to learn from in private: {patients}, where {FEWEST} is the least",
            "the noise would drown them; pool patients, or keep fewer back",
        )
    hint = f"here --n-public {suggest_number(patients)} would do: the further below the exact one, the less it tells"
    if declared is None:
        raise UsageError(f"private training needs a public number of {unit}s", hint)
    if declared < FEWEST or not is_round(declared):
        raise PrivacyError(f"{declared} is no round number of {unit}s from {FEWEST} on", hint)
    if declared > patients:
        raise PrivacyError(f"{declared} {unit}s were declared, and fewer are there to learn from", hint)
    if protection.delta > (most := largest_delta(declared)):
        raise PrivacyError(
            f"delta {protection.delta:g} is too large: a chance of more than {odds(most)} for each {unit} that nothing"
            " is promised",
            f"choose a delta of at most {most:g}",
        )
    return declared


def calibrate(protection: Protection, recipe: ResolvedRecipe, n_public: int) -> tuple[Noise, int]:
    """The mechanism whose `steps`, the other thing returned, cost at most the epsilon that was asked for.

    Raises:
        UsageError: more patients a step than were declared.
        PrivacyError: no noise gets there.
    """
    batch, steps = recipe.batch_size, 1 if protection.mechanism == "dp-agg" else recipe.steps
    if batch > n_public:
        raise UsageError(f"{batch} {protection.unit}s a step, of {n_public}", f"choose --batch-size up to {n_public}")
    if protection.mechanism == "votes" and batch != n_public:
        raise UsageError(
            f"{batch} {protection.unit}s a round, of {n_public}: in votes all take part in every round",
            "leave out --batch-size; declare at most 4,096",
        )
    rate = batch / n_public
    sigma = calibrate_sigma(epsilon=protection.epsilon, delta=protection.delta, q=rate, steps=steps)
    noise = Noise(sample_rate=rate, max_grad_norm=protection.max_grad_norm, noise_multiplier=sigma, denominator=batch)
    return noise, steps


def forecast(protection: Protection, mechanism: Noise, steps: int, size: int) -> str:
    """A sentence on what the noise will be beside everything that the patients could have in common: public figures."""
    private = f"private for each {protection.unit}: epsilon at most {protection.epsilon:g}, delta {protection.delta:g}"
    if protection.mechanism == "votes":
        hidden = STANDS_OUT * mechanism.noise_multiplier > _AGREEING * mechanism.denominator
        hint = "; expect little: declare more, or allow a larger epsilon" if hidden else ""
        return (
            f"{private}; in each of {steps} rounds the noise on a count of votes is {mechanism.noise_multiplier:.3g},"
            f" where {mechanism.denominator} or more {protection.unit}s vote{hint}"
        )
    drowned = _share(mechanism, steps, size)
    hint = "; expect little: learn fewer numbers, from more patients, or allow a larger epsilon" if drowned > 1 else ""
    return f"{private}; noise over all steps is {drowned:.2g} of the longest signal that all together can give{hint}"


def describe(protection: Protection) -> dict[str, str | int | float]:
    """What the file's header tells beside the recipe; the claim tells the rest."""
    where = f", along {protection.subspace_dim} public directions" if protection.subspace_dim else ""
    if protection.mechanism == "votes":
        votes = f"Private Evolution: {protection.num_candidates} candidates a round, {protection.noise_draws} draws"
        return {
            "optimizer": votes + where.replace("along", "random points along"),
            "learning_rate": 0,
            "schedule": "rounds of votes",
        }
    kind = "momentum 0.9" if protection.mechanism == "dp-sgd" else f"Adam, each {protection.unit} alone"
    return {"optimizer": kind + where, "learning_rate_unit": "mean norm of the base's token embeddings"}


def suggest_number(patients: int) -> int:
    """The largest round number (`embhub.privacy.claim.is_round`) up to four fifths of the patients, or the least.

    The largest one up to all of them would be the exact number where that is round.
    """
    return next((value for value in range(patients * 4 // 5, FEWEST, -1) if is_round(value)), FEWEST)


def split(images: ImageSet, holdout: float) -> tuple[ImageSet, ImageSet]:
    """Members and images kept back: each unit by a coin of its own, under a key that only this site has.

    Whether one patient is there changes nothing for the others; a share of a drawn order would move many.

    Raises:
        UsageError: a share outside 0 to 0.9.
    """
    if not 0 <= holdout <= 0.9:
        raise UsageError(f"a holdout of {holdout}", "hold out a share of the patients between 0 and 0.9")
    names, key = images.names(), derive_key("holdout")

    def held_out(place: int) -> bool:
        coin = hmac.digest(key, names[place].encode(), hashlib.sha256)
        return images.samples[place].split == "holdout" or int.from_bytes(coin[:8]) < holdout * 2**64

    back = [place for place in range(len(images)) if held_out(place)]
    return images.subset(sorted(set(range(len(images))) - set(back))), images.subset(back)
