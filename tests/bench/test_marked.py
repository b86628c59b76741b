"""Tables go between the marks of a page, and nowhere else."""

from __future__ import annotations

import pytest

from bench import marked


def test_a_table_takes_the_place_of_the_one_before() -> None:
    page = f"a\n{marked.BEGIN}\nold\n{marked.END}\nb\n"
    made = marked.put(page, "\nnew\n")
    assert made == f"a\n{marked.BEGIN}\nnew\n{marked.END}\nb\n" and marked.put(made, "new") == made


@pytest.mark.parametrize("page", ["", "nothing", marked.BEGIN, f"{marked.END}{marked.BEGIN}"])
def test_a_page_without_a_place_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="no place"):
        marked.put(page, "table")
