"""The studies' tables come from what was kept; the page of each is there."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from bench import marked
from bench.studies import ROOT, STUDIES, Study, render

BY_MODULE = pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.module)


@BY_MODULE
def test_a_study_names_what_measures_it_and_the_page_that_reads_it(study: Study) -> None:
    module = import_module(f"bench.{study.module}")
    assert callable(module.main) and study.results == module.RESULTS
    assert (ROOT / study.page).exists() and f"bench.{study.module}" in (ROOT / study.page).read_text()


@BY_MODULE
def test_a_table_is_of_what_was_kept(study: Study, tmp_path: Path) -> None:
    lines = [line for line in study.render().splitlines() if line.startswith("|")]
    assert len(lines) > 3 or not study.results.exists()
    assert "Not measured yet." in replace(study, results=tmp_path / "none.json").render()


def test_all_are_printed() -> None:
    shown = "\n".join(render())
    assert [study.question in shown for study in STUDIES] == [True] * len(STUDIES)


@BY_MODULE
def test_a_page_with_a_place_for_the_table_has_the_table_of_what_was_kept(study: Study) -> None:
    page = (ROOT / study.page).read_text()
    if marked.BEGIN not in page:
        pytest.skip("its tables are written into the text")
    assert page.partition(marked.BEGIN)[2].strip().startswith(study.shown())
