"""What the gates of both kinds of base share: settings, an inversion and its pictures, words, shares with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from bases.workshop.counting import Figures, Pictures
from bases.workshop.sampling import sample_with
from embhub.builtin_bases import BaseInfo
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import eval_loss, inversion
from embhub.diffusion.training.inversion import default_recipe

TOKEN = "<measured>"  # noqa: S105  # a word of prompts, no secret
_Z = 1.96


def settings(base: BaseInfo) -> dict[str, Any]:
    """Guidance and steps that the base recommends."""
    return {"guidance": base.recommended["guidance"], "steps": int(base.recommended["steps"])}


def inverted(
    pipe: Pipeline, base: BaseInfo, latents: Tensor, caption: str, count: int, seed: int, *, per_layer: bool = False
) -> tuple[Pictures, dict[str, Any]]:
    """`count` pictures generated with rows learned from `latents` in place of `{}` in `caption`, and how they were
    learned."""
    recipe = replace(default_recipe(pipe), per_layer=per_layer)
    fit = inversion.fit(pipe, latents, token=TOKEN, caption=caption, recipe=recipe, seed=seed)
    pictures = sample_with(pipe, fit.rows, caption, count, seed=3000, **settings(base))
    return pictures, {"images": len(latents), "vectors": recipe.num_vectors, "steps": recipe.steps}


def nearest_words(pipe: Pipeline, latents: Tensor, captions: Iterable[str]) -> str:
    """The caption with the lowest loss on `latents`."""

    def loss(prompt: str) -> float:
        return eval_loss.mean_loss(pipe, latents, token="", caption=prompt, rows=None, draws=4)

    return min(captions, key=loss)


def share(marks: Sequence[Any]) -> Figures:
    """The share of `marks` that hold, with Wilson's 95% interval."""
    number, held = len(marks), sum(map(bool, marks))
    low, high = wilson(held, number)
    return {"share": round(held / number, 3), "low": round(low, 3), "high": round(high, 3)}


def wilson(held: int, number: int) -> tuple[float, float]:
    """Wilson's 95% interval of `held` of `number`."""
    part = held / number
    middle = part + _Z**2 / (2 * number)
    half = _Z * math.sqrt(part * (1 - part) / number + _Z**2 / (4 * number**2))
    whole = 1 + _Z**2 / number
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)
