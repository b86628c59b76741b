"""What differs between kinds of diffusion model, and the loss that they share.

A family is three short functions: images to latents, prompts to a condition, noisy latents to a prediction.
Everything else (rows, loop, audit) is written once against `Family` and `loss`. A pipeline of the Stable Diffusion
shape needs only `_SD`, whether its text encoder is CLIP (SD 1 and 2, the built-in bases) or BERT (the kind of MSDM).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from embhub.errors import UsageError

Condition = dict[str, Tensor]
"""What the denoiser is told of a prompt: tensors whose first axis counts prompts."""


@dataclass(frozen=True)
class Encoder:
    """One text encoder of a pipeline, its tokenizer, and the name of the tokenizer's place in the pipeline."""

    name: str
    tokenizer_name: str
    tokenizer: Any
    model: Any

    @property
    def table(self) -> Tensor:
        """The token-embedding table, (vocabulary, width)."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight


@dataclass(frozen=True)
class Family:
    """How one kind of pipeline is driven.

    `latents(pipe, images)`: images (B, 3, H, W) in [-1, 1] to latents, without sampling, so that a cache is exact.
    `condition(pipe, prompts)`: the pipeline's own encoding of P prompts, gradients kept.
    `predict(pipe, latents, timesteps, condition)`: the denoiser's output for B noisy latents.
    """

    name: str
    latents: Callable[[Any, Tensor], Tensor]
    condition: Callable[[Any, Sequence[str]], Condition]
    predict: Callable[[Any, Tensor, Tensor, Condition], Tensor]


def _sd_latents(pipe: Any, images: Tensor) -> Tensor:
    latents: Tensor = pipe.vae.encode(images.to(pipe.vae.dtype)).latent_dist.mode()
    return latents.float() * float(pipe.vae.config.scaling_factor)


def _sd_condition(pipe: Any, prompts: Sequence[str]) -> Condition:
    hidden, _ = pipe.encode_prompt(list(prompts), pipe.device, 1, do_classifier_free_guidance=False)
    return {"hidden": hidden}


def _sd_predict(pipe: Any, latents: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
    noisy = latents.to(pipe.unet.dtype)
    predicted: Tensor = pipe.unet(noisy, timesteps, encoder_hidden_states=condition["hidden"]).sample
    return predicted


_SD = Family("sd", _sd_latents, _sd_condition, _sd_predict)


def detect(pipe: Any) -> Family:
    """The family of a loaded pipeline.

    Raises:
        UsageError: no adapter knows this kind of pipeline.
    """
    kind = type(pipe).__name__
    known = kind.startswith("StableDiffusion") and not kind.startswith(("StableDiffusionXL", "StableDiffusion3"))
    if known and hasattr(pipe, "unet") and len(encoders(pipe)) == 1:
        return _SD
    raise UsageError(
        f"no adapter for a {kind}",
        "use a Stable Diffusion 1 or 2 pipeline, one of the same shape with a BERT encoder, or a built-in base",
    )


def encoders(pipe: Any) -> list[Encoder]:
    """The text encoders of a pipeline that have a tokenizer, in the pipeline's order."""
    found = []
    for suffix in ("", "_2", "_3"):
        model, tokenizer = getattr(pipe, f"text_encoder{suffix}", None), getattr(pipe, f"tokenizer{suffix}", None)
        if model is not None and tokenizer is not None:
            found.append(Encoder(f"text_encoder{suffix}", f"tokenizer{suffix}", tokenizer, model))
    return found


def resolution(pipe: Any) -> int:
    """Side of the square images, in pixels, that the denoiser was trained for."""
    return int(pipe.unet.config.sample_size) * int(pipe.vae_scale_factor)


def loss(pipe: Any, family: Family, latents: Tensor, condition: Condition, noise: Tensor, timesteps: Tensor) -> Tensor:
    """Error of the denoiser for each sample, (B,), float32: mean squares over channels and places.

    `latents` and `noise` (B, C, h, w), `timesteps` int64 (B,). A condition of one prompt serves the whole batch. The
    target is the scheduler's: noise (Ho et al. 2020, arXiv 2006.11239), v (Salimans and Ho 2022, arXiv 2202.00512) or
    the sample.

    Raises:
        UsageError: the scheduler's prediction type is none of the three.
    """
    alpha = _alphas(pipe, latents.device)[timesteps].view(-1, *[1] * (latents.ndim - 1))
    noisy = add_noise(pipe, latents, noise, timesteps)
    kind = prediction_type(pipe)
    if kind == "epsilon":
        target = noise
    elif kind == "v_prediction":
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    else:
        target = latents
    shared = {name: part.expand(len(latents), *part.shape[1:]) for name, part in condition.items()}
    predicted = family.predict(pipe, noisy, timesteps, shared)
    return F.mse_loss(predicted.float(), target.float(), reduction="none").flatten(1).mean(1)


def predict_noise(pipe: Any, noisy: Tensor, condition: Condition, timesteps: Tensor) -> Tensor:
    """The noise that the denoiser sees in (B, C, h, w) at timesteps (B,), whatever it was taught to predict; float32.

    Raises:
        UsageError: the scheduler's prediction type is none of the three of `loss`.
    """
    alpha = _alphas(pipe, noisy.device)[timesteps].view(-1, *[1] * (noisy.ndim - 1))
    shared = {name: part.expand(len(noisy), *part.shape[1:]) for name, part in condition.items()}
    predicted = detect(pipe).predict(pipe, noisy, timesteps, shared).float()
    kind = prediction_type(pipe)
    if kind == "epsilon":
        return predicted
    if kind == "v_prediction":
        return alpha.sqrt() * predicted + (1 - alpha).sqrt() * noisy
    return (noisy - alpha.sqrt() * predicted) / (1 - alpha).sqrt()


def add_noise(pipe: Any, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """Latents (B, C, h, w) with noise of the schedule's strength at timesteps (B,)."""
    alpha = _alphas(pipe, latents.device)[timesteps].view(-1, *[1] * (latents.ndim - 1))
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise


def take_noise(pipe: Any, noisy: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """The inverse of `add_noise`: the latents that had this noise laid on them."""
    alpha = _alphas(pipe, noisy.device)[timesteps].view(-1, *[1] * (noisy.ndim - 1))
    return (noisy - (1 - alpha).sqrt() * noise) / alpha.sqrt().clamp(min=1e-6)


def min_snr_weights(pipe: Any, timesteps: Tensor, gamma: float) -> Tensor:
    """Weights of timesteps, (B,), that even out their difficulty (Hang et al. 2023, arXiv 2303.09556)."""
    alpha = _alphas(pipe, timesteps.device)[timesteps]
    ratio = alpha / (1 - alpha)
    divisor = {"epsilon": ratio, "v_prediction": ratio + 1, "sample": torch.ones_like(ratio)}[prediction_type(pipe)]
    # A schedule with zero terminal signal has ratio 0, where min(ratio, gamma) / ratio tends to 1.
    return torch.where(divisor > 0, ratio.clamp(max=gamma) / divisor.clamp(min=1e-12), torch.ones_like(ratio))


def prediction_type(pipe: Any) -> str:
    """`epsilon`, `v_prediction` or `sample`, as the pipeline's scheduler has it."""
    kind = str(getattr(pipe.scheduler.config, "prediction_type", ""))
    if kind not in ("epsilon", "v_prediction", "sample") or not hasattr(pipe.scheduler, "alphas_cumprod"):
        raise UsageError(
            f"a {type(pipe.scheduler).__name__} of prediction type {kind or 'unknown'} is not supported",
            "use a base that predicts noise, v or the sample",
        )
    return kind


def noise_levels(pipe: Any) -> int:
    """Number of timesteps of the noise schedule."""
    return int(pipe.scheduler.config.num_train_timesteps)


def _alphas(pipe: Any, device: torch.device) -> Tensor:
    alphas: Tensor = pipe.scheduler.alphas_cumprod
    return alphas.to(device=device, dtype=torch.float32)
