"""The two stages of training a base, each seeded, step-based and resumable: the autoencoder, then the denoiser."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from embhub.diffusion.base import autoencoder, checkpoint
from embhub.diffusion.base.corpus import Corpus
from embhub.diffusion.base.xray import augment

_SAVE_EVERY_S = 120.0
Report = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """Lengths of the two stages in steps, images a step, and the seed of everything."""

    autoencoder_steps: int
    denoiser_steps: int
    batch: int = 16
    seed: int = 0


def train_autoencoder(corpus: Corpus, settings: Settings, folder: Path, report: Report) -> AutoencoderKL:
    """The whitened autoencoder: finished, resumed or started, as `folder` says."""
    torch.manual_seed(settings.seed)
    model = autoencoder.build()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-4)
    state = checkpoint.load(folder)
    if state:
        model.load_state_dict(state["model"])
        if state["done"]:
            return model.eval()
        optimizer.load_state_dict(state["optimizer"])
    start = state["step"] if state else 0
    keep = _Keeper(folder, lambda: {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "done": False})

    def on_step(step: int, figures: dict[str, float]) -> None:
        if step % 100 == 0:
            report(f"autoencoder {step}/{settings.autoencoder_steps} " + _show(figures))
        keep(step)

    autoencoder.train(
        model,
        optimizer,
        lambda step: _images(corpus, settings, step),
        start=start,
        steps=settings.autoencoder_steps,
        seed=settings.seed,
        on_step=on_step,
    )
    order = torch.randperm(len(corpus.images), generator=torch.Generator().manual_seed(settings.seed))
    autoencoder.whiten(model, corpus.images[order[:1000]])
    checkpoint.save(folder, {"model": model.state_dict(), "done": True})
    return model


def _images(corpus: Corpus, settings: Settings, step: int) -> tuple[Tensor, Tensor]:
    """A batch for the autoencoder: images in [-1, 1] and weights, three times as much where findings are."""
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    chosen = torch.randint(len(corpus.images), (settings.batch,), generator=generator)
    images = corpus.images[chosen].permute(0, 3, 1, 2).float() / 127.5 - 1
    weights = 1 + 2 * corpus.focus[chosen][:, None].float()
    if corpus.mirror:
        images = augment(images, generator, turn=8, scale=0.15, light=0.2)
        images = images.flip(-1) if step % 2 else images
    return images, weights


class _Keeper:
    """Saves a stage's state every two minutes, and when asked."""

    def __init__(self, folder: Path, state: Callable[[], dict[str, Any]]) -> None:
        self.folder, self.state, self.last = folder, state, time.monotonic()

    def __call__(self, step: int, *, now: bool = False) -> None:
        if now or time.monotonic() - self.last > _SAVE_EVERY_S:
            checkpoint.save(self.folder, {**self.state(), "step": step})
            self.last = time.monotonic()


def _show(figures: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in figures.items())
