"""The study of capacity: halves that are halves, every cell once, and a table that follows from its rows."""

from __future__ import annotations

from bench import capacity, marked
from bench.results_file import ResultsFile


def test_each_embedding_learns_from_half_of_the_people_and_no_two_from_the_same() -> None:
    halves = capacity.balanced_halves(8, 20, seed=1)
    assert halves.shape == (8, 20) and (halves.sum(1) == 10).all()
    assert len({row.tobytes() for row in halves}) == 8 and 0 < halves.mean(0).min() < 1


def test_the_grid_has_every_cell_once_and_the_cheap_ones_first() -> None:
    found = capacity.cells()
    assert len(found) == len(set(found)) == len(capacity.VECTORS) * len(capacity.IMAGES) + len(capacity.LONGER)
    work = [images * steps for _, images, steps in found]
    assert work == sorted(work)


def test_the_table_says_what_was_found_of_one_file() -> None:
    row = {
        "vectors": 4, "images": 10, "steps": 200, "numbers": 512, "populations": 2, "members": 160, "found": 40,
        "auc": 0.71, "copy_checks": 0, "copied": 0, "cpu_seconds": 1,
    }  # fmt: skip
    text = capacity.table([row])
    assert "| 4 | 10 | 200 | 25% [19%, 32%] | 0.71 | 2.5 | - | 160 |" in text


def test_the_page_shows_what_the_results_file_holds() -> None:
    rows, page = ResultsFile(capacity.RESULTS).rows, capacity.PAGE.read_text()
    assert rows and marked.put(page, capacity.table(rows)) == page
