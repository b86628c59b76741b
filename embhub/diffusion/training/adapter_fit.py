"""Learning a compact adapter without privacy: low-rank changes (LoRA) of a U-Net's attention layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from embhub.artifact.adapter import TARGETS
from embhub.diffusion.bases.pipelines import trainable_attention
from embhub.diffusion.families import detect, device_of, loss, noise_levels
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.inversion import DivergedError
from embhub.diffusion.training.precision import in_bfloat16, precision, repeatable
from embhub.diffusion.training.schedule import draw_batch, pace
from embhub.diffusion.training.seeding import make_generator
from embhub.options.adapter import AdapterRecipe

OnStep = Callable[[int, float], None]
_HIGH_NOISE = 0.3  # of a batch, from the noisiest 30 % of the schedule: there layout is decided


def settle(recipe: AdapterRecipe, side: int, device: str) -> AdapterRecipe:
    """What suits a base of this resolution on this device, where nothing was chosen.

    Raises:
        UsageError: a precision that the device has not.
    """
    steps, rate, batch = (400, 3e-3, 16) if side <= 128 else (2000, 5e-4, 4)
    return replace(
        recipe,
        steps=recipe.steps or steps,
        learning_rate=recipe.learning_rate or rate,
        batch_size=recipe.batch_size or batch,
        precision="bfloat16" if in_bfloat16(device, recipe.precision or "auto") else "float32",
    )


def learn(
    pipe: Pipeline, latents: Tensor, text: str, recipe: AdapterRecipe, seed: int, on_step: OnStep | None = None
) -> tuple[float, ...]:
    """Add the adapter to the U-Net and learn it there; `remove` takes it out again. All draws come from `seed`.

    Args:
        pipe: a Stable Diffusion pipeline whose U-Net has no adapter of this kind.
        latents: (N, C, h, w).
        text: the prompt, with the token as plain text.
        recipe: as `settle` gives it.
        seed: of the start, the batches, the noise and the times.
        on_step: called with the number of each step and its loss.

    Returns:
        The loss of every step.

    Raises:
        DivergedError: a loss or a gradient that is not a number.
    """
    generator, family, unet = make_generator(seed), detect(pipe), pipe.unet
    steps, rate, size = recipe.steps or 1, recipe.learning_rate or 0.0, recipe.batch_size or 1
    with torch.random.fork_rng(devices=[]):
        unet.add_adapter(
            LoraConfig(
                r=recipe.rank,
                lora_alpha=recipe.rank,
                init_lora_weights="gaussian",
                target_modules=TARGETS[recipe.target_modules],
            )
        )
    learning = {name: weight for name, weight in unet.named_parameters() if weight.requires_grad}
    for name, weight in learning.items():
        weight.data = weight.data.float()
        if ".lora_A." in name:  # of all bits of the seed, which is secret: torch's own start counts the lowest 32
            weight.data = torch.randn(weight.shape, generator=generator).to(pipe.device) / recipe.rank
    weights = list(learning.values())
    optimizer, losses = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0), list[float]()
    with torch.no_grad():
        condition = family.condition(pipe, [text])
    levels, device = noise_levels(pipe), device_of(pipe)
    with trainable_attention(pipe), repeatable(pipe):
        for step in range(steps):
            chosen, times, noise = draw_batch(latents, size, levels, generator, high=_HIGH_NOISE)
            batch = latents[chosen].to(device)
            with precision(pipe, mixed=recipe.precision == "bfloat16"):
                error = loss(pipe, family, batch, condition, noise.to(device), times.to(device)).mean()
            optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            norm = float(nn.utils.clip_grad_norm_(weights, 1.0))
            if not math.isfinite(norm) or not math.isfinite(error.item()):
                raise DivergedError(f"loss or gradient at step {step + 1} is not a number", "lower the learning rate")
            for group in optimizer.param_groups:
                group["lr"] = rate * pace(step, steps)
            optimizer.step()
            losses.append(error.item())
            if on_step:
                on_step(step + 1, losses[-1])
    unet.requires_grad_(False)
    return tuple(losses)


def read_matrices(unet: Any) -> dict[str, NDArray[Any]]:
    """The learned matrices under the names that diffusers loads."""
    return {
        f"unet.{name}": value.detach().float().cpu().numpy() for name, value in get_peft_model_state_dict(unet).items()
    }


def remove(unet: Any) -> None:
    """Take the learned adapter out of the U-Net, which is then as it was before `learn`."""
    unet.unload_lora()
