"""What a comparison can come to, and the controls without generated images: the words of an evaluation."""

from __future__ import annotations

from typing import Literal, get_args

Outcome = Literal["helped", "did harm", "made no difference that this comparison can show"]
HELPED, HARMED, NOTHING = get_args(Outcome)
REAL_ALONE, STOPPED_EARLY = "real images alone", "real images alone, stopped early"
