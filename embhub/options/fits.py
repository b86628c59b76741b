"""How an image is fitted into the square that a base sees; `embhub.options.preprocessing` says what each does."""

from __future__ import annotations

from typing import Literal, get_args

Fit = Literal["crop", "pad", "stretch"]
FITS: tuple[Fit, ...] = get_args(Fit)
