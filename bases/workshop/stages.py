"""The two stages of training a base, each seeded, step-based and resumable: the autoencoder, then the denoiser."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F

from bases.workshop import autoencoder, checkpoint, denoiser
from bases.workshop.corpus import Corpus
from bases.workshop.text_encoder import CaptionEncoder
from embhub.diffusion.copying.augmentation import augment

_SAVE_EVERY_S = 120.0
Report = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """Lengths of the two stages in steps, images a step, the seed of everything, and whether to compile the
    denoiser."""

    autoencoder_steps: int
    denoiser_steps: int
    batch: int = 16
    seed: int = 0
    compiled: bool = False


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
        smooth=corpus.smooth,
    )
    order = torch.randperm(len(corpus.images), generator=torch.Generator().manual_seed(settings.seed))
    autoencoder.whiten(model, corpus.images[order[:1000]])
    checkpoint.save(folder, {"model": model.state_dict(), "done": True})
    return model


def train_denoiser(
    corpus: Corpus, model: AutoencoderKL, encode: CaptionEncoder, settings: Settings, folder: Path, report: Report
) -> tuple[UNet2DConditionModel, list[Tensor]]:
    """The denoiser and the moving average of its weights: finished, resumed or started, as `folder` says."""
    unet = denoiser.build(settings.seed)
    average = [value.detach().clone() for value in unet.parameters()]
    optimizer = denoiser.make_optimizer(unet)
    state = checkpoint.load(folder)
    if state:
        unet.load_state_dict(state["model"])
        average = state["average"]
        optimizer.load_state_dict(state["optimizer"])
    start = state["step"] if state else 0
    if start >= settings.denoiser_steps:
        return unet.eval(), average
    latents = _latents(corpus, model)
    report(f"latents: {len(latents.values)}")
    running: list[float] = []
    began = time.monotonic()

    def kept() -> dict[str, Any]:
        return {"model": unet.state_dict(), "average": average, "optimizer": optimizer.state_dict()}

    keep = _Keeper(folder, kept)

    def on_step(step: int, loss: float) -> None:
        running.append(loss)
        if step % 100 == 0:
            pace = (time.monotonic() - began) / (step - start)
            figures = {"loss": sum(running[-100:]) / len(running[-100:]), "seconds_a_step": pace}
            report(f"denoiser {step}/{settings.denoiser_steps} " + _show(figures))
        if step % 500 == 0:
            report("  loss at findings, right and wrong words: " + _show(_probe(corpus, latents, unet, encode)))
        keep(step, now=step == settings.denoiser_steps)

    denoiser.train(
        unet,
        average,
        optimizer,
        latents,
        corpus.caption,
        encode,
        start=start,
        steps=settings.denoiser_steps,
        batch=settings.batch,
        seed=settings.seed,
        on_step=on_step,
        compiled=settings.compiled,
    )
    return unet.eval(), average


def _latents(corpus: Corpus, model: AutoencoderKL) -> denoiser.Latents:
    """Latents of every image, with loss weights of 1, up to 6 more where findings of its kind tend to be."""
    focus = F.adaptive_max_pool2d(corpus.focus[:, None].float(), 16)
    kinds = int(corpus.group.max()) + 1
    means = torch.stack(
        [focus[corpus.group == kind].mean(0) if (corpus.group == kind).any() else focus[0] for kind in range(kinds)]
    )
    region = 6 * means / means.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    weights = 1 + region[corpus.group]
    return denoiser.Latents(autoencoder.encode(model, corpus.images), weights, corpus.odds)


def _probe(
    corpus: Corpus, latents: denoiser.Latents, unet: UNet2DConditionModel, encode: CaptionEncoder
) -> dict[str, float]:
    """Loss at the findings of some images under their caption and under captions with one kind of word swapped."""
    names, chosen, lists = corpus.probe
    focus = F.adaptive_max_pool2d(corpus.focus[chosen][:, None].float(), 16)
    focus = focus if bool(focus.any()) else torch.ones_like(focus)
    figures = denoiser.sensitivity(unet, latents.values[chosen], focus, lists, encode)
    return dict(zip(names, figures, strict=True))


def _images(corpus: Corpus, settings: Settings, step: int) -> tuple[Tensor, Tensor]:
    """A batch for the autoencoder: images in [-1, 1] and weights, three times as much where findings are."""
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    chosen = torch.randint(len(corpus.images), (max(1, settings.batch // 2),), generator=generator)
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
