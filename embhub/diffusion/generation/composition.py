"""Several prompts in one picture: their predictions of the noise are mixed, never their rows or their words.

With g the guidance, u the prediction without a prompt and e_i that of prompt i of weight w_i, each step of the stock
pipeline sees u + g * sum_i w_i (e_i - u) (Liu et al. 2022, arXiv 2206.01714). Weights that add up to 1 interpolate
(0.3 healthy, 0.7 diseased), weights of 1 each combine. Every prompt is encoded alone and has the encoder's whole length
to itself: two embeddings of 64 vectors fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from embhub.diffusion.families import of_class
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation.weighted_prompts import Part, settle_parts
from embhub.errors import UsageError

_MIXING = "StableDiffusion"
"""How the classes of pipelines begin that mix prompts: 1, 2, XL and 3."""
_ROUNDING = 1e-9
"""By so much the sum of weights such as 0.1, 0.2 and 0.7 may miss 1."""


@contextmanager
def composed(pipe: Pipeline, parts: Sequence[Part], *, guidance: float) -> Iterator[str]:
    """While open, the pipeline called with the yielded prompt (with `guidance`) draws the composition of all parts.

    The pipeline is a stock one of Stable Diffusion's shape (1, 2, XL, 3; to draw or to inpaint); its denoiser is asked
    about all prompts in one batch. Where one prompt of weight 1 is all that has a weight, nothing is put in between:
    the picture is the plain pipeline's, bit for bit.

    Raises:
        UsageError: no part has a weight, no guidance to mix weights that do not add up to 1 or one that is no number,
            another kind of pipeline.
    """
    settled = settle_parts(parts)
    if not math.isfinite(guidance):
        raise UsageError(f"a guidance of {guidance:g}", "choose a number, such as 7.5; at 1 or less there is none")
    if len(settled) == 1 and settled[0].weight == 1:
        yield settled[0].prompt
        return
    denoiser = _denoiser(pipe)
    rest = 1 - math.fsum(part.weight for part in settled)
    if abs(rest) > _ROUNDING and not guidance > 1:
        raise UsageError(
            f"weights that add up to {1 - rest:g} need guidance above 1, and it is {guidance:g}",
            "raise the guidance, or choose weights that add up to 1",
        )
    mixer = _Mixer(pipe, settled, rest if abs(rest) > _ROUNDING else 0.0)
    hooks = [
        denoiser.register_forward_pre_hook(mixer.widen, with_kwargs=True),
        denoiser.register_forward_hook(mixer.fold),
    ]
    try:
        yield settled[0].prompt
    finally:
        for hook in hooks:
            hook.remove()


def check_mixing(parts: Sequence[Part], kind: str) -> None:
    """Refuse several prompts for a class of pipelines that mixes none, before such a base is loaded.

    Raises:
        UsageError: as `composed`, of the kind alone; a class that no adapter knows is left to the loader.
    """
    settled = settle_parts(parts)
    if of_class(kind) and not kind.startswith(_MIXING) and (len(settled) > 1 or settled[0].weight != 1):
        raise _refusal(kind)


def at_once(batch_size: int, parts: Sequence[Part]) -> int:
    """How many images to draw at a time so that the denoiser sees no larger batch than for one prompt."""
    return max(1, 2 * batch_size // (1 + len(settle_parts(parts))))


class _Mixer:
    """Two hooks on a denoiser: a batch (without prompt, first prompt) is widened by the others, and folded back."""

    def __init__(self, pipe: Pipeline, parts: Sequence[Part], rest: float) -> None:
        self._pipe, self._rest = pipe, rest
        self._weights = [part.weight for part in parts]
        self._others = [_encode(pipe, part.prompt) for part in parts[1:]]
        self._images = 0

    def widen(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        sample = args[0] if args else kwargs["hidden_states"]
        self._images = len(sample) // self._sides
        wide = {name: self._widen(name, value) for name, value in kwargs.items()}
        return tuple(self._widen("", value) for value in args), wide

    def fold(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> tuple[Tensor, ...]:
        """The pipeline computes u + g (mixed - u) from what this returns, in the precision of the denoiser."""
        predictions = output[0].split(self._images)
        free, each = predictions[: self._sides - 1], predictions[self._sides - 1 :]
        mixed = sum(weight * one.float() for weight, one in zip(self._weights, each, strict=True))
        if self._rest:
            mixed = mixed + self._rest * free[0].float()
        return (torch.cat([*free, mixed.to(output[0].dtype)]),)

    @property
    def _sides(self) -> int:
        """2 where the pipeline predicts without a prompt as well, else 1."""
        return 2 if self._pipe.do_classifier_free_guidance else 1

    def _widen(self, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._widen(key, inner) for key, inner in value.items()}
        if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != self._images * self._sides:
            return value
        prompted = value[-self._images :]
        return torch.cat([value, *(one[name].expand_as(prompted) if name in one else prompted for one in self._others)])


def _denoiser(pipe: Pipeline) -> nn.Module:
    name = "transformer" if type(pipe).__name__.startswith("StableDiffusion3") else "unet"
    found = getattr(pipe, name, None)
    if not type(pipe).__name__.startswith(_MIXING) or not isinstance(found, nn.Module):
        raise _refusal(type(pipe).__name__)
    return found


def _refusal(kind: str) -> UsageError:
    return UsageError(
        f"prompts cannot be weighed against each other in a {kind}",
        "generate from one prompt of weight 1, or use a Stable Diffusion base",
    )


@torch.no_grad()
def _encode(pipe: Pipeline, prompt: str) -> dict[str, Tensor]:
    """One prompt by the pipeline's own encoder, (1, …) under the names by which its denoiser is told of it."""
    several = {f"prompt{suffix}": None for suffix in ("_2", "_3") if hasattr(pipe, f"text_encoder{suffix}")}
    found = pipe.encode_prompt(
        prompt=[prompt], device=pipe.device, num_images_per_prompt=1, do_classifier_free_guidance=False, **several
    )
    pooled = found[2] if len(found) > 2 else None
    told = {"encoder_hidden_states": found[0], "text_embeds": pooled, "pooled_projections": pooled}
    return {name: value for name, value in told.items() if value is not None}
