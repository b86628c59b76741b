"""Tables between two marks of a page of docs: written from results, never by hand."""

from __future__ import annotations

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def put(page: str, table: str) -> str:
    """The page with the table between its marks, in place of what stood there.

    Raises:
        ValueError: the page has no such place.
    """
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError("the page has no place for the table")
    return f"{before}{BEGIN}\n{table.strip()}\n{END}{after}"
