"""The course of the autoencoder, and of its decoder alone once the denoiser has begun to learn the latents."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from embhub.diffusion.adaptation.base_training import likeness, running
from embhub.diffusion.adaptation.base_training.averages import Averages
from embhub.diffusion.adaptation.base_training.latent_pictures import latents_of, pictures_of, rebuilt

_PEAK, _CRITICS_RATE = 2e-3, 4e-4
_CARE = 4.0
"""How much more a place counts where the images' last channel is 1."""
Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Settings:
    """Images a step; the side of the part of each that is rebuilt (0: all of it); weights of the losses beside pixels
    (0: left out); the step at which the critic begins to count; noise on latents as a share of their deviation;
    `shrink`: latents are scaled by a random factor from this one to 1, as a denoiser draws them a little too small;
    `decoder_only` leaves the encoder as it is; `colours` are the channels that the critic sees, 1 or 3; `cool` are the
    steps between which the rate falls to nothing."""

    batch: int = 8
    seed: int = 0
    crop: int = 64
    bands: float = 0.0
    critic: float = 0.0
    features: float = 0.0
    critic_from: int = 0
    noise: float = 0.1
    shrink: float = 1.0
    decoder_only: bool = False
    colours: int = 1
    peak: float = _PEAK
    cool: tuple[int, int] | None = None
    device: str = "cpu"
    precision: str = "auto"


class Rebuilding:
    """An autoencoder learning to rebuild what `draw(count, generator)` gives; `held_out` images measure it."""

    measure_every = 100

    def __init__(self, model: AutoencoderKL, draw: Draw, held_out: Tensor, settings: Settings) -> None:
        self.settings, self.draw, self.held_out = settings, draw, held_out
        self.model = model.to(settings.device)
        torch.manual_seed(settings.seed)
        self.critic = likeness.PatchCritic(settings.colours).to(settings.device)
        self.learning = _parameters(self.model, settings.decoder_only)
        self.optimizer = torch.optim.AdamW(
            self.learning, settings.peak, weight_decay=1e-4, betas=(0.9, 0.99), fused=True
        )
        self.critics = torch.optim.AdamW(self.critic.parameters(), _CRITICS_RATE, betas=(0.5, 0.99), fused=True)
        self.averages = Averages(self.model, (0.998,))
        self.best: dict[str, Tensor] = {}
        self.fast = running.fast_precision(settings.device, settings.precision)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "model": self.model.state_dict(),
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "critics": self.critics.state_dict(),
            "averages": self.averages.state(),
            "best": self.best,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.model.load_state_dict(state["model"])
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.critics.load_state_dict(state["critics"])
        self.averages.load(state["averages"])
        self.best = dict(state["best"])

    def advance(self, number: int) -> dict[str, float]:
        """Rebuild one batch, and let the critic learn from it."""
        self.model.train()
        settings, generator = self.settings, running.randomness(self.settings.seed, number)
        taken = cropped(self.draw(settings.batch, generator), settings.crop, generator).to(settings.device)
        images, weights = taken[:, :3], 1 + _CARE * taken[:, 3:].amax(1, keepdim=True) if taken.shape[1] > 3 else 1.0
        noise = torch.randn(settings.batch, *self._latent_shape(images), generator=generator).to(settings.device)
        least = settings.shrink
        scale = least + (1 - least) * torch.rand(settings.batch, 1, 1, 1, generator=generator).to(settings.device)
        drawn, size = self._rebuilt(images, noise, scale)
        grey, real = drawn.mean(1, keepdim=True), images[:, :1]
        shown, true = (drawn, images) if settings.colours == 3 else (grey, real)
        loss = likeness.pixel_loss(drawn, images, weights) + 1e-3 * size
        figures = {"pixels": loss.item()}
        if settings.bands:
            loss = loss + settings.bands * likeness.band_loss(grey, real)
        critic = settings.critic > 0
        if critic and number >= settings.critic_from:
            loss = loss + self._criticised(shown, true)
        _set_rate(self.optimizer, running.learning_rate(number, settings.peak, cool=settings.cool))
        _step(self.optimizer, loss, self.learning)
        if critic:
            figures["critic"] = self._teach_critic(shown.detach(), true)
        self.averages.update(number)
        return {**figures, "loss": loss.item()}

    def _latent_shape(self, images: Tensor) -> tuple[int, int, int]:
        return self.model.config.latent_channels, images.shape[2] // 8, images.shape[3] // 8

    def _rebuilt(self, images: Tensor, noise: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures of latents scaled, with a little noise, and the mean square of the latents."""
        with torch.autocast(self.settings.device, torch.bfloat16, enabled=self.fast):
            with torch.set_grad_enabled(not self.settings.decoder_only):
                latents = latents_of(self.model, images).float()
            deviation = latents.detach().std((0, 2, 3), keepdim=True)
            drawn = pictures_of(self.model, latents * scale + self.settings.noise * deviation * noise)
        return drawn.float(), latents.square().mean()

    def _criticised(self, shown: Tensor, real: Tensor) -> Tensor:
        self.critic.requires_grad_(False)
        with torch.autocast(self.settings.device, torch.bfloat16, enabled=self.fast):
            scores, features = self.critic(shown)
            _, true = self.critic(real)
        self.critic.requires_grad_(True)
        apart: Tensor = self.settings.features * likeness.feature_loss(features, true)
        belief: Tensor = self.settings.critic * scores.float().mean()
        return apart - belief

    def _teach_critic(self, shown: Tensor, real: Tensor) -> float:
        with torch.autocast(self.settings.device, torch.bfloat16, enabled=self.fast):
            loss = likeness.critics_loss(self.critic(real)[0].float(), self.critic(shown)[0].float())
        _step(self.critics, loss, list(self.critic.parameters()))
        return loss.item()

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Decibels and shares of power on held-out images, by the averaged weights."""
        shown: Any = self.averages.averaged(0)
        drawn = rebuilt(shown, self.held_out)
        powers = {f"power_{band}": share for band, share in likeness.power_ratios(drawn, self.held_out).items()}
        loss = float(likeness.pixel_loss(drawn, self.held_out) + 0.1 * likeness.band_loss(drawn, self.held_out))
        return {"held_out_loss": loss, "db": likeness.decibels(drawn, self.held_out), **powers}

    def keep_best(self) -> None:
        """Remember the averaged weights."""
        shown = self.averages.averaged(0)
        self.best = copy.deepcopy(shown.state_dict())


def cropped(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A square of `side` pixels of each image, anywhere; the images where `side` is 0."""
    if not side:
        return images
    places = torch.randint(images.shape[-1] - side + 1, (len(images), 2), generator=generator).tolist()
    parts = zip(images, places, strict=True)
    return torch.stack([image[:, top : top + side, left : left + side] for image, (top, left) in parts])


def _parameters(model: AutoencoderKL, decoder_only: bool) -> list[torch.nn.Parameter]:
    frozen = ("encoder.", "quant_conv.", "post_quant_conv.") if decoder_only else ()
    learning = [value for name, value in model.named_parameters() if not name.startswith(frozen)]
    return [value.requires_grad_(True) for value in learning]


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, parameters: list[torch.nn.Parameter]) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
