"""The words of an evaluation: how generated images can be used beside real ones, and what a comparison can come to.

`embhub.diffusion.evaluation.regimes` does what they name.
"""

from __future__ import annotations

from typing import Literal, get_args

Regime = Literal["mixed", "pretrained", "filtered", "normals", "stopped early"]
"""The last two are controls."""
REGIMES: tuple[Regime, ...] = ("mixed", "pretrained", "filtered")
"""Those that somebody may ask for."""
Outcome = Literal["helped", "did harm", "made no difference that this comparison can show"]
HELPED, HARMED, NOTHING = get_args(Outcome)
REAL_ALONE, STOPPED_EARLY = "real images alone", "real images alone, stopped early"
