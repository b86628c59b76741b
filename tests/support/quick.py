"""Parameters of which `make test` tries a part: what is alike, and dear, is left to `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def quick(values: Iterable[Any], *, thorough: Iterable[Any] = ()) -> list[Any]:
    """For `pytest.mark.parametrize` and `pytest.fixture(params=...)`: `values`, then those that are marked `thorough`.

    A tuple is one row of several parameters.
    """
    return [*values, *(pytest.param(*_row(value), marks=pytest.mark.thorough) for value in thorough)]


def _row(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
