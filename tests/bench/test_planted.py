"""The study of planted patients: who is in each embedding, and a table that follows from its rows."""

from __future__ import annotations

from bench import capacity, marked, planted
from bench.results_file import ResultsFile


def test_half_of_the_planted_and_half_of_the_others_are_learned_from() -> None:
    inside, who = planted.chosen(seed=0)
    assert who.sum() == 2 * planted.PLANTED and who[: 2 * planted.PLANTED].all()
    assert (inside[:, who].sum(1) == planted.PLANTED).all()
    assert (inside.sum(1) == planted.IMAGES).all()


def test_the_table_says_what_was_found_of_the_planted_and_of_the_others() -> None:
    of_planted = {"members": 80, "found": 40, "auc": 0.9, "copied": 3}
    of_others = {"members": 320, "found": 8, "auc": 0.6, "copied": 0}
    row = {"vectors": 16, "copy_checks": 2, "planted": of_planted, "others": of_others, "cpu_seconds": 1}
    text = planted.table([row])
    assert "| 16 | planted | 213 | 50% [39%, 61%] | 0.90 | 3 | 80 |" in text
    assert "| 16 | others | 27 | 2% [1%, 5%] | 0.60 | 0 | 320 |" in text


def test_the_page_shows_what_the_results_file_holds() -> None:
    rows, page = ResultsFile(planted.RESULTS).rows, capacity.PAGE.read_text()
    assert [row["vectors"] for row in rows] == list(planted.VECTORS)
    assert marked.put(page, planted.table(rows), name="planted") == page
