"""Hashes that differ in few bits, found by an index: exactly those that comparing all with all would find.

Multi-index hashing (Norouzi, Punjani and Fleet 2014, arXiv 1307.2982): of seven parts of a hash, two hashes that differ
in at most 13 bits agree in one part but for one bit at most. So for each part, and for each bit of it that may differ,
the hashes with that part are looked up in a sorted table. Where hashes are so alike that this brings up more than there
are, all are compared instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_PARTS = 7
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)[
    np.stack(np.divmod(np.arange(65536), 256))
].sum(axis=0, dtype=np.uint8)  # ones among sixteen bits
_AT_ONCE = 2_000_000  # pairs, of some fifty bytes each
_DEARER = 8
"""A pair that is looked up costs about so many that are compared in one product."""
_HALF = 32


class Neighbours:
    """An index of `hashes` (N, 16), bytes of 128 bits each, for pairs that differ in at most `most_bits`."""

    def __init__(self, hashes: NDArray[np.uint8], most_bits: int) -> None:
        if most_bits >= 2 * _PARTS:
            raise ValueError(f"{most_bits} bits: the index is exact up to {2 * _PARTS - 1}")
        self._most_bits = most_bits
        self._words = np.ascontiguousarray(hashes).view(np.uint16).reshape(len(hashes), -1)
        bits = np.unpackbits(hashes, axis=1)
        edges = np.linspace(0, bits.shape[1], _PARTS + 1).astype(int)
        self._widths = np.diff(edges)
        self._keys = [
            bits[:, low:high].astype(np.int64) @ (1 << np.arange(high - low, dtype=np.int64))
            for low, high in pairwise(edges)
        ]
        # sorted by part, then by place: what came earlier is the first half of a run
        self._tables = [np.sort(keys << _HALF | np.arange(len(keys), dtype=np.int64)) for keys in self._keys]

    def earlier(self, start: int, stop: int, *, most: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """For each place from `start` to before `stop` that has any, the nearest `most` of the places before it.

        In the order of bits that differ, then of places.
        """
        runs = [run for part in range(_PARTS) for run in self._runs(part, start, stop)]
        found = sum(int((high - low).sum()) for _, low, high in runs)
        if _DEARER * found >= sum(range(start, stop)):
            seconds, firsts, bits = self._compare_all(start, stop, most)
        else:
            seconds, firsts, bits = self._look_up(runs, start, stop)
        order = np.lexsort((firsts, bits, seconds))
        seconds, firsts = seconds[order], firsts[order]
        places, begins = np.unique(seconds, return_index=True)
        for place, begin, end in zip(places, begins, np.append(begins[1:], len(seconds))[: len(begins)], strict=True):
            yield int(place), firsts[begin : min(end, begin + most)]

    def _runs(self, part: int, start: int, stop: int) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """Begin and end, in the part's table, of the earlier places with one bit of the part different, or none."""
        table, keys = self._tables[part], self._keys[part][start:stop]
        places = np.arange(start, stop, dtype=np.int64)
        for flip in (0, *(1 << bit for bit in range(int(self._widths[part])))):
            wanted = (keys ^ flip) << _HALF
            yield part, np.searchsorted(table, wanted), np.searchsorted(table, wanted | places)

    def _look_up(
        self, runs: list[tuple[int, NDArray[np.intp], NDArray[np.intp]]], start: int, stop: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        pairs = [np.empty((2, 0), np.int64)]
        places = np.arange(start, stop)
        for part, low, high in runs:
            for few in _portions(high - low):
                lengths = (high - low)[few]
                offsets = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
                firsts = self._tables[part][np.repeat(low[few], lengths) + offsets] & ((1 << _HALF) - 1)
                seconds = np.repeat(places[few], lengths)
                near = self._bits(firsts, seconds) <= self._most_bits
                pairs.append(np.stack([seconds[near], firsts[near]]))
        both = np.unique(np.concatenate(pairs, axis=1), axis=1)
        return both[0], both[1], self._bits(both[1], both[0])

    def _compare_all(
        self, start: int, stop: int, most: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """The same by one product of matrices of signs: 128 less two for every bit that differs."""
        pairs = []
        length = self._signs.shape[1]
        bits = ((length - self._signs[start:stop] @ self._signs[:stop].T) / 2).astype(np.int16)
        for second in range(start, stop):
            near = np.flatnonzero(bits[second - start, :second] <= self._most_bits)
            firsts = near[np.argsort(bits[second - start, near], kind="stable")[:most]]
            pairs.append(np.stack([np.full_like(firsts, second), firsts, bits[second - start, firsts]]))
        seconds, firsts, differing = np.concatenate(pairs, axis=1)
        return seconds, firsts, differing

    @cached_property
    def _signs(self) -> NDArray[np.float32]:
        return np.unpackbits(self._words.view(np.uint8), axis=1).astype(np.float32) * 2 - 1

    def _bits(self, firsts: NDArray[np.int64], seconds: NDArray[np.int64]) -> NDArray[np.intp]:
        return np.asarray(_ONES[self._words[firsts] ^ self._words[seconds]].sum(axis=1, dtype=np.intp))


def _portions(lengths: NDArray[np.intp]) -> Iterator[slice]:
    """Stretches of runs that together are so many pairs as fit in memory, one run at the least."""
    begin, total = 0, 0
    for place, length in enumerate(lengths.tolist()):
        if total and total + length > _AT_ONCE:
            yield slice(begin, place)
            begin, total = place, 0
        total += length
    if total:
        yield slice(begin, len(lengths))
