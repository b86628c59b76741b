"""What was derived from a report, kept by the report's bytes: a registry asks twice for each that is pushed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import Generic, Protocol, TypeVar

_REPORTS = 4  # of up to 2 MB each: those that are being pushed at a time


class HasBytes(Protocol):
    """Something whose bytes say all that it holds."""

    def to_bytes(self) -> bytes:
        """Equal things give equal bytes."""
        ...


T = TypeVar("T", bound=HasBytes)


@dataclass(frozen=True)
class _ByBytes(Generic[T]):
    """A report that is known by its bytes alone."""

    data: bytes
    whole: T = field(compare=False)


def by_bytes(derive: Callable[[T], list[str]]) -> Callable[[T], list[str]]:
    """The same pure function, which remembers its last few answers."""

    @lru_cache(maxsize=_REPORTS)
    def remembered(given: _ByBytes[T]) -> tuple[str, ...]:
        return tuple(derive(given.whole))

    @wraps(derive)
    def ask(whole: T) -> list[str]:
        return list(remembered(_ByBytes(whole.to_bytes(), whole)))

    return ask
