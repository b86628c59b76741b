"""A mark is found where it is, at a stated chance of error, and nowhere else: whatever the noise looks like."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embhub.diffusion.generation.noise_mark import signs
from embhub.diffusion.generation.tracing.matching import LIMIT, match
from tests.support.quick import examples

SHAPE = (1, 4, 16, 16)
KEYS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(8)]


def noise(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def marked(seed: int, key: str, index: int, share: float) -> np.ndarray:
    """Noise that correlates with marked noise by `share`."""
    start = np.abs(noise(seed)) * signs(key, index, 1024).reshape(SHAPE)
    return (share * start + np.sqrt(1 - share**2) * noise(seed + 10_000)).astype(np.float32)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.35])
def test_key_and_seed_are_read(share: float) -> None:
    found = match(marked(1, KEYS[3], 77, share), KEYS)
    assert found is not None and (found.key, found.index) == (KEYS[3], 77)
    assert 10**found.log10_chance <= LIMIT


def test_a_variant_counts_as_a_comparison() -> None:
    hidden = marked(1, KEYS[0], 5, 0.5)
    once, often = match(hidden, KEYS), match(np.concatenate([noise(2), hidden, noise(3), noise(4)]), KEYS)
    assert once is not None and often is not None and often.index == 5
    assert often.log10_chance - once.log10_chance == pytest.approx(np.log10(4), abs=0.02)


def test_a_mark_of_a_key_that_is_not_known_is_not_found() -> None:
    assert match(marked(1, KEYS[3], 77, 1.0), KEYS[4:]) is None and match(noise(0), []) is None


def test_no_match_in_many_images_without_a_mark() -> None:
    assert not any(match(noise(seed), KEYS) for seed in range(40))


@settings(max_examples=examples(30), deadline=None)
@given(arrays.arrays(np.float32, SHAPE, elements=st.floats(width=32)))
def test_noise_of_any_kind_is_no_match(values: np.ndarray) -> None:
    """Flat, huge, infinite or not a number: nothing is claimed."""
    assert match(values, KEYS[:2]) is None


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["flat", "ramp", "half", "spike"]))
def test_structure_is_no_match(seed: int, kind: str) -> None:
    values = noise(seed)
    values = {
        "flat": np.zeros(SHAPE, np.float32) + 3, "ramp": values * 0.1 + np.linspace(-9, 9, 16, dtype=np.float32),
        "half": np.sign(values), "spike": np.where(np.abs(values) > 3, np.float32(1e9), np.float32(0)),
    }[kind]  # fmt: skip
    assert match(values, KEYS[:2]) is None


def test_every_try_has_its_price() -> None:
    hidden = marked(1, KEYS[0], 5, 0.5)
    once, often = match(hidden, KEYS), match(hidden, KEYS, tries=10)
    assert once is not None and often is not None
    assert often.log10_chance - once.log10_chance == pytest.approx(1.0, abs=0.02)
