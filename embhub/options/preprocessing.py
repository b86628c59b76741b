"""How an image becomes the square that a base sees: the way it is fitted, and the resolution.

`crop` is the default. A base learned from filled squares, and an embedding that learns from padded ones generates the
black bars, too. Files that say nothing were made with `crop`, so the header names the other two only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embhub.errors import UsageError
from embhub.options.fields import check_ranges, option
from embhub.options.fits import FITS as FITS
from embhub.options.fits import Fit as Fit

LOWEST, HIGHEST = 16, 4096
"""Pixels of a side, whatever the base; `embhub.diffusion.bases.sizes` has the limits of each."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How images are fitted into the square that the base model sees.

    Attributes:
        fit: `crop` takes the central square; `pad` keeps the whole image and fills the rest of the square with black;
            `stretch` changes the aspect ratio.
        resolution: side of the square in pixels; None for the base's own.

    Raises:
        UsageError: a value out of its range.

    Example:
        >>> import embhub
        >>> embhub.Preprocessing(fit="pad").fit
        'pad'
    """

    fit: Fit = option(
        "Fit images into the square: crop takes the central square, pad keeps all of the image and adds black, stretch"
        " changes the aspect ratio.",
        default="crop",
    )
    resolution: int | None = option(
        "Image resolution: side of the square in pixels  [default: the base's own]", low=LOWEST, high=HIGHEST
    )

    def __post_init__(self) -> None:
        check_ranges(self)


def recorded(training: Mapping[str, Any]) -> Preprocessing:
    """What the training facts of a file's header say; `crop` and the base's own resolution where they say nothing.

    A resolution that no base has is of a file from elsewhere, and is passed over.
    """
    said, fit = training.get("resolution"), training.get("fit", "crop")
    whole = isinstance(said, int) and not isinstance(said, bool) and LOWEST <= said <= HIGHEST
    return Preprocessing(fit=fit if fit in FITS else "crop", resolution=said if whole else None)


def common_fit(named: Iterable[tuple[str, Mapping[str, Any]]], chosen: Fit | None = None) -> Fit:
    """The fit that was chosen; else that of all embeddings, given as (token, training facts); `crop` without any.

    Raises:
        UsageError: they differ.
    """
    if chosen is not None:
        return chosen
    found = {recorded(facts).fit: token for token, facts in named}
    if len(found) > 1:
        said = ", ".join(f"{token} with {fit}" for fit, token in found.items())
        raise UsageError(f"the embeddings were trained on images fitted in different ways: {said}", "choose one: --fit")
    return next(iter(found), "crop")
