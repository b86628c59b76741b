"""The course of the denoiser: latents of one pool of images after another, v-prediction, averages of several lengths.

Plain loss, no min-SNR weights: these would nearly remove the noisiest steps, and it is there that the layout, hence
what words say about place, is decided. Words reach every level by cross-attention and, pooled, the time embedding.
Times are drawn evenly over the batch (one from each stratum), a share of them among the noisiest, where layout is
decided. The held-out loss is that of fixed images, times and noise: the same draw for every average and every step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from embhub.diffusion.adaptation.base_training import noising, running
from embhub.diffusion.adaptation.base_training.averages import Averages
from embhub.diffusion.adaptation.base_training.captions import Caption
from embhub.diffusion.adaptation.base_training.latent_pictures import CHANNELS, FACTOR, SIDE, encode
from embhub.diffusion.adaptation.base_training.material import HeldOut, Pool, Times
from embhub.diffusion.adaptation.base_training.text_encoder import WIDTH, CaptionEncoder

DECAYS = (0.995, 0.999, 0.9997)
Encode = Callable[[Sequence[Caption], np.random.Generator | None, float], Tensor]


@dataclass(frozen=True)
class Settings:
    """Images a step; steps a pool of images serves; the spans that times are drawn from; the share of captions with
    merged words; the steps between which the rate falls to nothing."""

    batch: int = 16
    seed: int = 0
    pool_steps: int = 5000
    times: Times = ((0, 1000, 0.75), (780, 1000, 0.25))
    merged: float = 0.3
    peak: float = 1.0e-3
    device: str = "cpu"
    precision: str = "auto"
    compiled: bool = False
    cool: tuple[int, int] | None = None
    zero_terminal_snr: bool = False


def build(seed: int, widths: tuple[int, ...] = (64, 96, 128)) -> UNet2DConditionModel:
    """An untrained denoiser for latents (N, 8, 16, 16), 5.2 M parameters as it stands."""
    torch.manual_seed(seed)
    model = UNet2DConditionModel(
        sample_size=SIDE // FACTOR,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=widths,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        only_cross_attention=(True, False, False),
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )
    model.set_attn_processor(AttnProcessor())  # on a CPU, training through the fused kernel is slower
    return model


def make_optimizer(model: UNet2DConditionModel, peak: float) -> torch.optim.Optimizer:
    """AdamW, one and a half times the rate for what carries words and time."""
    eager = [value for name, value in model.named_parameters() if _eager(name)]
    others = [value for name, value in model.named_parameters() if not _eager(name)]
    groups = [{"params": eager, "factor": 1.5}, {"params": others, "factor": 1.0}]
    return torch.optim.AdamW(groups, peak, weight_decay=1e-3, betas=(0.9, 0.99), fused=True)


def _eager(name: str) -> bool:
    return any(part in name for part in ("add_embedding", "time_emb_proj", "attn2"))


@dataclass(frozen=True)
class Latents:
    """A pool as the denoiser sees it: half-precision latents (N, 8, 16, 16) and what `Pool` says."""

    values: Tensor
    pool: Pool


class Pools:
    """Encodes one pool after another; the present one is kept in `folder`, so that a resumed course need not encode it
    again. `autoencoder` has to stay the same as long as `folder` lives."""

    def __init__(self, pool: Callable[[int], Pool], autoencoder: AutoencoderKL, folder: Path) -> None:
        self._pool, self._autoencoder, self._folder = pool, autoencoder, folder
        self._number = -1
        self._present: Latents | None = None

    def __call__(self, number: int) -> Latents:
        """Pool `number`."""
        if self._present is None or number != self._number:
            pool = self._pool(number)
            self._number, self._present = number, Latents(self._values(number, pool), pool)
        return self._present

    def _values(self, number: int, pool: Pool) -> Tensor:
        path = self._folder / f"pool-{number}.pt"
        if path.exists():
            kept: Tensor = torch.load(path, weights_only=True)
            return kept
        parts = torch.split(torch.arange(pool.count), 64)
        values = torch.cat([encode(self._autoencoder, pool.images(part)).half() for part in parts])
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob("pool-*"):
            old.unlink()
        partial = path.with_suffix(".part")
        torch.save(values, partial)
        partial.replace(path)
        return values


class Denoising:
    """A denoiser learning from `pools`, measured on `held_out`."""

    measure_every = 500

    def __init__(
        self,
        model: UNet2DConditionModel,
        pools: Callable[[int], Latents],
        held_out: tuple[Tensor, HeldOut],
        encode: Encode,
        settings: Settings,
    ) -> None:
        self.settings, self.pools, self.encode = settings, pools, encode
        self.model = model.to(settings.device)
        self.latents, self.held_out = held_out
        self.averages = Averages(self.model, DECAYS)
        self.optimizer = make_optimizer(self.model, settings.peak)
        self.parameters = [value for group in self.optimizer.param_groups for value in group["params"]]
        self.alphas = noising.noise_schedule(settings.zero_terminal_snr).alphas_cumprod
        self.fast = running.fast_precision(settings.device, settings.precision)
        self.predict = torch.compile(self.model) if settings.compiled else self.model
        self.best: dict[str, Tensor] = {}
        self._lowest = 0

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on; the pools are known by number."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averages": self.averages.state(),
            "best": self.best,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averages.load(state["averages"])
        self.best = dict(state["best"])

    def advance(self, number: int) -> dict[str, float]:
        """One batch of one pool."""
        settings, generator = self.settings, running.randomness(self.settings.seed, number)
        rng, latents = np.random.default_rng([settings.seed, number]), self.pools(number // settings.pool_steps)
        chosen = torch.multinomial(latents.pool.odds, settings.batch, replacement=True, generator=generator)
        captions = [latents.pool.caption(int(index), rng) for index in chosen]
        times = draw_times(settings.batch, settings.times, generator)
        values = latents.values[chosen].float()
        noisy, target = noising.diffuse(values, times, self.alphas, generator)
        self.model.train()
        predicted = self._predicted(noisy, times, self.encode(captions, rng, settings.merged))
        errors = (predicted - target.to(settings.device)).square()
        if latents.pool.weights is not None:
            weights = torch.stack([latents.pool.weights(caption) for caption in captions])
            errors = errors * weights.to(settings.device)
        loss = errors.mean()
        for group in self.optimizer.param_groups:
            group["lr"] = running.learning_rate(number, settings.peak, cool=settings.cool) * group["factor"]
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.averages.update(number)
        return {"loss": loss.item()}

    def _predicted(self, noisy: Tensor, times: Tensor, hidden: Tensor) -> Tensor:
        device = self.settings.device
        with torch.autocast(device, torch.bfloat16, enabled=self.fast):
            predicted: Tensor = self.predict(noisy.to(device), times.to(device), hidden.to(device)).sample
        return predicted.float()

    def measure(self) -> dict[str, float]:
        """Held-out loss of each average, and how much more the loss is under captions with something swapped."""
        shown = [self.averages.averaged(place) for place in range(len(DECAYS))]
        losses = [self._loss(model, self.held_out.captions, self.held_out.times) for model in shown]
        figures = {f"held_out_{decay}": loss for decay, loss in zip(DECAYS, losses, strict=True)}
        figures |= {"held_out_last": self._loss(self.model, self.held_out.captions, self.held_out.times)}
        self._lowest = losses.index(min(losses))
        model = shown[self._lowest]
        times = self.held_out.probed_at
        right = self._loss(model, self.held_out.captions, times, focused=True)
        for name, captions in self.held_out.swapped.items():
            figures[f"swapped_{name}"] = self._loss(model, captions, times, focused=True) / right
        return {"held_out_loss": min(losses), **figures}

    @torch.no_grad()
    def _loss(self, model: Any, captions: Sequence[Caption], times: Sequence[int], *, focused: bool = False) -> float:
        """Mean error over fixed `times` and noise; `focused` on where swapped words show."""
        model.eval()
        count = len(next(iter(self.held_out.swapped.values()))) if focused else len(self.latents)
        hidden, sums, weights = self.encode(captions[:count], None, 0.0).to(self.settings.device), 0.0, 0.0
        focus = self.held_out.focus if focused else None
        for time in times:
            generator, steps = torch.Generator().manual_seed(time), torch.full((count,), time)
            noisy, target = noising.diffuse(self.latents[:count], steps, self.alphas, generator)
            with torch.autocast(self.settings.device, torch.bfloat16, enabled=self.fast):
                drawn = model(*(part.to(self.settings.device) for part in (noisy, steps)), hidden).sample
            errors = (drawn.float().cpu() - target).square()
            weight = torch.ones_like(errors) if focus is None else focus.expand_as(errors)
            sums, weights = sums + float((errors * weight).sum()), weights + float(weight.sum())
        return sums / weights

    def keep_best(self) -> None:
        """Remember the average that `measure` has just found to have the lowest held-out loss."""
        self.best = copy.deepcopy(self.averages.averaged(self._lowest).state_dict())


def draw_times(count: int, spans: Times, generator: torch.Generator) -> Tensor:
    """Time steps 0 to 999: of each of `spans` its share, rounded down (of the first what is left), one a stratum."""
    numbers = [int(count * share) for _, _, share in spans]
    numbers[0] += count - sum(numbers)
    drawn = [
        low + (torch.arange(number) + torch.rand(number, generator=generator)) / max(1, number) * (above - low)
        for (low, above, _), number in zip(spans, numbers, strict=True)
    ]
    return torch.cat(drawn).long().clamp(max=999)


def frozen(encoder: CaptionEncoder) -> Encode:
    """A caption encoder that is not trained."""
    return lambda captions, rng, merged: encoder(captions, rng, merged)
