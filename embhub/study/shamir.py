"""Shamir's secret sharing over the scalar field of edwards25519, as RFC 9591 specifies it (appendix C.1), with its
test vectors. A secret is a whole number below ORDER; any `threshold` shares give it, fewer tell nothing of it.

Not constant in time: a secret is shared once, in a site's own process, and restored where it becomes public.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
SIZE: Final = 32
"""Bytes of a scalar, little-endian (RFC 9591, section 6.1)."""


def draw() -> int:
    """A secret from the operating system's entropy."""
    return secrets.randbelow(ORDER)


def split(secret: int, *, threshold: int, places: Sequence[int]) -> dict[int, int]:
    """A share for each place.

    Args:
        secret: below ORDER.
        threshold: how many shares give it back, from 1 to the number of places.
        places: different whole numbers from 1 on, one for each holder.

    Raises:
        ValueError: an argument out of its range.
    """
    if not (0 <= secret < ORDER and 1 <= threshold <= len(places)):
        raise ValueError(f"no secret is split among {len(places)} so that {threshold} give it")
    _check_places(places)
    return evaluate([secret, *(draw() for _ in range(threshold - 1))], places)


def evaluate(coefficients: Sequence[int], places: Sequence[int]) -> dict[int, int]:
    """A polynomial, constant term first, at some places: `polynomial_evaluate` of the RFC."""
    values = {}
    for place in places:
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * place + coefficient) % ORDER
        values[place] = value
    return values


def combine(shares: Mapping[int, int]) -> int:
    """The secret of at least `threshold` shares by place: `polynomial_interpolate_constant` of the RFC.

    Of fewer, or of shares of different secrets, it is another number; nobody can see that from the shares.

    Raises:
        ValueError: no shares, or a place or share out of its range.
    """
    _check_places(list(shares))
    secret = 0
    for place, share in shares.items():
        if not 0 <= share < ORDER:
            raise ValueError("a share is a whole number below the order of the field")
        above, below = 1, 1
        for other in shares:
            if other != place:
                above, below = above * other % ORDER, below * (other - place) % ORDER
        secret += share * above * pow(below, -1, ORDER)
    return secret % ORDER


def to_bytes(scalar: int) -> bytes:
    """32 bytes, little-endian."""
    return scalar.to_bytes(SIZE, "little")


def from_bytes(data: bytes) -> int:
    """The inverse of `to_bytes`.

    Raises:
        ValueError: not 32 bytes, or not below ORDER.
    """
    scalar = int.from_bytes(data, "little")
    if len(data) != SIZE or scalar >= ORDER:
        raise ValueError("not a scalar of the field")
    return scalar


def _check_places(places: Sequence[int]) -> None:
    if not places or len(set(places)) != len(places) or not all(0 < place < ORDER for place in places):
        raise ValueError("places are different whole numbers from 1 on")
