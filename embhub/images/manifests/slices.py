"""Which slices of a volume, once it is known how many there are and where a mask lies."""

from __future__ import annotations

from collections.abc import Sequence

from embhub.errors import UsageError
from embhub.images.manifests.volumes import Slices


def choose(how: str | Slices, number: int, where: str, areas: Sequence[int] | None = None) -> list[int]:
    """Places from 0 to `number` - 1, in ascending order; `areas` has the mask's pixels in each slice.

    Raises:
        UsageError: a place that the volume has not, or no mask in any of its slices.
    """
    if how == "all":
        return list(range(number))
    if how == "middle" or isinstance(how, str):
        return [number // 2]
    if how.index is not None:
        chosen = sorted(set(how.index))
    elif how.range is not None:
        chosen = list(range(how.range[0], how.range[1] + 1, how.step or 1))
    elif how.fraction is not None:
        return _spread(*how.fraction, number, how.count or 1)
    else:
        return _largest(areas or (), how.count or 1, where)
    if chosen[-1] >= number:
        raise UsageError(f"{where} has {number:,} slices, and others are asked for", "they are counted from 0")
    return chosen


def _spread(low: float, high: float, number: int, count: int) -> list[int]:
    """The middles of `count` equal parts between two shares of the volume."""
    parts = [low + (high - low) * (part + 0.5) / count for part in range(count)]
    return sorted({min(number - 1, int(part * number)) for part in parts})


def _largest(areas: Sequence[int], count: int, where: str) -> list[int]:
    order = sorted((place for place in range(len(areas)) if areas[place]), key=lambda place: (-areas[place], place))
    if not order:
        raise UsageError(f"the mask of {where} is empty", "leave the volume out, or choose slices another way")
    return sorted(order[:count])
