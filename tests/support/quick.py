"""Parameters of which `make test` tries a part: what is alike, and dear, is left to `make test-thorough`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
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


def further_cases(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Thorough cases of a test that has a case before them, in `make test` or as the first of the thorough ones.

    They are `exhaustive`, too. In a folder of ALL_CASES no case is: they share what takes the time.
    """
    tried: set[str] = set()
    for item in sorted(items, key=_is_thorough):
        test = item.nodeid.partition("[")[0]
        if _is_thorough(item) and test in tried and not ALL_CASES & set(item.path.parents):
            yield item
        if item.get_closest_marker("exhaustive") is None:
            tried.add(test)


def _is_thorough(item: pytest.Item) -> bool:
    return item.get_closest_marker("thorough") is not None


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


TESTS = Path(__file__).parents[1]
ALL_CASES = {TESTS / "conformance", TESTS / "fuzz"}

_EXHAUSTIVE = (pytest.mark.thorough, pytest.mark.exhaustive)


def _row(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
