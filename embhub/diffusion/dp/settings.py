"""What a person asks of a private training, and what suits it where nothing was said.

The defaults follow from arithmetic and from measurement (docs/explanation/private-training.md): few numbers are
learned, in few steps, and lengths are cut so far that every patient counts alike.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any, get_args

from embhub.diffusion.dp.mechanism import Mechanism as Noise
from embhub.diffusion.families import resolution
from embhub.diffusion.training.recipes import COMPACT, LARGE, Recipe
from embhub.errors import PrivacyError, UsageError
from embhub.images.images import ImageSet
from embhub.privacy.calibration import calibrate_sigma
from embhub.privacy.claim import DEFAULT_DELTA, Mechanism, Unit, is_round, largest_delta
from embhub.privacy.wording import odds
from embhub.site.secret import derive_key

FEWEST = 10
"""Patients: with fewer the noise drowns whatever they have in common."""

_SGD = replace(COMPACT, vectors=1, steps=50, learning_rate=0.1, batch_size=16, warm_up=5)
_AGG = replace(COMPACT, vectors=1, steps=16, learning_rate=0.1, warm_up=1)
_LARGE: dict[str, Any] = {"high_noise": LARGE.high_noise, "lowest": LARGE.lowest, "snr_gamma": LARGE.snr_gamma}
_MICRO_BATCH = 8


@dataclass(frozen=True)
class Protection:
    """What was asked for. Every number here is public.

    `n_public` is declared: a round number of patients, no larger than there are. `max_images` of a patient are used.
    `directions` is the size of the public subspace that rows move in, 0 for everywhere. `draws` pairs of noise and
    time make a patient's gradient. `clip` bounds what a patient contributes: a gradient's length, or (dp-agg) how far
    its own embedding may be from the start, in lengths of the base's words.
    """

    epsilon: float
    n_public: int | None = None
    delta: float = DEFAULT_DELTA
    unit: Unit = "patient"
    mechanism: Mechanism = "dp-sgd"
    max_images: int = 8
    directions: int = 128
    draws: int = 1
    clip: float = 1e-3

    def __post_init__(self) -> None:
        bounds = {"max_images": (1, 100_000), "directions": (0, 8192), "draws": (1, 1024)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}", f"choose {low} to {high}")
        if self.unit not in get_args(Unit) or self.mechanism not in get_args(Mechanism):
            raise UsageError(f"no unit {self.unit}, or no mechanism {self.mechanism}", "see embhub train --help")
        if not (self.epsilon > 0 and 0 < self.delta < 1 and 0 < self.clip < 1e6):
            raise UsageError("epsilon, delta or clip is out of its range", "such as epsilon 2, delta 1e-5")


def ask(epsilon: float | None, **given: Any) -> Protection | None:
    """The protection that was asked for, None for a training without; what is None was not said.

    Raises:
        UsageError: settings of private training without an epsilon, or one out of its range.
    """
    said = {name: value for name, value in given.items() if value is not None}
    if epsilon is None:
        if said:
            raise UsageError(
                f"{', '.join(sorted(said))}: settings of private training, without an epsilon",
                "say how much may be spent, such as --epsilon 2 (whoever would have named a given patient with"
                " probability 1 % had she not taken part, names her with at most 7.4 % if she did); without it nothing"
                " bounds what the file tells",
            )
        return None
    if said.get("mechanism") == "dp-agg":
        said = {"clip": 1.0, "draws": 2, **said}
    if said.get("unit") == "image":
        said = {"max_images": 1, **said}
    return Protection(epsilon, **said)


def default_recipe(pipe: Any, protection: Protection, n_public: int) -> Recipe:
    """How rows are learned privately, where nothing was said; `batch_size` counts patients, not images.

    For dp-agg all take part, and `steps` are those of each patient's own training.
    """
    recipe = replace(_SGD if protection.mechanism == "dp-sgd" else _AGG, micro_batch=_MICRO_BATCH)
    most = recipe.batch_size if protection.mechanism == "dp-sgd" else 4096
    recipe = replace(recipe, batch_size=min(most, n_public))
    return recipe if resolution(pipe) <= 128 else replace(recipe, **_LARGE)


def check_choices(*, seed: int | None, norm: str | None, preview: int | None, per_layer: bool = False) -> None:
    """Refuse what has no place in a private training.

    Raises:
        UsageError: see the message.
    """
    if seed is not None:
        raise UsageError(
            "a private training has no seed: who knew it could take the noise off again", "leave out --seed"
        )
    if norm == "directional" or preview:
        raise UsageError("--norm directional and --preview are not for private training", "leave them out")
    if per_layer:
        raise UsageError(
            "--per-layer is not for private training: noise falls on every number that is learned, and it has many",
            "leave it out",
        )


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
    hint = f"here --n-public {round_down(patients)} would do: a round number tells less than the exact one"
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


def calibrate(protection: Protection, recipe: Recipe, n_public: int) -> tuple[Noise, int]:
    """The mechanism whose `steps`, the other thing returned, cost at most the epsilon that was asked for.

    Raises:
        UsageError: more patients a step than were declared.
        PrivacyError: no noise gets there.
    """
    batch, steps = recipe.batch_size, 1 if protection.mechanism == "dp-agg" else recipe.steps
    if batch > n_public:
        raise UsageError(f"{batch} {protection.unit}s a step, of {n_public}", f"choose --batch-size up to {n_public}")
    sigma = calibrate_sigma(epsilon=protection.epsilon, delta=protection.delta, q=batch / n_public, steps=steps)
    return Noise(rate=batch / n_public, clip=protection.clip, sigma=sigma, denominator=batch), steps


def forecast(protection: Protection, mechanism: Noise, steps: int, size: int) -> str:
    """A sentence on what the noise will be beside everything that the patients could have in common: public figures."""
    drowned = mechanism.sigma * size**0.5 / (mechanism.denominator * steps**0.5)
    hint = "; expect little: learn fewer numbers, from more patients, or allow a larger epsilon" if drowned > 1 else ""
    return (
        f"private for each {protection.unit}: epsilon at most {protection.epsilon:g}, delta {protection.delta:g}; noise"
        f" over all steps is {drowned:.2g} of the longest signal that all together can give{hint}"
    )


def describe(protection: Protection) -> dict[str, str | int | float]:
    """What the file's header tells beside the recipe; the claim tells the rest."""
    where = f", along {protection.directions} public directions" if protection.directions else ""
    kind = "momentum 0.9" if protection.mechanism == "dp-sgd" else f"Adam, each {protection.unit} alone"
    return {"optimizer": kind + where}


def round_down(number: int) -> int:
    """The largest round number that is not above this one (`embhub.privacy.claim.is_round`)."""
    return next(value for value in range(number, 0, -1) if is_round(value))


def split(images: ImageSet, holdout: float) -> tuple[ImageSet, ImageSet]:
    """Members and images kept back: each unit by a coin of its own, under a key that only this site has.

    Whether one patient is there changes nothing for the others; a share of a drawn order would move many.

    Raises:
        UsageError: a share outside 0 to 0.9.
    """
    if not 0 <= holdout <= 0.9:
        raise UsageError(f"a holdout of {holdout}", "keep back a share of the patients between 0 and 0.9")
    names, key = images.names(), derive_key("holdout")

    def kept_back(place: int) -> bool:
        coin = hmac.digest(key, names[place].encode(), hashlib.sha256)
        return images.samples[place].split == "holdout" or int.from_bytes(coin[:8]) < holdout * 2**64

    back = [place for place in range(len(images)) if kept_back(place)]
    return images.subset(sorted(set(range(len(images))) - set(back))), images.subset(back)
