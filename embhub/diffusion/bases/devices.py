"""Which devices torch sees on this machine, in words."""

from __future__ import annotations

import torch


def describe_devices() -> list[str]:
    """A line for each graphics card, or one that says that there is none."""
    if torch.cuda.is_available():
        return [_card(number) for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        return ["mps (Apple)"]
    return [f"no graphics card; torch uses {torch.get_num_threads()} threads of the processor"]


def _card(number: int) -> str:
    found = torch.cuda.get_device_properties(number)
    return f"cuda:{number}, {found.name}, {found.total_memory / 1e9:.0f} GB"
