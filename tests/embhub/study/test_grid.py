"""Patients' vectors as whole numbers: never longer than the clip, whatever comes; sums exact modulo 2^32."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embhub.diffusion.dp.mechanism import Mechanism
from embhub.privacy.studies import MOST_CLIP_UNITS
from embhub.study.grid import CLIP_UNITS, Grid, check_room, wrap
from embhub.study.wire import MAX_WIDTH

GRID = Grid(clip=1e-3, clip_units=CLIP_UNITS, share_variance=2**31)
ANYTHING = arrays(np.float64, (3, 5), elements=st.floats(allow_nan=True, allow_infinity=True))


@given(vectors=ANYTHING, units=st.sampled_from([1, 7, CLIP_UNITS, 2**20]), clip=st.sampled_from([1e-3, 1.0, 3.7]))
def test_no_vector_is_longer_than_the_clip_whatever_comes(vectors: np.ndarray, units: int, clip: float) -> None:
    with np.errstate(over="ignore"):
        bounded = Mechanism(1.0, clip, 1.0, 1).bound(vectors)
    for given_ in (vectors, bounded):
        whole = Grid(clip, units, 16).round(given_)
        assert all(sum(int(value) ** 2 for value in row) <= units**2 for row in whole)


@given(vectors=arrays(np.float64, (2, 40), elements=st.floats(-1, 1)))
def test_rounding_takes_less_than_a_unit_from_each_number_and_adds_to_none(vectors: np.ndarray) -> None:
    bounded = Mechanism(1.0, GRID.clip, 1.0, 1).bound(vectors)
    scaled = bounded * (GRID.clip_units / GRID.clip)
    whole = GRID.round(bounded)
    assert (np.abs(whole) <= np.abs(scaled)).all() and (np.abs(scaled - whole) < 1).all()


def test_what_a_patient_adds_depends_on_nobody_else() -> None:
    vectors = np.random.default_rng(3).normal(size=(6, 50)) * 1e-4
    alone = [GRID.round(vectors[place : place + 1])[0] for place in range(6)]
    assert (GRID.round(vectors) == np.array(alone)).all()
    spoilt = vectors.copy()
    spoilt[2] = np.nan
    kept = [0, 1, 3, 4, 5]
    assert (GRID.round(spoilt)[kept] == np.array(alone)[kept]).all() and not GRID.round(spoilt)[2].any()


def test_a_vector_as_long_as_the_clip_keeps_its_length_and_a_longer_one_counts_as_zero() -> None:
    assert GRID.round(np.array([[1e-3, 0.0]]))[0].tolist() == [CLIP_UNITS, 0]
    assert not GRID.round(np.array([[1.1e-3, 0.0]])).any()
    assert not GRID.round(np.array([[0.9e-3, 0.9e-3]])).any()


@pytest.mark.parametrize("width, part", [(1024, 5100), (6144, 2100)])
def test_rounding_loses_as_little_as_the_page_says(width: int, part: int) -> None:
    vectors = np.random.default_rng(1).normal(size=(20, width))
    vectors *= GRID.clip / np.linalg.norm(vectors, axis=1, keepdims=True)
    along = (GRID.round(vectors) * vectors).sum(1) / GRID.clip / CLIP_UNITS
    assert np.mean(1 - along) == pytest.approx(1 / part, rel=0.1)


@given(values=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=30))
def test_sums_modulo_2_to_the_32_are_exact(values: list[int]) -> None:
    whole = np.array(values, dtype=np.int64)
    assert (wrap(whole).view(np.int32) == whole).all()
    parts = [np.array([value], dtype=np.int64) for value in values]
    total = np.add.reduce([wrap(part) for part in parts], dtype=np.uint32)
    assert int(total[0]) == sum(values) % 2**32


def test_a_protected_sum_has_noise_of_the_share_and_comes_back_as_a_mean() -> None:
    total = np.arange(20_000, dtype=np.int64) * 1000 - 10_000_000
    out = GRID.protect(total)
    noise = (out.view(np.int32) - total) / math.sqrt(GRID.share_variance)
    assert 0.97 < noise.std() < 1.03 and abs(noise.mean()) < 0.05
    mean = GRID.mean(out, 16)
    assert np.allclose(mean * 16 * CLIP_UNITS / 1e-3, out.view(np.int32), atol=1e-3)


def test_a_grid_without_room_is_refused() -> None:
    check_room(clip_units=CLIP_UNITS, share_variance=2**34, sites=20, patients=1000)
    with pytest.raises(ValueError, match="32 bits"):
        check_room(clip_units=CLIP_UNITS, share_variance=2**34, sites=20, patients=2**15)
    with pytest.raises(ValueError, match="32 bits"):
        check_room(clip_units=CLIP_UNITS, share_variance=2**50, sites=100, patients=1)


MOST = dataclasses.replace(GRID, clip_units=MOST_CLIP_UNITS)


@pytest.mark.parametrize(
    "change",
    [{"clip_units": MOST_CLIP_UNITS + 1}, {"clip_units": 65536.0}, {"clip_units": 0}, {"clip_units": True},
     {"share_variance": 2.0**31}, {"share_variance": 15}, {"clip": 0.0}, {"clip": math.inf}, {"clip": math.nan}],
)  # fmt: skip
def test_a_grid_of_other_numbers_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="grid"):
        dataclasses.replace(GRID, **change)


def test_the_check_of_length_does_not_overflow_on_the_finest_grid_and_the_widest_vector() -> None:
    assert MAX_WIDTH * MOST_CLIP_UNITS**2 < 2**63 <= MAX_WIDTH * (2 * MOST_CLIP_UNITS) ** 2
    assert not MOST.round(np.full((1, MAX_WIDTH), MOST.clip)).any()
