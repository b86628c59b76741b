"""What holds for every test."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from embhub import own_process
from tests.support.quick import load_profile

own_process.settle()  # trainings of several workers share this machine

load_profile()

DIFFUSION = Path(__file__).parent / "embhub" / "diffusion"
NUMERICAL = ("training", "adaptation", "dp", "attacks", "families", "copying", "evaluation")
"""Folders whose tests train, or compare losses, rows or areas under a curve: processors round differently."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder, before `-m` selects; and begin with the longest files, or one worker ends last."""
    folders = {DIFFUSION / name for name in NUMERICAL}
    is_numerical = {path: not folders.isdisjoint(path.parents) for path in {item.path for item in items}}
    for item in items:
        if is_numerical[item.path]:
            item.add_marker("numerical")
    longest = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in longest)


def pytest_collection_finish() -> None:
    """Garbage is looked for less often, and not among what stays: that took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
