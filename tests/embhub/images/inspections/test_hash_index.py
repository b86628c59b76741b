"""The index of hashes finds exactly what comparing all with all finds, random or clustered, and says how far it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from embhub.images.inspections.hash_index import Neighbours
from embhub.images.inspections.near_duplicates import LEAST_CORRELATION, MOST_BITS, Likenesses, difference_hash
from embhub.progress import Progress
from tests.support.quick import examples


def by_comparing_all(bits: NDArray[np.uint8], most_bits: int, most: int) -> list[tuple[int, list[int]]]:
    """The definition: each with every earlier one, the nearest first, then the earliest."""
    found = []
    for second in range(len(bits)):
        differing = (bits[:second] != bits[second]).sum(axis=1)
        near = sorted((int(differing[first]), first) for first in np.flatnonzero(differing <= most_bits))
        if near:
            found.append((second, [int(first) for _, first in near[:most]]))
    return found


def by_index(bits: NDArray[np.uint8], most_bits: int, most: int, block: int) -> list[tuple[int, list[int]]]:
    index = Neighbours(np.packbits(bits, axis=1), most_bits)
    return [
        (second, [int(first) for first in firsts])
        for start in range(0, len(bits), block)
        for second, firsts in index.earlier(start, min(start + block, len(bits)), most=most)
    ]


@settings(max_examples=examples(60))
@given(
    seed=st.integers(0, 2**32 - 1),
    number=st.integers(1, 120),
    centres=st.integers(1, 40),
    noise=st.sampled_from([0.0, 0.02, 0.05, 0.09, 0.5]),
    most_bits=st.sampled_from([0, 5, 12, 13]),
    most=st.sampled_from([1, 3, 256]),
    block=st.sampled_from([1, 7, 64, 256]),
)
def test_it_finds_what_comparing_all_finds(
    seed: int, number: int, centres: int, noise: float, most_bits: int, most: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    middle = rng.integers(0, 2, (centres, 128), dtype=np.uint8)
    bits = middle[rng.integers(0, centres, number)] ^ (rng.random((number, 128)) < noise).astype(np.uint8)
    assert by_index(bits, most_bits, most, block) == by_comparing_all(bits, most_bits, most)


@pytest.mark.thorough
@pytest.mark.parametrize("noise", [0.03, 0.05])
def test_many_in_many_clusters(noise: float) -> None:
    """Enough that the index is taken, and not the comparison of all with all."""
    rng = np.random.default_rng(5)
    middle = rng.integers(0, 2, (150, 128), dtype=np.uint8)
    bits = middle[rng.integers(0, 150, 1500)] ^ (rng.random((1500, 128)) < noise).astype(np.uint8)
    found = by_index(bits, MOST_BITS, 256, 256)
    assert found == by_comparing_all(bits, MOST_BITS, 256) and len(found) > 1000


def test_both_ways_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    from embhub.images.inspections import hash_index as neighbours

    rng = np.random.default_rng(6)
    bits = rng.integers(0, 2, (20, 128), dtype=np.uint8)[rng.integers(0, 20, 400)]
    bits ^= (rng.random(bits.shape) < 0.04).astype(np.uint8)
    found = []
    for dearer in (0, 10**9):  # always by the index, never
        monkeypatch.setattr(neighbours, "_DEARER", dearer)
        monkeypatch.setattr(neighbours, "_AT_ONCE", 50)
        found.append(by_index(bits, 12, 5, 64))
    assert found[0] == found[1] and found[0]


def test_more_bits_than_it_is_exact_for_are_refused() -> None:
    with pytest.raises(ValueError, match="exact up to 13"):
        Neighbours(np.zeros((2, 16), np.uint8), 14)


def test_pairs_are_those_of_the_definition_and_progress_is_told() -> None:
    rng = np.random.default_rng(7)
    kept, pictures = Likenesses(), []
    for number in range(300):
        coarse = np.random.default_rng(number // 3).integers(0, 256, (8, 8), dtype=np.uint8)
        noisy = np.kron(coarse, np.ones((8, 8), np.uint8)) + rng.integers(0, 12, (64, 64))
        pictures.append(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)))
        kept.add(pictures[-1])
    told: list[Progress] = []
    groups = [f"P{number % 5}" for number in range(300)]
    found = kept.pairs(groups, told.append)
    assert [(step.stage, step.done, step.total) for step in told] == [
        ("comparing pictures", 256, 300),
        ("comparing pictures", 300, 300),
    ]
    assert {pair.second for pair in found} >= {number for number in range(300) if number % 3}
    for pair in found:
        bits = difference_hash(pictures[pair.first]) != difference_hash(pictures[pair.second])
        assert pair.first < pair.second and bits.sum() <= MOST_BITS and pair.correlation >= LEAST_CORRELATION
    assert Likenesses().pairs([]) == []
