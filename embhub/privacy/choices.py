"""What a private training chooses among, as types; apart from the claim, so that a command line reads them fast."""

from __future__ import annotations

from typing import Final, Literal

Unit = Literal["patient", "image"]
Mechanism = Literal["dp-sgd", "dp-agg", "votes"]

CANDIDATES: Final = (4, 256)
"""The fewest and the most candidates that a round of votes has."""
SMALLEST_SIGMA: Final = 0.05
LARGEST_SIGMA: Final = 10_000.0
"""Between which noise multipliers a training chooses, and a claim may state one."""
