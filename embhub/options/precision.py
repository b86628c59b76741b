"""In which number format a training computes: the choice that training, auditing and fine-tuning share."""

from __future__ import annotations

from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]

MEANING = "auto takes bfloat16 where the device has instructions for it"
"""Said of the option in every command that has it."""
