"""Drawing images, with embeddings or without: one prompt, or several with weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from embhub.artifact import adapter_limits, fingerprint
from embhub.artifact.embedding import Embedding
from embhub.diffusion.bases import live_fingerprint as live_base
from embhub.diffusion.bases.found import FoundBase, quiet
from embhub.diffusion.bases.pipelines import find_base, size_rule
from embhub.diffusion.families import detect, encoders, find, image_size_arguments, room
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation import negatives, noise_mark
from embhub.diffusion.generation.base_choice import choose_base
from embhub.diffusion.generation.composition import at_once, check_mixing, composed
from embhub.diffusion.generation.finite import finite_images
from embhub.diffusion.generation.loading import Source, load_into, open_embedding
from embhub.diffusion.generation.negatives import check_negative, join_negative, told_negative
from embhub.diffusion.generation.sampling import load_for_sampling
from embhub.diffusion.generation.weighted_prompts import Part, check_words
from embhub.diffusion.training.precision import pictures_at_once
from embhub.errors import UsageError
from embhub.options.preprocessing import Fit, recorded
from embhub.options.sampling import Sampling
from embhub.progress import OnProgress, Progress

__all__ = ["draw", "generate", "load_into", "prepare"]

GUIDANCE, STEPS = 7.5, 50
"""Stable Diffusion's own, where a base recommends nothing."""

Prompt = str | Sequence[Part | tuple[str, float]]
"""What to draw: a text, or texts with weights."""


@dataclass(frozen=True)
class Studio:
    """A loaded base with embeddings plugged in: their tokens, and how it is drawn with.

    `side` of the images in pixels. `fit` is how the embeddings' images were fitted into it, None where they differ.
    `mark` is the key of the mark in the images' first noise, None where they get none.
    """

    pipe: Pipeline
    base: FoundBase
    tokens: tuple[str, ...]
    steps: int
    guidance: float
    side: int
    fit: Fit | None
    negative: str | None = None
    mark: str | None = None

    def fill(self, prompt: Prompt) -> tuple[Part, ...]:
        """The prompt in its parts, with the tokens of all embeddings for `{}`.

        Raises:
            UsageError: an empty prompt, a weight that is none, an embedding whose token no prompt mentions, or a
                `<word>` of a prompt that neither an embedding nor the base supplies.
        """
        tokens = " ".join(self.tokens)
        filled = tuple(Part(part.prompt.replace("{}", tokens), part.weight) for part in as_parts(prompt))
        check_words((part.prompt for part in filled), self.tokens, knows=partial(_has_token, self.pipe))
        return filled

    def facts(self) -> dict[str, Any]:
        """What a manifest says of the base and the settings."""
        return {
            "base": self.base.name,
            "base_fingerprint": fingerprint.digest(live_base.take(self.pipe)),
            "steps": self.steps,
            "guidance": self.guidance,
            "resolution": self.side,
            **({"fit": self.fit} if self.fit is not None else {}),
            **({"negative": self.negative} if self.negative is not None else {}),
            "mark": noise_mark.describe(self.pipe, self.mark),
        }


def _has_token(pipe: Pipeline, word: str) -> bool:
    """Whether one of a pipeline's tokenizers has a token of its own for a word."""
    return any(word in one.tokenizer.get_vocab() for one in encoders(pipe))


def prepare(
    embeddings: Sequence[Source] = (),
    *,
    base: str | Path | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    resolution: int | None = None,
    fit: Fit | None = None,
    negative: str | None = None,
    negative_embeddings: Sequence[Source] = (),
    device: str = "auto",
    sampling: Sampling | None = None,
    mark: bool = True,
    check: Callable[[str], None] | None = None,
    check_loaded: Callable[[Pipeline], None] | None = None,
) -> Studio:
    """Load a base and plug embeddings in: without `base` the one they were made for. `steps` and `guidance_scale`
    default to what the base recommends, or its kind of pipeline does; `resolution` and `fit` to what the embeddings
    were trained with. Images get a mark in their noise by the key of the first embedding, or else of the base, unless
    `mark` is False. `check` may refuse the class of the base's pipeline before any of it is loaded, `check_loaded` the
    pipeline before anything is plugged into it.

    Raises:
        UsageError: no such base or device, settings outside their bounds, an adapter as a negative embedding or with a
            quantized denoiser, or what `check` raises.
        ArtifactError: an embedding made for another base, or tokens that collide.
    """
    opened = [open_embedding(embedding) for embedding in embeddings]
    against = [open_embedding(embedding) for embedding in negative_embeddings]
    adapter_limits.refuse_negative(against)
    adapter_limits.refuse_quantized(opened, sampling)
    found = find_base(choose_base(base, [*opened, *against]))
    if check is not None:
        check(found.kind)
    if negative is not None or against:
        negatives.check_kind(found.kind)
    pipe = load_for_sampling(found, sampling or Sampling(), device=device)
    if check_loaded is not None:
        check_loaded(pipe)
    tokens = tuple(load_into(pipe, embedding) for embedding in opened)
    avoided = join_negative(negative, [load_into(pipe, embedding) for embedding in against])
    check_words([avoided] if avoided else [], (), knows=partial(_has_token, pipe))
    family = detect(pipe)
    chosen = int(found.recommended.get("steps", family.steps)) if steps is None else steps
    strength = float(found.recommended.get("guidance", family.guidance)) if guidance_scale is None else guidance_scale
    check_negative(pipe, avoided, guidance=strength)
    alike = choose_fit(opened) if fit is None else fit
    side = choose_side(pipe, opened, resolution)
    key = (opened[0].digest if opened else fingerprint.digest(live_base.take(pipe))) if mark else None
    return Studio(pipe, found, tokens, chosen, strength, side, alike, avoided, key)


def generate(
    prompt: Prompt,
    *,
    embeddings: Sequence[Source] = (),
    base: str | Path | None = None,
    n: int = 1,
    seed: int = 0,
    steps: int | None = None,
    guidance_scale: float | None = None,
    resolution: int | None = None,
    negative: str | None = None,
    negative_embeddings: Sequence[Source] = (),
    batch_size: int = 8,
    mark: bool = True,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> list[Image.Image]:
    """Generate images from a prompt with a base and embeddings made for it.

    Args:
        prompt: The text, with placeholder tokens or with `{}` for all of them. Or a list of prompts and weights, such
            as `[("lung, <normal>", 0.3), ("lung, <cspca>", 0.7)]`, whose predictions are combined (see
            `embhub.diffusion.generation.composition`).
        embeddings: Files, or what `pull`, `verify` or `train` returned.
        base: A built-in name, a pipeline folder, or `owner/name` of the Hub. By default the base that the embeddings
            were made for; without embeddings `builtin`.
        n: Number of images.
        seed: Image i follows from `seed + i` alone, whatever `n` and `batch_size` are.
        steps: Sampling steps. By default what the base recommends.
        guidance_scale: Classifier-free guidance scale. By default what the base recommends.
        resolution: Side of the images in pixels. By default what the embeddings were trained with.
        negative: A negative prompt: what images should not show.
        negative_embeddings: Embeddings of what images should not show. Their tokens go into the negative prompt.
        batch_size: The most images computed together.
        mark: Whether the first noise is marked, where the base and its sampler allow it, so that `embhub research
            detect` can trace the images without their metadata. The same seed gives another image without a mark.
        device: `auto`, or a torch device.
        on_progress: Called with each batch.

    Returns:
        `n` square images, mode RGB.

    Raises:
        UsageError: A prompt without an embedding's token, or longer than the base reads; or settings out of range.
        ArtifactError: An embedding made for another base, or placeholder tokens that collide.

    Example:
        >>> import embhub
        >>> images = embhub.generate("prostate mri, {}", embeddings=["prostate-cspca.safetensors"], n=2, steps=2)
        >>> len(images), images[0].size
        (2, (128, 128))
    """
    studio = prepare(
        embeddings, base=base, steps=steps, guidance_scale=guidance_scale, resolution=resolution,
        negative=negative, negative_embeddings=negative_embeddings, device=device, mark=mark,
        check=partial(check_mixing, as_parts(prompt)),
    )  # fmt: skip
    return draw(
        studio.pipe,
        studio.fill(prompt),
        n=n,
        seed=seed,
        steps=studio.steps,
        guidance_scale=studio.guidance,
        side=studio.side,
        negative=studio.negative,
        batch_size=batch_size,
        mark=studio.mark,
        on_progress=on_progress,
    )


def draw(
    pipe: Pipeline,
    prompt: Prompt,
    *,
    n: int,
    seed: int,
    steps: int,
    guidance_scale: float,
    side: int | None = None,
    negative: str | None = None,
    batch_size: int = 8,
    mark: str | None = None,
    on_progress: OnProgress | None = None,
) -> list[Image.Image]:
    """Draw `n` images with a loaded pipeline; image i comes from `seed + i` alone. Raises UsageError as `generate`.

    `side` in pixels is the base's own by default. At most `batch_size` at a time, and fewer where images are large.
    `mark` is the key of the mark in the first noise; None for plain noise.
    """
    return draw_seeds(
        pipe, prompt, range(seed, seed + n), steps=steps, guidance_scale=guidance_scale, side=side, negative=negative,
        batch_size=batch_size, mark=mark, on_progress=on_progress,
    )  # fmt: skip


def draw_seeds(
    pipe: Pipeline,
    prompt: Prompt,
    seeds: Sequence[int],
    *,
    steps: int,
    guidance_scale: float,
    side: int | None = None,
    negative: str | None = None,
    batch_size: int = 8,
    mark: str | None = None,
    on_progress: OnProgress | None = None,
) -> list[Image.Image]:
    """As `draw`, an image for each seed, which is the only source of its noise."""
    n = len(seeds)
    check_settings(n, steps, batch_size)
    if steps == 1 and pipe.scheduler.config.get("shift_terminal"):
        raise UsageError("this base's scheduler cannot sample in one step", "give --steps 2 or more")
    if family := find(pipe):
        batch_size = min(batch_size, pictures_at_once(side or family.resolution(pipe)))
    if "Inpaint" in type(pipe).__name__:
        raise UsageError("this base only redraws images", "use embhub generate --from, or another base")
    parts = as_parts(prompt)
    check_negative(pipe, negative, guidance=guidance_scale)
    check_lengths(pipe, (*parts, *([Part(negative)] if negative else [])))
    drawn: list[Image.Image] = []
    with composed(pipe, parts, guidance=guidance_scale) as text:
        while len(drawn) < n:
            part = seeds[len(drawn) : len(drawn) + at_once(batch_size, parts)]
            with noise_mark.marked(pipe, mark, part), finite_images():
                drawn += _draw(pipe, [text] * len(part), steps, guidance_scale, generators(part), side, negative)
            if on_progress:
                on_progress(Progress("generating", len(drawn), n))
    return drawn


def _draw(
    pipe: Pipeline,
    prompts: list[str],
    steps: int,
    guidance: float,
    sources: list[torch.Generator],
    side: int | None,
    negative: str | None,
) -> list[Image.Image]:
    """A picture for each prompt: by the pipeline's own call, or as its family says."""
    if (family := find(pipe)) and family.draw:
        return family.draw(pipe, prompts, steps, guidance, sources, side)
    asked = {"guidance_scale": guidance, **told_negative(negative, len(prompts))}
    if family and family.ask:
        asked = family.ask(guidance, negative, len(prompts))
    images: list[Image.Image] = pipe(
        prompt=prompts, num_inference_steps=steps, generator=sources, **image_size_arguments(pipe, side), **asked
    ).images
    return images


def choose_side(pipe: Pipeline, embeddings: Sequence[Embedding], wanted: int | None) -> int:
    """The resolution to draw at: the one that is wanted, else the one that the embeddings were trained with.

    That of a Kandinsky 2.2 prior is its image encoder's, which says nothing of images that are drawn.

    Raises:
        UsageError: the base does not allow it, or the embeddings were trained with different ones.
    """
    rule = size_rule(pipe)
    if wanted is not None:
        return rule.choose(wanted)
    known = {
        side: item.token
        for item in embeddings
        if item.layout != "kandinsky22-prior" and (side := recorded(item.training).resolution) and rule.allows(side)
    }
    if len(known) > 1:
        said = ", ".join(f"{token} at {side} pixels" for side, token in known.items())
        raise UsageError(f"the embeddings were trained at different resolutions: {said}", "choose one: --resolution")
    return next(iter(known), rule.own)


def choose_fit(embeddings: Sequence[Embedding]) -> Fit | None:
    """How the embeddings' images were fitted into the square; `crop` without any, None where they differ."""
    fits = {recorded(item.training).fit for item in embeddings}
    return next(iter(fits or {"crop"})) if len(fits) < 2 else None


def as_parts(prompt: Prompt) -> tuple[Part, ...]:
    """A prompt in its parts; a text is one of weight 1. Raises UsageError: an empty text, a weight that is none."""
    given = [(prompt, 1.0)] if isinstance(prompt, str) else prompt
    if any(not isinstance(part, Part) and (isinstance(part, str) or len(part) != 2) for part in given):
        raise UsageError(
            "several prompts are pairs of prompt and weight", 'such as [("lung", 0.3), ("lung, <a>", 0.7)]'
        )
    return tuple(part if isinstance(part, Part) else Part(*part) for part in given)


def generators(seeds: Iterable[int]) -> list[torch.Generator]:
    """One for each image, on the processor whatever the device: a seed starts from the same noise everywhere."""
    return [torch.Generator().manual_seed(number) for number in seeds]


def check_settings(n: int, steps: int, batch_size: int) -> None:
    """Refuse numbers below 1. Raises UsageError."""
    if n < 1 or steps < 1 or batch_size < 1:
        raise UsageError(f"{n} images in {steps} steps, {batch_size} at a time", "each of the three is at least 1")


def check_lengths(pipe: Pipeline, parts: Iterable[Part]) -> None:
    """Refuse a prompt of which the encoder would silently cut off the end: two embeddings of 64 vectors, for one.

    Raises:
        UsageError: more tokens than the base reads.
    """
    convert = getattr(pipe, "maybe_convert_prompt", lambda text, _: text)
    for encoder, part in product(encoders(pipe), parts):
        with quiet():
            needed = len(encoder.tokenizer(convert(part.prompt, encoder.tokenizer)).input_ids)
        if needed > (most := room(pipe, encoder)):
            raise UsageError(
                f"prompt and vectors make {needed} tokens; this base reads {most}",
                "shorten the prompt, use fewer embeddings or vectors, or give each embedding a prompt of its own",
            )
