"""Which images a classifier is taught with."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.diffusion.evaluation.cells import Cell, Labelled, choose, grid, runs
from tests.support.quick import examples


def pool(counts: tuple[int, int], each: int = 2) -> Labelled:
    """Images whose one pixel is their number; patients have `each` images of a class."""
    total = sum(counts)
    labels = np.repeat([0, 1], counts)
    images = np.arange(total, dtype=np.uint8).reshape(total, 1, 1, 1).repeat(3, axis=3)
    return Labelled(images, labels, tuple(f"P{place // each}" for place in range(total)))


def test_the_grid_has_every_cell_once_and_real_alone_first() -> None:
    found = grid([10, 0, 20], {"a": [0, 5], "b": [5, 9]})
    assert found[:2] == [Cell(10), Cell(20)]
    assert set(found[2:]) == {Cell(r, a, d) for a, d in (("a", 5), ("b", 5), ("b", 9)) for r in (0, 10, 20)}
    assert len(found) == len(set(found)) == 11
    assert Cell(20, "b", 9).alone == Cell(20)


def test_each_regime_has_cells_where_there_are_real_images() -> None:
    found = grid([10, 20], {"a": [5]}, ["mixed", "filtered"], stopped=[20])
    assert Cell(20, regime="stopped early") in found and Cell(10, regime="stopped early") not in found
    assert Cell(0, "a", 5) in found and Cell(0, "a", 5, "filtered") not in found
    assert {cell.regime for cell in found if cell.real == 10 and cell.drawn} == {"mixed", "filtered"}


@settings(max_examples=examples(30))
@given(st.integers(3, 20), st.integers(3, 20), st.integers(0, 100), st.data())
def test_half_of_each_class_whole_patients_first_and_the_fewer_among_the_more(
    negatives: int, positives: int, seed: int, data: st.DataObject
) -> None:
    images = pool((negatives, positives))
    count = data.draw(st.integers(2, images.most))
    chosen = choose(images, count, seed)
    assert len(set(chosen.tolist())) == count
    assert int(images.labels[chosen].sum()) == count // 2
    fewer = choose(images, max(2, count // 2), seed)
    assert set(fewer.tolist()) <= set(chosen.tolist())
    for value in (0, 1):  # of each class, only the last patient may be cut
        taken = [images.patients[place] for place in chosen if images.labels[place] == value]
        whole = [p for p, label in zip(images.patients, images.labels, strict=True) if label == value]
        assert sum(taken.count(patient) < whole.count(patient) for patient in set(taken)) <= 1


def test_a_seed_is_finished_before_the_next_begins() -> None:
    assert [seed for seed, _ in runs([Cell(2), Cell(4)], 2)] == [0, 0, 1, 1]
