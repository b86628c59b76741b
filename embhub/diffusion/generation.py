"""Drawing images, with embeddings or without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from embhub.diffusion.loading import Source, load_into
from embhub.diffusion.pipelines import find_base, load_pipeline, quiet
from embhub.errors import UsageError
from embhub.progress import OnProgress, Progress

__all__ = ["draw", "generate", "load_into"]

GUIDANCE, STEPS = 7.5, 50
"""Stable Diffusion's own, where a base recommends nothing."""


def generate(
    prompt: str,
    *,
    embeddings: Sequence[Source] = (),
    base: str | Path = "builtin",
    n: int = 1,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int = 8,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> list[Image.Image]:
    """Draw `n` images of `prompt` with a base and embeddings made for it.

    Image i comes from `seed + i` alone, whatever `n` and `batch_size` are. `{}` in the prompt stands for the tokens
    of all embeddings. `steps` and `guidance` default to what the base recommends.

    Raises:
        UsageError: a prompt without an embedding's token or longer than the base reads, or bad settings.
        ArtifactError: an embedding made for another base, or tokens that collide.
    """
    found = find_base(base)
    pipe = load_pipeline(found, device=device)
    tokens = [load_into(pipe, embedding) for embedding in embeddings]
    prompt = prompt.replace("{}", " ".join(tokens))
    if missing := [token for token in tokens if token not in prompt]:
        raise UsageError(f"the prompt does not mention {missing[0]}", f'write it where it belongs: "… {missing[0]}"')
    return draw(
        pipe,
        prompt,
        n=n,
        seed=seed,
        steps=int(found.recommended.get("steps", STEPS)) if steps is None else steps,
        guidance=found.recommended.get("guidance", GUIDANCE) if guidance is None else guidance,
        batch_size=batch_size,
        on_progress=on_progress,
    )


def draw(
    pipe: Any,
    prompt: str,
    *,
    n: int,
    seed: int,
    steps: int,
    guidance: float,
    batch_size: int = 8,
    on_progress: OnProgress | None = None,
) -> list[Image.Image]:
    """Draw `n` images with a loaded pipeline; image i comes from `seed + i` alone. Raises UsageError as `generate`."""
    if n < 1 or steps < 1 or batch_size < 1:
        raise UsageError(f"{n} images in {steps} steps, {batch_size} at a time", "each of the three is at least 1")
    check_length(pipe, prompt)
    drawn: list[Image.Image] = []
    while len(drawn) < n:
        seeds = range(seed + len(drawn), seed + min(n, len(drawn) + batch_size))
        # On the processor whatever the device: the same seed starts from the same noise everywhere.
        generators = [torch.Generator().manual_seed(number) for number in seeds]
        drawn += pipe(
            [prompt] * len(seeds), num_inference_steps=steps, guidance_scale=guidance, generator=generators
        ).images
        if on_progress:
            on_progress(Progress("drawing", len(drawn), n))
    return drawn


def check_length(pipe: Any, prompt: str) -> None:
    """Refuse a prompt of which the encoder would silently cut off the end: two embeddings of 64 vectors, for one.

    Raises:
        UsageError: more tokens than the base reads.
    """
    with quiet():
        needed = len(pipe.tokenizer(pipe.maybe_convert_prompt(prompt, pipe.tokenizer)).input_ids)
    room = int(pipe.tokenizer.model_max_length)
    if needed > room:
        raise UsageError(
            f"prompt and vectors make {needed} tokens; this base reads {room}",
            "shorten the prompt, or use fewer embeddings or vectors",
        )
