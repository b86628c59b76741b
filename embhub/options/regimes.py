"""How generated images can be used beside real ones in an evaluation; `embhub.diffusion.evaluation.regimes` does it."""

from __future__ import annotations

from typing import Literal

Regime = Literal["mixed", "pretrained", "filtered", "normals", "stopped early"]
"""The last two are controls."""
REGIMES: tuple[Regime, ...] = ("mixed", "pretrained", "filtered")
"""Those that somebody may ask for."""
