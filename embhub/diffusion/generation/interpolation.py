"""Series from one finding to another: the same noise drawn at weights that go from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from embhub.artifact.embedding import Embedding
from embhub.diffusion.generation import adapters
from embhub.diffusion.generation.base_choice import choose_base
from embhub.diffusion.generation.composition import check_mixing
from embhub.diffusion.generation.generation import Studio, choose_fit, choose_side, draw, prepare
from embhub.diffusion.generation.loading import Source, check_base, open_embedding, tensors
from embhub.diffusion.generation.slerp import check_siblings, slerp
from embhub.diffusion.generation.weighted_prompts import Part
from embhub.diffusion.training.per_layer import insert
from embhub.errors import UsageError
from embhub.progress import OnProgress, Progress

MOST = 101
_WITHOUT = "without"
"""Above a column that shows no embedding."""
_LINE = 14
"""Height of the line of heads above a sheet, in pixels."""


@dataclass(frozen=True)
class Series:
    """Generated images between two ends.

    Attributes:
        weights: Position of each column between start (0) and end (1).
        pictures: `pictures[i][k]` follows from seed `seed + i` at `weights[k]`.
        seed: Seed of the first row.
        heads: What stands above each column of a sheet: its weight; `without` and `with` where a series has its two
            ends alone, and only the second shows an embedding.
    """

    weights: tuple[float, ...]
    pictures: tuple[tuple[Image.Image, ...], ...]
    seed: int
    heads: tuple[str, ...]

    def sheet(self) -> Image.Image:
        """Arrange all images in one: a row for each seed, a column for each weight, with the heads above.

        Returns:
            The sheet, mode RGB.
        """
        width, height = self.pictures[0][0].size
        sheet = Image.new("RGB", (width * len(self.weights), _LINE + height * len(self.pictures)), "white")
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
        for column, head in enumerate(self.heads):
            pen.text((width * (column + 0.5), _LINE / 2), head, "black", font=font, anchor="mm")
            for row, pictures in enumerate(self.pictures):
                sheet.paste(pictures[column], (width * column, _LINE + height * row))
        return sheet


def interpolate(
    start: str,
    end: str | None = None,
    *,
    embeddings: Sequence[Source] = (),
    slerp_to: Source | None = None,
    series: int = 5,
    n: int = 1,
    seed: int = 0,
    base: str | Path | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    resolution: int | None = None,
    negative: str | None = None,
    negative_embeddings: Sequence[Source] = (),
    batch_size: int = 8,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> Series:
    """Generate images between two prompts, or between two sibling embeddings.

    With `end`, the predictions of both prompts are combined (see `embhub.diffusion.generation.composition`). The ends
    are the plain images of each prompt. With `slerp_to`, the vectors of the one embedding are turned towards those
    of its sibling, under one prompt (see `embhub.diffusion.generation.slerp`).

    Args:
        start: The prompt, as for `generate`.
        end: The second prompt. Give either this or `slerp_to`.
        embeddings: As for `generate`; exactly one with `slerp_to`.
        slerp_to: A sibling of the embedding: trained on the same base, from the same initializer text.
        series: Number of images in a row, 2 to 101.
        n: Number of rows, each from one seed.
        seed: Seed of the first row.
        base: As for `generate`.
        steps: As for `generate`.
        guidance_scale: As for `generate`.
        resolution: As for `generate`.
        negative: As for `generate`.
        negative_embeddings: As for `generate`.
        batch_size: As for `generate`.
        device: As for `generate`.
        on_progress: Called with each column.

    Returns:
        The series.

    Raises:
        UsageError: Both ways or neither, a series out of range; or as `generate`.
        ArtifactError: The embeddings are not siblings, or were made for another base.

    Example:
        >>> import embhub
        >>> found = embhub.interpolate(
        ...     "prostate mri", "prostate mri, <cspca>", embeddings=["prostate-cspca.safetensors"], series=2, steps=2
        ... )
        >>> found.weights, found.sheet().size
        ((0.0, 1.0), (256, 142))
    """
    if (end is None) == (slerp_to is None):
        raise UsageError("an end is needed: a second prompt or a sibling embedding", "give one of the two")
    siblings = None if slerp_to is None else open_siblings(embeddings, slerp_to)
    plugged = () if siblings else embeddings
    base = choose_base(base, siblings) if siblings else base
    studio = prepare(
        plugged, base=base, steps=steps, guidance_scale=guidance_scale, resolution=resolution, negative=negative,
        negative_embeddings=negative_embeddings, device=device, mark=not siblings,
        check=None if end is None else partial(check_ends, start, end),
    )  # fmt: skip
    if siblings:
        studio = settle_between(studio, siblings, resolution)
    ends = siblings or str(end)
    return draw_series(
        studio, start, ends, series=series, n=n, seed=seed, batch_size=batch_size, on_progress=on_progress
    )


def check_ends(start: str, end: str, kind: str) -> None:
    """Refuse a series between two prompts for a class of pipelines that mixes none, before such a base is loaded.

    Raises:
        UsageError: as `embhub.diffusion.generation.composition.check_mixing`.
    """
    check_mixing([Part(start, 0.5), Part(end, 0.5)], kind)


def open_siblings(embeddings: Sequence[Source], slerp_to: Source) -> tuple[Embedding, Embedding]:
    """The one embedding and that to turn towards. Raises UsageError where it is not one, NotSiblingsError where it
    says."""
    if len(embeddings) != 1:
        raise UsageError(
            f"{len(embeddings)} embeddings to turn towards their sibling", "give one embedding, and the one to turn to"
        )
    one, other = open_embedding(embeddings[0]), open_embedding(slerp_to)
    check_siblings(one, other)
    return one, other


def settle_between(studio: Studio, siblings: tuple[Embedding, Embedding], resolution: int | None) -> Studio:
    """A studio without embeddings for a series between two: side and fit are theirs. Raises as `choose_side`."""
    side = choose_side(studio.pipe, siblings, resolution)
    return replace(studio, side=side, fit=choose_fit(siblings))


def draw_series(
    studio: Studio,
    start: str,
    ends: str | tuple[Embedding, Embedding],
    *,
    series: int,
    n: int,
    seed: int,
    batch_size: int = 8,
    on_progress: OnProgress | None = None,
) -> Series:
    """A series in a studio that is ready: to the prompt `ends`, or along the arc between two siblings, neither of which
    is plugged in. Raises as `interpolate`."""
    if not 2 <= series <= MOST:
        raise UsageError(f"a series of {series} pictures", f"choose 2 to {MOST}")
    weights = tuple(step / (series - 1) for step in range(series))
    along = (
        _between_prompts(studio, start, ends, weights) if isinstance(ends, str) else _turn(studio, start, ends, weights)
    )
    drawing: dict[str, Any] = {"n": n, "seed": seed, "steps": studio.steps, "guidance_scale": studio.guidance}
    drawing |= {"side": studio.side, "negative": studio.negative}
    drawing |= {"mark": studio.mark if isinstance(ends, str) else None}  # between two embeddings it is of neither
    columns: list[list[Image.Image]] = []
    heads = _head(studio, start, ends, weights)
    for head, parts in zip(heads, along, strict=True):
        bare = head == _WITHOUT and adapters.names(studio.pipe)  # an adapter acts on every prompt
        with adapters.switched_off(studio.pipe) if bare else nullcontext():
            columns.append(draw(studio.pipe, parts, **drawing, batch_size=batch_size))
        if on_progress:
            on_progress(Progress("generating", len(columns) * n, series * n))
    return Series(weights, tuple(zip(*columns, strict=True)), seed, heads)


def _head(
    studio: Studio, start: str, ends: str | tuple[Embedding, Embedding], weights: Sequence[float]
) -> tuple[str, ...]:
    """Words for a pair of which only the second shows embeddings; a turn between two shows one at either end."""
    words = (*studio.tokens, "{}") if studio.tokens and isinstance(ends, str) and len(weights) == 2 else ()
    if any(word in ends for word in words) and not any(word in start for word in words):
        return _WITHOUT, "with"
    return tuple(f"{weight:.2f}" for weight in weights)


def _between_prompts(studio: Studio, start: str, end: str, weights: Sequence[float]) -> Iterator[tuple[Part, ...]]:
    for weight in weights:
        yield studio.fill([Part(start, 1 - weight), Part(end, weight)])


def _turn(
    studio: Studio, prompt: str, siblings: tuple[Embedding, Embedding], weights: Sequence[float]
) -> Iterator[tuple[Part, ...]]:
    """The pipeline knows the rows between the two only until the next is asked for."""
    one, other = siblings
    check_base(studio.pipe, one)
    filled = replace(studio, tokens=(one.token,)).fill(prompt)
    for weight in weights:
        rows = insert(studio.pipe, one.token, tensors(slerp(one, other, weight)))
        with rows.active():
            yield tuple(Part(rows.expand(part.prompt)) for part in filled)
