"""Image embeddings that stand in a decoder for a token: one that is being learned, and those that were loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import UsageError

NAME = "image_embeds"
"""Of the one tensor, and of what a decoder's U-Net is told."""


@dataclass(frozen=True)
class Learning:
    """The vector behind a placeholder: (1, D), or (P, 1, D) with one for each prompt."""

    placeholder: str
    vector: Tensor


LEARNING: WeakKeyDictionary[nn.Module, Learning] = WeakKeyDictionary()
PLUGGED: WeakKeyDictionary[nn.Module, dict[str, Tensor]] = WeakKeyDictionary()
"""By the decoder's U-Net."""


def width(pipe: Pipeline) -> int:
    """Numbers of an image embedding that the decoder reads."""
    return int(pipe.unet.config.encoder_hid_dim)


def read(pipe: Pipeline, prompts: Sequence[str]) -> Tensor:
    """What P prompts say to a decoder, (P, D): the vector that is learned where its placeholder stands, else zeros."""
    nothing = torch.zeros(width(pipe), device=pipe.device)
    known = LEARNING.get(pipe.unet)
    if known is None:
        return nothing.expand(len(prompts), -1)
    each = known.vector if known.vector.ndim == 3 else known.vector.expand(len(prompts), 1, -1)
    return torch.stack(
        [own[0] if known.placeholder in text else nothing.to(own) for text, own in zip(prompts, each, strict=True)]
    )


def plugged(pipe: Pipeline, prompts: Sequence[str]) -> Tensor | None:
    """The vectors (P, D) behind prompts that are a loaded token and nothing else; None where one has no such token.

    Raises:
        UsageError: a token among other words, which no decoder would read.
    """
    known = PLUGGED.get(pipe.unet, {})
    for text in prompts:
        if text.strip() not in known and (found := next((token for token in known if token in text), None)):
            raise UsageError(
                f"{found} is an image embedding, which takes no further text in the prompt",
                f'give "{found}" alone as the prompt',
            )
    if not all(text.strip() in known for text in prompts):
        return None
    return torch.stack([known[text.strip()] for text in prompts]).to(pipe.unet.device, pipe.unet.dtype)


def start(pipe: Pipeline, vectors: int, *, generator: torch.Generator, spread: float) -> dict[str, Tensor]:
    """A vector to start from, (1, D): zeros but for a little noise, since a decoder has no words to start from.

    Raises:
        UsageError: more than one was asked for.
    """
    if vectors != 1:
        raise UsageError(f"{vectors} vectors, and a decoder reads one image embedding", "use --num-vectors 1")
    return {NAME: 0.1 * spread * torch.randn(1, width(pipe), generator=generator)}
