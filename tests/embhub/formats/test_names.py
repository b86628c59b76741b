"""Names that are safe in a URL, a path and a log line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import UsageError
from embhub.formats import names


@pytest.mark.parametrize("text", ["radboud/prostate-csPCa", "a/b", "umc-utrecht/X_1.0", "r2d2/7"])
def test_repository(text: str) -> None:
    assert names.check_repository(text) == text
    assert names.namespace_of(text) == text.split("/")[0]


@pytest.mark.parametrize(
    "text",
    [
        *("radboud", "radboud/", "/x", "a/b/c", "Radboud/x", "-a/b", "a-/b", "a--b/c", "a/.b", "a/b.", "a/b..c"),
        *("a/b--c", "a/b.git", "api/x", "embhub/x", "a/b c", "a/b\n", "é/b", "a/é", "..", "a/.."),
        *("a/" + "b" * 81, "a" * 40 + "/b"),
    ],
)
def test_no_repository(text: str) -> None:
    with pytest.raises(UsageError):
        names.check_repository(text)


@given(st.text(max_size=30))
def test_a_name_leaves_no_folder(text: str) -> None:
    if names.repository_fault(text) is None:
        assert text.isascii() and text.isprintable() and text.count("/") == 1 and ".." not in text


def test_versions_are_ordered_as_numbers() -> None:
    ordered = ["0.9.0", "1.0.0rc1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"]
    assert sorted(ordered, key=names.version_order) == ordered
    assert all(names.version_fault(text) is None for text in ordered)


@pytest.mark.parametrize("text", ["", "v1", "one", "1.0 ", "1.0\n", "1" * 41, "1..0", "١.٠"])
def test_no_version(text: str) -> None:
    assert names.version_fault(text)
