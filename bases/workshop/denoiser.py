"""The denoiser of a base: a small UNet2DConditionModel that predicts v, and the loop that trains it.

Plain loss, no min-SNR: that would nearly remove the noisiest steps, and it is there that the layout, hence what words
say about place, is decided. For the same reason more of the draws of the time step are high ones, most at first. The
loss weighs places where findings of a modality tend to be, never the finding of the very image: that would teach the
denoiser to see findings everywhere. Words reach every level by cross-attention and, pooled, the time embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from bases.workshop.corpus import Caption
from bases.workshop.text_encoder import WIDTH, CaptionEncoder

_PEAK = 1.2e-3
_DECAY = 0.999
_HIGH = 780  # time steps from here on decide the layout


def build(seed: int) -> UNet2DConditionModel:
    """An untrained denoiser, 5.4 M parameters, for latents (N, 4, 16, 16)."""
    torch.manual_seed(seed)
    model = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 96, 128),
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


def noise_schedule() -> DDPMScheduler:
    """Stable Diffusion's schedule, v-prediction, time steps spaced to end at pure noise."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
    )


def make_optimizer(model: UNet2DConditionModel) -> torch.optim.Optimizer:
    """AdamW, one and a half times the rate for what carries words and time."""
    eager = [value for name, value in model.named_parameters() if _eager(name)]
    others = [value for name, value in model.named_parameters() if not _eager(name)]
    groups = [{"params": eager, "factor": 1.5}, {"params": others, "factor": 1.0}]
    return torch.optim.AdamW(groups, _PEAK, weight_decay=1e-3, betas=(0.9, 0.99), fused=True)


def _eager(name: str) -> bool:
    return any(part in name for part in ("add_embedding", "time_emb_proj", "attn2"))


def learning_rate(step: int, steps: int) -> float:
    """Warm-up over 60 steps, flat for 60 % of the run, then half a cosine."""
    done = step / steps
    fall = 1.0 if done < 0.6 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.6) / 0.4)
    return _PEAK * min(1.0, (step + 1) / 60) * fall + 1e-5


@dataclass(frozen=True)
class Latents:
    """What the denoiser trains on: `values` (N, 4, 16, 16), loss `weights` (N, 1, 16, 16), `odds` (N,) of being
    drawn."""

    values: Tensor
    weights: Tensor
    odds: Tensor


def train(
    model: UNet2DConditionModel,
    average: list[Tensor],
    optimizer: torch.optim.Optimizer,
    latents: Latents,
    caption: Callable[[int, np.random.Generator], Caption],
    encode: CaptionEncoder,
    *,
    start: int,
    steps: int,
    batch: int,
    seed: int,
    on_step: Callable[[int, float], None],
    compiled: bool = False,
) -> None:
    """Train from step `start` to `steps`, keeping a moving average of the weights in `average`.

    All randomness of a step comes from `seed` and its number, so a resumed run is the uninterrupted one. `compiled`
    goes through torch.compile: minutes to begin with, a quarter less a step, other rounding.
    """
    model.train()
    predict = torch.compile(model) if compiled else model
    alphas = noise_schedule().alphas_cumprod
    parameters = list(model.parameters())
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps) * group["factor"]
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rng = np.random.default_rng([seed, step])
        early = step < steps * 0.5
        chosen = torch.multinomial(latents.odds, batch, replacement=True, generator=generator)
        captions = [caption(int(index), rng) for index in chosen]
        hidden = encode(captions, rng, merged=0.15 if early else 0.35)
        high = int(batch * (0.45 if early else 0.2))
        times = torch.cat(
            [
                torch.randint(0, 1000, (batch - high,), generator=generator),
                torch.randint(_HIGH, 1000, (high,), generator=generator),
            ]
        )
        noisy, target = diffuse(latents.values[chosen], times, alphas, generator)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = predict(noisy, times, hidden).sample
        loss = ((predicted.float() - target).square() * latents.weights[chosen]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        decay = min(_DECAY, (2 + step) / (11 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1 - decay)
        on_step(step + 1, loss.item())


def diffuse(latents: Tensor, times: Tensor, alphas: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy latents at `times` and the v that a denoiser should predict for them."""
    noise = torch.randn(latents.shape, generator=generator)
    signal = alphas[times].view(-1, 1, 1, 1)
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    return noisy, signal.sqrt() * noise - (1 - signal).sqrt() * latents


@torch.no_grad()
def sensitivity(
    model: UNet2DConditionModel,
    latents: Tensor,
    focus: Tensor,
    captions: Sequence[Sequence[Caption]],
    encode: CaptionEncoder,
    time: int = 880,
) -> list[float]:
    """Loss where `focus` (N, 1, 16, 16) is, under each of several lists of N captions: right words first, then wrong
    ones.

    While the figures are equal the denoiser does not read the words that differ.
    """
    alphas = noise_schedule().alphas_cumprod
    times = torch.full((len(latents),), time)
    noisy, target = diffuse(latents, times, alphas, torch.Generator().manual_seed(0))
    model.eval()
    figures = []
    for words in captions:
        error = (model(noisy, times, encode(words)).sample - target).square() * focus
        figures.append(float(error.sum() / focus.sum() / error.shape[1]))
    model.train()
    return figures
