"""The loss that all families share, and the noise that a denoiser sees, whatever it was taught to predict."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from embhub.diffusion.families import schedule
from embhub.diffusion.families.detection import detect
from embhub.diffusion.families.family import Condition, Family
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.families.schedule import like


def loss(
    pipe: Pipeline, family: Family, latents: Tensor, condition: Condition, noise: Tensor, timesteps: Tensor
) -> Tensor:
    """Error of the denoiser for each sample, (B,), float32: mean squares over channels and places.

    `latents` and `noise` (B, C, h, w), `timesteps` int64 (B,). A condition of one prompt serves the whole batch. The
    target is the scheduler's: noise (Ho et al. 2020, arXiv 2006.11239), v (Salimans and Ho 2022, arXiv 2202.00512),
    the sample, or the velocity noise - latents of a rectified flow (Liu et al. 2022, arXiv 2209.03003).

    Raises:
        BadBaseError: the scheduler's prediction type is none of the four.
    """
    kind = schedule.prediction_type(pipe)
    if kind == "epsilon":
        target = noise
    elif kind == "v_prediction":
        signal, strength = (like(part, latents) for part in schedule.strengths(pipe, timesteps))
        target = signal * noise - strength * latents
    elif kind == "flow":
        target = noise - latents
    else:
        target = latents
    noisy = schedule.add_noise(pipe, latents, noise, timesteps)
    predicted = family.predict(pipe, noisy, schedule.told(pipe, timesteps), _shared(condition, len(latents)))
    return F.mse_loss(predicted.float(), target.float(), reduction="none").flatten(1).mean(1)


def predict_noise(pipe: Pipeline, noisy: Tensor, condition: Condition, timesteps: Tensor) -> Tensor:
    """The noise that the denoiser sees in (B, C, h, w) at timesteps (B,), whatever it was taught to predict; float32.

    Raises:
        BadBaseError: the scheduler's prediction type is none of the four of `loss`.
    """
    kind = schedule.prediction_type(pipe)
    signal, strength = (like(part, noisy) for part in schedule.strengths(pipe, timesteps))
    shared = _shared(condition, len(noisy))
    predicted = detect(pipe).predict(pipe, noisy, schedule.told(pipe, timesteps), shared).float()
    if kind == "epsilon":
        return predicted
    if kind == "v_prediction":
        return signal * predicted + strength * noisy
    if kind == "flow":
        return noisy + signal * predicted
    return (noisy - signal * predicted) / strength


def _shared(condition: Condition, count: int) -> Condition:
    return {name: part.expand(count, *part.shape[1:]) for name, part in condition.items()}
