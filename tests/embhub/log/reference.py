"""RFC 6962, section 2.1, written down word by word: slow, recursive, and sharing nothing with embhub.log."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def mth(entries: Sequence[bytes]) -> bytes:
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    k = below(len(entries))
    return hashlib.sha256(b"\1" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    if len(entries) == 1:
        return []
    k = below(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m: int, entries: Sequence[bytes]) -> list[bytes]:
    return subproof(m, entries, True)


def subproof(m: int, entries: Sequence[bytes], whole: bool) -> list[bytes]:
    if m == len(entries):
        return [] if whole else [mth(entries)]
    k = below(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], whole), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


def below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def root_of_path(leaf: bytes, m: int, n: int, steps: Sequence[bytes]) -> bytes | None:
    """What the path of leaf hash `m` in a tree of `n` leads to: PATH(m, D[n]) backwards; None for a wrong length."""
    if n == 1 or not steps:
        return leaf if n == 1 and not steps else None
    k, (*rest, last) = below(n), steps
    if m < k:
        found = root_of_path(leaf, m, k, rest)
        return None if found is None else hashlib.sha256(b"\1" + found + last).digest()
    found = root_of_path(leaf, m - k, n - k, rest)
    return None if found is None else hashlib.sha256(b"\1" + last + found).digest()


def roots_of_proof(first: bytes, m: int, n: int, steps: Sequence[bytes], whole: bool) -> tuple[bytes, bytes] | None:
    """Both roots that SUBPROOF(m, D[n], whole) leads to; `first` is the one of the smaller tree."""
    if m == n:
        if whole:
            return None if steps else (first, first)
        return (steps[0], steps[0]) if len(steps) == 1 else None
    if not steps:
        return None
    k, (*rest, last) = below(n), steps
    if m <= k:
        found = roots_of_proof(first, m, k, rest, whole)
        return None if found is None else (found[0], hashlib.sha256(b"\1" + found[1] + last).digest())
    found = roots_of_proof(first, m - k, n - k, rest, False)
    return None if found is None else (
        hashlib.sha256(b"\1" + last + found[0]).digest(), hashlib.sha256(b"\1" + last + found[1]).digest()
    )  # fmt: skip
