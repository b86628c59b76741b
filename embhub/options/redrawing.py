"""Which images of one's own are redrawn, where and how much: the options of `generate --from`; no torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embhub.errors import UsageError
from embhub.options.fields import check_ranges, given, option
from embhub.options.preprocessing import Fit

Box = tuple[int, int, int, int]
"""x, y, width and height in pixels, x and y from the upper left corner."""
IN_A_PLACE, WHOLE = 1.0, 0.7
"""The usual strength: in a place everything is new; of a whole image, less, so that its patient is still known."""


@dataclass(frozen=True, kw_only=True)
class Redrawing:
    """Images of one's own to redraw: the whole of each, or a place in it.

    Attributes:
        source: an image, a folder or a manifest; None where new images are drawn.
        mask: the place: a file for all, or a folder with one for each.
        box: the place as x,y,width,height in pixels.
        grow: pixels by which the place is widened.
        border: width in pixels over which new fades into old.
        strength: share of the noise schedule.
        fit: how an image is fitted into the square that the base sees.

    Raises:
        UsageError: a value out of its range, or options that do not go together.
    """

    source: Path | None = option(
        "Images to redraw, in place of generating new ones.", metavar="IMAGE|DIR|MANIFEST", flags=("--from",)
    )
    mask: Path | None = option(
        "Where, white on black: one for all, or a folder of masks  [default: the whole image]", metavar="FILE|DIR"
    )
    box: str | None = option("Where, in pixels from the upper left corner.", metavar="X,Y,W,H")
    grow: int | None = option("Widen mask or box by N pixels.", low=-10_000, high=10_000)
    border: float | None = option("Pixels over which mask or box fades out  [default: side / 32]", low=0, metavar="N")
    strength: float | None = option(
        f"How much may change: near 0 little, at 1 all  [default: {WHOLE:g}; {IN_A_PLACE:g} in a mask or box]",
        above=0,
        high=1,
    )
    fit: Fit | None = option("Fit images into the square  [default: as the embeddings were trained]")

    def __post_init__(self) -> None:
        check_ranges(self)
        chosen = given(self)
        if self.source is None and chosen:
            raise UsageError(f"--{next(iter(chosen))} without --from", "name what is redrawn: --from IMAGE or DIR")
        if self.mask is not None and self.box is not None:
            raise UsageError("a place is a mask or a box, not both", "give one, or neither to redraw the whole image")
        if not self.in_a_place and (rest := [name for name in ("grow", "border") if name in chosen]):
            raise UsageError(f"--{rest[0]} without --mask or --box", "name a place, or leave it out")
        _ = self.area

    @property
    def in_a_place(self) -> bool:
        """Whether a place is redrawn, not the whole image."""
        return self.mask is not None or self.box is not None

    @property
    def area(self) -> Box | None:
        """The box in numbers."""
        return parse_box(self.box) if self.box is not None else None

    def facts(self) -> dict[str, Any]:
        """What the manifest says; no name of a file."""
        each = self.mask is not None and self.mask.is_dir()
        place = {"box": self.area} if self.box else {"mask": "one for each" if each else "one for all"}
        rim = {"border": self.border} if self.border is not None else {}
        where = {**place, "grow": self.grow or 0, **rim} if self.in_a_place else {"place": "whole image"}
        return {**where, "strength": choose_strength(self.strength, in_a_place=self.in_a_place)}


def choose_strength(strength: float | None, *, in_a_place: bool) -> float:
    """The strength that was chosen, or else the usual one of a place or of a whole image."""
    return strength if strength is not None else IN_A_PLACE if in_a_place else WHOLE


def parse_box(text: str) -> Box:
    """`x,y,width,height` in whole pixels, x and y from the upper left corner.

    Raises:
        UsageError: not four whole numbers, or a side below 1.
    """
    hint = "write x,y,width,height in pixels from the upper left corner, such as 12,30,16,16"
    try:
        x, y, width, height = (int(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(f"{text[:60]!r} is no box", hint) from error
    if width < 1 or height < 1:
        raise UsageError(f"the box {text[:60]} is empty", hint)
    return x, y, width, height


def refuse_others(others: Mapping[str, Any]) -> None:
    """Refuse options of drawing new images that were given with --from, by name. Raises UsageError."""
    for name, value in others.items():
        if value not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} does not go with --from", "leave out one of the two")
