"""Parameters of which `make test` tries a part: what is alike, and dear, is left to `make test-thorough`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import settings

FEW = "few"
"""The hypothesis profile of `make test`: a fifth of the examples. `make test-exhaustive` and plain pytest draw all."""


def quick(values: Iterable[Any], *, thorough: Iterable[Any] = (), exhaustive: Iterable[Any] = ()) -> list[Any]:
    """For `pytest.mark.parametrize` and `pytest.fixture(params=...)`: `values`, then those that are marked `thorough`,
    then those that only `make test-exhaustive` runs.

    A tuple is one row of several parameters.
    """
    return [
        *values,
        *(pytest.param(*_row(value), marks=pytest.mark.thorough) for value in thorough),
        *(pytest.param(*_row(value), marks=_EXHAUSTIVE) for value in exhaustive),
    ]


def others_thorough(values: Iterable[Any], kept: Collection[Any]) -> list[Any]:
    """All of `values` in their order; those that are not in `kept` are marked `thorough`."""
    return [value if value in kept else pytest.param(*_row(value), marks=pytest.mark.thorough) for value in values]


def examples(count: int) -> int:
    """For `settings(max_examples=...)`: `count`, and in `make test` a fifth of it, but no fewer than five."""
    return max(min(count, 5), count // 5) if _PROFILE == FEW else count


def load_profile() -> None:
    """A busy machine is no failure (timings belong to bench/), and one commit gives one answer: the same examples.

    For those who look for more: HYPOTHESIS_PROFILE=explore draws new examples each time.
    """
    settings.register_profile("steady", deadline=None, derandomize=True)
    settings.register_profile("explore", deadline=None)
    settings.register_profile(FEW, deadline=None, derandomize=True, max_examples=examples(100))
    settings.load_profile(_PROFILE)


_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "steady")


_EXHAUSTIVE = (pytest.mark.thorough, pytest.mark.exhaustive)


def _row(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
