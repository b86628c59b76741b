"""What a stock pipeline's own call tells its denoiser, overheard by a hook: any family, in one form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from embhub.diffusion.families import denoiser, image_size_arguments, resolution


@dataclass(frozen=True)
class Heard:
    """One call of a denoiser: latents (B, C, h, w), the time of the schedule, the prompt's hidden states (B, T, d) and
    masks or pooled texts beside them, and what it answered of the latents' shape."""

    latents: Tensor
    time: Tensor
    hidden: Tensor
    answer: Tensor


def listen(pipe: Any, prompt: str, *, steps: int = 2, **more: Any) -> list[Heard]:
    """Draw one image without guidance, and return every call of the denoiser."""
    calls: list[Any] = []
    hook = denoiser(pipe).register_forward_hook(lambda *call: calls.append(call[1:]), with_kwargs=True)
    asked: dict[str, Any] = {"guidance_scale": 1.0, "output_type": "latent", **image_size_arguments(pipe), **more}
    if type(pipe).__name__ == "QwenImagePipeline":
        asked.pop("guidance_scale")
    elif type(pipe).__name__ == "ZImagePipeline":
        asked["guidance_scale"] = 0.0  # it counts from another end
    try:
        pipe(prompt=prompt, num_inference_steps=steps, generator=torch.Generator().manual_seed(0), **asked)
    finally:
        hook.remove()
    assert len(calls) == steps
    return [
        _in_one_form(pipe, call[0], call[1], call[2], time)
        for call, time in zip(calls, list(pipe.scheduler.timesteps), strict=True)
    ]


def packed(pipe: Any, latents: Tensor) -> Tensor:
    """Latents as the pipeline's loop holds them."""
    kind = type(pipe).__name__
    if kind in ("FluxPipeline", "QwenImagePipeline"):
        latents = pipe._pack_latents(latents, *latents.shape)
    elif kind == "Flux2KleinPipeline":
        latents = pipe._pack_latents(latents)
    return latents


def _in_one_form(pipe: Any, words: tuple[Any, ...], named: dict[str, Any], answer: Any, time: Tensor) -> Heard:
    kind, side = type(pipe).__name__, resolution(pipe)
    if kind == "ZImagePipeline":  # lists of images with a frame and of texts; it answers with the other sign
        latents, answers = (torch.stack(part).squeeze(2) for part in (words[0], answer[0]))
        return Heard(latents, time, torch.stack(words[2]), -answers)
    seen, told = words[0] if words else named["hidden_states"], answer[0]
    if kind == "FluxPipeline":
        seen, told = (pipe._unpack_latents(part, side, side, pipe.vae_scale_factor) for part in (seen, told))
    elif kind == "QwenImagePipeline":
        seen, told = (pipe._unpack_latents(part, side, side, pipe.vae_scale_factor).squeeze(2) for part in (seen, told))
    elif kind == "Flux2KleinPipeline":
        places = side // pipe.vae_scale_factor // 2
        seen, told = (part.transpose(1, 2).reshape(1, -1, places, places) for part in (seen, told))
    return Heard(seen, time, named["encoder_hidden_states"], told[:, : seen.shape[1]])
