"""Tables between two marks of a page of docs: written from results, never by hand."""

from __future__ import annotations

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def put(page: str, table: str, *, name: str = "measured") -> str:
    """The page with the table between the marks of this name, in place of what stood there.

    Raises:
        ValueError: the page has no such place.
    """
    begin, end = (mark.replace("measured", name) for mark in (BEGIN, END))
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError("the page has no place for the table")
    return f"{before}{begin}\n{table.strip()}\n{end}{after}"
