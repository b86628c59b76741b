"""Early, honest signals of a training: does the loss move, do the rows keep their measure, does the base know such
images? Each is a sentence for a person, or nothing. How the bounds were chosen: docs/explanation/training.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from embhub.diffusion.families import detect, loss, noise_levels, prediction_type, strengths
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.eval_loss import image_losses, without_token
from embhub.diffusion.training.inversion import Inversion
from embhub.diffusion.training.prompts import Prompts, one_for_all
from embhub.diffusion.training.table_units import token_norms

Warn = Callable[[str], None]

IMAGES = 16
"""Looked at while it trains: 64 evaluations of the denoiser, as many as one step of 16 images costs, or two."""

RUNAWAY = 10.0
"""Length of a row, in mean lengths of the base's own, from which a prompt's other words hardly count."""

STRANGE = 0.57
"""Error of the base's denoiser, in errors of one that knows but mean and variance, from which images are strange."""

_LEVEL = 0.3
"""Share of the schedule at which that is looked at: the details are gone, and what is shown is not."""

STANDARD_ERRORS = 2.0
"""Of the mean gain an image: what is less is noise."""


class Lookout:
    """Looks at a training after each quarter: the loss of a few images on fixed noise, and the length of the rows.

    `latents` are images kept back or, where there are none, some that are learned from (`own`). `points` are (step,
    mean loss). Neither rows nor random numbers of the training are touched.
    """

    def __init__(self, latents: Tensor, *, own: bool, warn: Warn, prompts: Prompts | None = None) -> None:
        self.latents, self._own, self._tell = latents[:IMAGES], own, warn
        self.prompts = prompts.subset(range(len(self.latents))) if prompts else None
        self._before: Tensor | None = None
        self._said: set[str] = set()
        self.points: list[tuple[int, float]] = []

    def watch(self, training: Inversion) -> None:
        """Look, where a quarter is over; of a loss that stays, warn at half way."""
        step, steps = len(training.losses), training.recipe.steps
        if step not in {steps * quarter // 4 for quarter in (1, 2, 3)} - {0}:
            return
        pipe = training.pipe
        texts, which = (self.prompts or one_for_all(training.caption)).of(range(len(self.latents)))
        with torch.no_grad():
            if self._before is None:
                words = detect(pipe).condition(pipe, [without_token(text) for text in texts])
                self._before = image_losses(pipe, self.latents, words, which=which)
            now = image_losses(pipe, self.latents, training.condition(texts), which=which)
        self.points.append((step, float(now.mean())))
        self.judge_rows(training.rows, token_norms(pipe))
        if 2 * step >= steps - 1:
            self.judge_losses(self._before, now, f" at step {step}")

    def judge_rows(self, rows: Mapping[str, Tensor], usual: Mapping[str, float]) -> None:
        """Warn, once, of rows (n, d) that have grown out of all proportion to the base's own of `usual` length."""
        ratio = max(float(part.norm(dim=-1).max()) / max(usual[name], 1e-12) for name, part in rows.items())
        if ratio > RUNAWAY:
            self._warn(
                f"the norm runs away: a row is {ratio:.0f} times as long as the base's words, so that a prompt's other "
                "words will hardly count; use --norm directional, or a lower --learning-rate"
            )

    def judge_losses(self, before: Tensor, after: Tensor, when: str = "") -> None:
        """Warn, once, where the loss of images (N,) is no lower than by the caption's words alone, beyond noise."""
        gain = before - after
        noise = STANDARD_ERRORS * float(gain.std()) / len(gain) ** 0.5 if len(gain) > 2 else 0.0
        if not float(gain.mean()) > noise:
            which = "images learned from" if self._own else "held-out images"
            self._warn(
                f"the loss does not move: on {which} it is {float(after.mean()):.4f}{when}, and "
                f"{float(before.mean()):.4f} by the caption's words alone, no less beyond noise; try more --steps, "
                "another --learning-rate, or a base that knows such images"
            )

    @property
    def note(self) -> str:
        """The latest figure, for the progress line."""
        return f", {self.points[-1][1]:.3f} {'on some' if self._own else 'held out'}" if self.points else ""

    def _warn(self, sentence: str) -> None:
        kind = sentence.partition(":")[0]
        if kind not in self._said:
            self._said.add(kind)
            self._tell(sentence)


def judge_images(pipe: Pipeline, latents: Tensor, caption: str) -> list[str]:
    """Warn where the base does not know such images: `latents` (N, C, h, w), of which some are looked at."""
    if latents.ndim != 4:  # of image embeddings nobody has measured what is strange
        return []
    errors = strangeness(pipe, latents[:: max(1, len(latents) // IMAGES)][:IMAGES], caption)
    if not float(errors.median()) > STRANGE:
        return []
    return [
        f"the images look like nothing that the base can generate: on {int((errors > STRANGE).sum())} of {len(errors)} "
        f"its denoiser does little better than none would (median {float(errors.median()):.2f}, usual is under "
        f"{STRANGE}); an embedding cannot teach it what it does not know: choose another base"
    ]


def strangeness(pipe: Pipeline, latents: Tensor, caption: str) -> Tensor:
    """How badly the base takes noise off each of N latents, (N,): in errors of the best linear denoiser that knows
    nothing but the mean and variance of each channel of that latent (Wiener). Far under 1 for what a base can draw.

    Needs no picture of the base's own, and is free of scale: it compares bases and latents of any kind.
    """
    level = int(_LEVEL * noise_levels(pipe))
    signal, strength = (float(part) ** 2 for part in strengths(pipe, torch.tensor([level])))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(pipe.device)
    times = torch.full((len(latents),), level, device=pipe.device)
    family = detect(pipe)
    with torch.no_grad():
        condition = family.condition(pipe, [without_token(caption)])
        errors = loss(pipe, family, latents.to(pipe.device), condition, noise, times).cpu()
    # From the error of what the base predicts to that of the clean latent it implies.
    scales = {"epsilon": strength / signal, "v_prediction": strength, "flow": strength, "sample": 1.0}
    variance = latents.float().cpu().var((2, 3))
    linear = (variance * strength / (signal * variance + strength)).mean(1)
    return errors * scales[prediction_type(pipe)] / linear.clamp(min=1e-9)
