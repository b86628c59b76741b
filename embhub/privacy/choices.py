"""What a private training chooses among, as types; apart from the claim, so that a command line reads them fast."""

from __future__ import annotations

from typing import Final, Literal

Unit = Literal["patient", "image"]
Mechanism = Literal["dp-sgd", "dp-agg", "votes"]

CANDIDATES: Final = (4, 256)
"""The fewest and the most candidates that a round of votes has."""
