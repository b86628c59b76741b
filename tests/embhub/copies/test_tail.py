"""False alarms stay at the nominal rate where nothing is copied, and copies are found with few controls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.copies.tail import FEWEST_CONTROLS, p_values, score, threshold
from tests.support.quick import quick


def people(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Points of `count` people in `size` dimensions."""
    return rng.normal(size=(count, size))


def scores(rng: np.random.Generator, queries: np.ndarray, trained: np.ndarray) -> np.ndarray:
    distances = np.linalg.norm(queries[:, None] - trained[None], axis=-1)
    return score(distances, [str(n) for n in range(len(trained))])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("size", "controls"), quick([(2, 20), (40, 60)], thorough=[(2, 60), (8, 20), (8, 60), (40, 20)])
)
def test_false_alarms_are_no_more_than_promised(size: int, controls: int) -> None:
    """Families of eight drawn images on three measures, none a copy: one family in twenty may hold an alarm."""
    rng, samples, measures, alarms = np.random.default_rng(0), 8, 3, []
    for _ in range(300):
        family = False
        for _ in range(measures):
            trained = people(rng, 60, size)
            kept = scores(rng, people(rng, controls, size), trained)
            p = p_values(scores(rng, people(rng, samples, size), trained), kept)
            family |= bool((p <= threshold(0.05, samples=samples, measures=measures)).any())
        alarms.append(family)
    assert np.mean(alarms) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300), np.mean(alarms)


@pytest.mark.thorough
def test_single_p_values_are_not_too_small() -> None:
    rng, found = np.random.default_rng(1), []
    for _ in range(400):
        trained = people(rng, 40, 8)
        kept = scores(rng, people(rng, 30, 8), trained)
        found.append(p_values(scores(rng, people(rng, 1, 8), trained), kept)[0])
    for level in (0.01, 0.05, 0.2, 0.5):
        share = float(np.mean(np.array(found) <= level))
        assert share <= level + 3 * np.sqrt(level * (1 - level) / 400), (level, share)


@pytest.mark.parametrize("controls", [FEWEST_CONTROLS, 50])
def test_a_near_copy_is_found(controls: int) -> None:
    rng = np.random.default_rng(2)
    trained = people(rng, 60, 20)
    kept = scores(rng, people(rng, controls, 20), trained)
    copies = scores(rng, trained[:10] + 0.2 * rng.normal(size=(10, 20)), trained)
    assert (p_values(copies, kept) < threshold(0.05, samples=100, measures=3)).all()
    assert (p_values(scores(rng, trained[:10], trained), kept) < 1e-6).all()


def test_dull_images_are_not_near_for_being_dull() -> None:
    """Half the distance to everybody is nearer in millimetres, and no copy."""
    rng = np.random.default_rng(3)
    distances = rng.uniform(1, 2, size=(4, 30))
    owners = [str(n) for n in range(30)]
    assert np.allclose(score(distances, owners), score(distances / 2, owners))


def test_another_image_of_the_same_person_is_no_excuse() -> None:
    distances = np.full((1, 24), 1.0)
    distances[0, :2] = 0.01
    owners = ["one", "one", *(str(n) for n in range(22))]
    assert score(distances, owners)[0] == pytest.approx(np.log(0.01))


@given(
    st.lists(st.floats(-5, 1), min_size=20, max_size=60),
    st.lists(st.floats(-20, 5), min_size=1, max_size=20),
)
def test_p_values_are_chances_and_nearer_is_never_likelier(kept: list[float], asked: list[float]) -> None:
    p = p_values(np.sort(np.array(asked)), np.array(kept))
    assert ((p > 0) & (p <= 1)).all() or (p[p == 0].size and min(asked) < min(kept))
    assert (np.diff(p) >= -1e-9).all()


def test_too_few_to_say_anything() -> None:
    with pytest.raises(ValueError, match="controls"):
        p_values(np.zeros(1), np.zeros(19))
    with pytest.raises(ValueError, match="patients"):
        score(np.ones((1, 30)), ["one"] * 30)
