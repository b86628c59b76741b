"""Ratings on disk: appended, read again, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.errors import ConfigError, UsageError
from embhub.reader_study import ratings
from embhub.reader_study.ratings import Rating, Reader
from embhub.reader_study.study import RATINGS, Study

A, B = "a" * 16, "b" * 16


def rate(folder: Path, study: Study, place: int, *, origin: int = 1, reader: str = A) -> None:
    ratings.add(folder, study, Rating(reader=reader, case=study.cases[place].name, origin=origin, finding="yes"))


def test_what_is_added_is_read(prepared: tuple[Path, Study]) -> None:
    folder, study = prepared
    ratings.add(folder, study, Reader(reader=A, role="radiologist"))
    ratings.add(folder, study, Reader(reader=B, role="researcher"))
    for place in range(len(study.cases)):
        rate(folder, study, place, origin=1 + place % 5)
    answers = ratings.read(folder, study)
    assert answers.roles == {A: "radiologist", B: "researcher"}
    assert {reader: [one.origin for one in said] for reader, said in answers.complete(study).items()} == {
        A: [1 + place % 5 for place in range(len(study.cases))]
    }, "B is not complete"
    assert (folder / RATINGS).stat().st_mode & 0o077 == 0


def test_the_first_rating_of_a_case_counts(prepared: tuple[Path, Study]) -> None:
    folder, study = prepared
    ratings.add(folder, study, Reader(reader=A, role="other"))
    rate(folder, study, 0, origin=1)
    rate(folder, study, 0, origin=5)
    assert ratings.read(folder, study).ratings[A][study.cases[0].name].origin == 1


def test_a_line_cut_short_by_a_crash_is_passed_over(prepared: tuple[Path, Study]) -> None:
    folder, study = prepared
    ratings.add(folder, study, Reader(reader=A, role="other"))
    rate(folder, study, 0)
    whole = (folder / RATINGS).read_bytes()
    rate(folder, study, 1)
    for end in range(len(whole), (folder / RATINGS).stat().st_size):
        (folder / RATINGS).write_bytes((folder / RATINGS).read_bytes()[:end] if end else whole)
        assert len(ratings.read(folder, study).ratings[A]) == 1
        rate(folder, study, 1)
        assert len(ratings.read(folder, study).ratings[A]) == 2


def test_what_does_not_belong_is_refused(prepared: tuple[Path, Study]) -> None:
    folder, study = prepared
    with pytest.raises(UsageError, match="no such reader"):
        rate(folder, study, 0)
    ratings.add(folder, study, Reader(reader=A, role="other"))
    with pytest.raises(UsageError, match="no such reader or image"):
        ratings.add(folder, study, Rating(reader=A, case=B, origin=1, finding="yes"))
    with pytest.raises(UsageError, match="no answer"):
        ratings.add(folder, study, Rating(reader=A, case=study.cases[0].name, origin=1))
    with (folder / RATINGS).open("ab") as stream:
        stream.write(b'{"line": "rating"}\n')
    with pytest.raises(ConfigError, match="line 2, is damaged"):
        ratings.read(folder, study)
