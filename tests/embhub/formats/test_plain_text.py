"""Lists in which the same thing stands once."""

from __future__ import annotations

from embhub.formats.plain_text import join_alike


def test_the_same_stands_once_with_its_number() -> None:
    assert join_alike(["a", "b", "a", "a"]) == "3 times a, b"
    assert join_alike(["8 rows of 768", "8 rows of 1280"], by=" and ") == "8 rows of 768 and 8 rows of 1280"
    assert join_alike([]) == ""
