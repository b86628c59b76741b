"""`python -m bench.learning_speed`: what makes textual inversion reach a loss in fewer steps, one change at a time.

Every variant learns the held-out finding of `builtin` from the same images; the loss is on images of other patients,
on noise and timesteps that are always the same. Results are kept by variant and seed, so an interrupted run continues.
Nothing here is part of a training. docs/explanation/training.md has what was found so far; some variants have not run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bases.workshop.counting import tensor
from bench.defaults import TOKEN, phantoms
from embhub.builtin_bases import info
from embhub.diffusion.bases.live_fingerprint import base_rows
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import encoders, noise_levels
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.eval_loss import image_losses
from embhub.diffusion.training.inversion import Inversion, encode_images
from embhub.diffusion.training.recipes import COMPACT, ResolvedRecipe
from embhub.diffusion.training.schedule import HIGH

RESULTS = Path(__file__).parent / "results" / "learning_speed.json"
KEPT, DRAWS, LOOKS = 40, 8, 4
"""Images that the loss is measured on, noise draws of each, and measurements of a training."""

SLOW, FAST, SEEDS = 0.03, 0.1, 3
Draw = Callable[["Trial"], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Variant:
    """A training: its recipe, how batches are drawn (None: as embhub does), and the rows it starts from."""

    name: str
    recipe: ResolvedRecipe
    draw: Draw | None = None
    start: Callable[[Trial], None] | None = None
    betas: tuple[float, float] = (0.9, 0.999)


class Trial(Inversion):
    """A training whose parts can be exchanged."""

    def __init__(self, pipe: Pipeline, latents: Tensor, variant: Variant, *, caption: str, seed: int) -> None:
        super().__init__(pipe, latents, token=TOKEN, caption=caption, recipe=variant.recipe, seed=seed)
        self.variant, self.order = variant, torch.empty(0, dtype=torch.long)
        self.weights: Tensor | None = None
        for group in self._optimizer.param_groups:
            group["betas"] = variant.betas

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """The variant's batch."""
        return super().draw() if self.variant.draw is None else self.variant.draw(self)

    @property
    def generator(self) -> torch.Generator:
        """The training's random numbers."""
        return self._generator

    def deal(self, count: int) -> Tensor:
        """Places of `count` images, every image once before any comes again."""
        if len(self.order) < count:
            self.order = torch.cat([self.order, torch.randperm(len(self.latents), generator=self._generator)])
        chosen, self.order = self.order[:count], self.order[count:]
        return chosen

    def noise(self, latents: Tensor) -> Tensor:
        """Noise of latents' shape."""
        return torch.randn(latents.shape, generator=self._generator)

    def strata(self, count: int) -> Tensor:
        """Timesteps of embhub's distribution, one from each of `count` equal parts, in random order."""
        place = (torch.arange(count) + torch.rand(count, generator=self._generator)) / count
        return self.at(place[torch.randperm(count, generator=self._generator)])

    def at(self, place: Tensor) -> Tensor:
        """Timesteps at quantiles of embhub's distribution."""
        recipe, levels = self.recipe, noise_levels(self.pipe)
        even = recipe.lowest + (1 - recipe.lowest) * place / (1 - recipe.high_noise)
        noisy = HIGH + (1 - HIGH) * (place - (1 - recipe.high_noise)) / max(recipe.high_noise, 1e-9)
        share = torch.where(place < 1 - recipe.high_noise, even, noisy)
        return (share * levels).long().clamp(max=levels - 1)


def dealt(trial: Trial) -> tuple[Tensor, Tensor, Tensor]:
    """Images without replacement, timesteps as embhub draws them."""
    _, times, noise = Inversion.draw(trial)
    return trial.latents[trial.deal(trial.recipe.batch_size)], times, noise


def stratified(trial: Trial) -> tuple[Tensor, Tensor, Tensor]:
    """Images without replacement, a timestep from each stratum."""
    latents = trial.latents[trial.deal(trial.recipe.batch_size)]
    return latents, trial.strata(len(latents)), trial.noise(latents)


def antithetic(trial: Trial) -> tuple[Tensor, Tensor, Tensor]:
    """Half as many images, each with one noise and its negative at the same timestep."""
    latents = trial.latents[trial.deal(trial.recipe.batch_size // 2)]
    times, noise = trial.strata(len(latents)), trial.noise(latents)
    return torch.cat([latents, latents]), torch.cat([times, times]), torch.cat([noise, -noise])


def paired_times(trial: Trial) -> tuple[Tensor, Tensor, Tensor]:
    """Images without replacement, timesteps in pairs at opposite quantiles."""
    latents = trial.latents[trial.deal(trial.recipe.batch_size)]
    half = torch.rand(len(latents) // 2, generator=trial.generator)
    return latents, trial.at(torch.cat([half, 1 - half])), trial.noise(latents)


def growing(trial: Trial) -> tuple[Tensor, Tensor, Tensor]:
    """Batches that grow from half to one and a half of the size, stratified: the same number of images in all."""
    done = len(trial.losses) / trial.recipe.steps
    latents = trial.latents[trial.deal(max(2, round(trial.recipe.batch_size * (0.5 + done))))]
    return latents, trial.strata(len(latents)), trial.noise(latents)


def important(trial: Trial) -> tuple[Tensor, Tensor, Tensor]:
    """Timesteps by the size of their gradients at the start, measured in ten equal parts of the schedule; the
    measurement costs ten batches, which count."""
    if trial.weights is None:
        trial.weights = _gradient_sizes(trial)
    size, levels = trial.recipe.batch_size, noise_levels(trial.pipe)
    part = torch.multinomial(trial.weights, size, replacement=True, generator=trial.generator)
    inside = torch.rand(size, generator=trial.generator)
    latents = trial.latents[trial.deal(size)]
    return latents, ((part + inside) / len(trial.weights) * levels).long(), trial.noise(latents)


def _gradient_sizes(trial: Trial, parts: int = 10) -> Tensor:
    sizes, levels = [], noise_levels(trial.pipe)
    for part in range(parts):
        latents = trial.latents[trial.deal(trial.recipe.batch_size)]
        times = torch.full((len(latents),), int((part + 0.5) / parts * levels))
        trial._optimizer.zero_grad()
        trial._backward(latents, times, trial.noise(latents))
        sizes.append(sum(float(p.grad.square().sum()) for p in trial.inserted.parameters() if p.grad is not None))
    return torch.tensor(sizes).sqrt()


def _rank_words(trial: Trial, count: int = 8, candidates: int = 120) -> Tensor:
    """The base's own words with the least loss as the placeholder, ranked in two rounds; (count, d)."""
    encoder = encoders(trial.pipe)[0]
    table = encoder.table.detach().float()[: base_rows(encoder)]
    table = table[table.norm(dim=1) > 0]
    places = torch.randperm(len(table), generator=trial.generator)[:candidates]
    for images, left in ((1, 24), (6, count)):
        latents = trial.latents[trial.deal(images)]
        errors = torch.tensor([_word_loss(trial, table[place], latents) for place in places])
        places = places[errors.argsort()[:left]]
    return table[places]


def _word_loss(trial: Trial, row: Tensor, latents: Tensor) -> float:
    (own,) = trial.inserted.rows.values()
    before = own.data.clone()
    own.data.copy_(row.expand_as(own))
    with torch.no_grad():
        error = float(image_losses(trial.pipe, latents, trial.condition(), draws=4).mean())
    own.data.copy_(before)
    return error


def best_words(trial: Trial) -> None:
    """Start from the best of the base's own words, one for each vector."""
    (own,) = trial.inserted.rows.values()
    own.data.copy_(_rank_words(trial, len(own)))


def mean_of_best(trial: Trial) -> None:
    """Start from the mean of the best words, with embhub's own little noise between vectors."""
    (own,) = trial.inserted.rows.values()
    spread = own.data - own.data.mean(0, keepdim=True)
    own.data.copy_(_rank_words(trial, 8).mean(0, keepdim=True) + spread)


def _recipe(rate: float, steps: int, **more: Any) -> ResolvedRecipe:
    return replace(COMPACT, learning_rate=rate, steps=steps, **more)


def variants() -> list[Variant]:
    """Every variant that was tried."""
    fast = _recipe(FAST, 100, warm_up=10)
    return [
        Variant("rate 0.03, 200 steps", _recipe(SLOW, 200, warm_up=20)),
        Variant("rate 0.03, 100 steps", _recipe(SLOW, 100, warm_up=20)),
        Variant("rate 0.1, 200 steps", _recipe(FAST, 200, warm_up=20)),
        Variant("rate 0.1, 150 steps", _recipe(FAST, 150, warm_up=15)),
        Variant("rate 0.1, 100 steps", fast),
        Variant("rate 0.1, 60 steps", _recipe(FAST, 60, warm_up=6)),
        Variant("rate 0.2, 100 steps", _recipe(0.2, 100, warm_up=10)),
        Variant("rate 0.2, 60 steps", _recipe(0.2, 60, warm_up=6)),
        Variant("0.1, 100: images dealt", fast, dealt),
        Variant("0.1, 100: stratified timesteps", fast, stratified),
        Variant("0.1, 100: paired timesteps", fast, paired_times),
        Variant("0.1, 100: antithetic noise", fast, antithetic),
        Variant("0.1, 100: timesteps by gradient", fast, important),
        Variant("0.1, 100: growing batches", fast, growing),
        Variant("0.1, 100: best words", fast, None, best_words),
        Variant("0.1, 100: mean of the best words", fast, None, mean_of_best),
        Variant("0.1, 100: AdamW betas 0.9, 0.99", fast, betas=(0.9, 0.99)),
        Variant("0.1, 100: AdamW betas 0.8, 0.99", fast, betas=(0.8, 0.99)),
    ]


@dataclass
class Study:
    """Trainings of one process, with the base and latents that they share."""

    pipe: Pipeline
    caption: str
    inside: Tensor
    outside: Tensor
    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def run(self, variant: Variant, seed: int) -> dict[str, Any]:
        """Held-out losses on the way, and CPU seconds of the steps and of the start."""
        began = time.process_time()
        trial = Trial(self.pipe, self.inside, variant, caption=self.caption, seed=seed)
        looks, points, spent = {round(variant.recipe.steps * (n + 1) / LOOKS) for n in range(LOOKS)}, [], 0.0
        with trial.active():
            if variant.start:
                variant.start(trial)
            for step in range(1, variant.recipe.steps + 1):
                trial.step()
                if step in looks:
                    spent += time.process_time() - began
                    points.append([step, round(self.loss(trial), 5), round(spent, 2)])
                    began = time.process_time()
        return {"seed": seed, "points": points}

    def loss(self, trial: Trial) -> float:
        """The held-out loss of an active training, in float32."""
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            condition = trial._family.condition(self.pipe, [trial.expand(trial.prompt)])
            return float(image_losses(self.pipe, self.outside, condition, draws=DRAWS).mean())


def prepare() -> Study:
    """The finding that `builtin` never saw."""
    caption, learned, kept = phantoms()
    pipe = load_pipeline(info("builtin").path, device="cpu")
    inside, outside = (encode_images(pipe, tensor(part)) for part in (learned, kept[:KEPT]))
    return Study(pipe, caption, inside, outside)


def main() -> None:
    """Run what is missing, within the time that is given."""
    parser = argparse.ArgumentParser(prog="python -m bench.learning_speed", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no training after so many CPU minutes")
    parser.add_argument("--only", help="variants whose name contains this")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept: dict[str, list[dict[str, Any]]] = json.loads(asked.results.read_text()) if asked.results.exists() else {}
    study = prepare()
    for seed in range(asked.seeds):
        for variant in variants():
            if asked.only and asked.only not in variant.name:
                continue
            if any(run["seed"] == seed for run in kept.get(variant.name, [])):
                continue
            if time.process_time() > asked.minutes * 60:
                return
            kept.setdefault(variant.name, []).append(study.run(variant, seed))
            asked.results.write_text(json.dumps(kept, indent=1) + "\n")
            print(variant.name, kept[variant.name][-1], flush=True)


if __name__ == "__main__":
    main()
