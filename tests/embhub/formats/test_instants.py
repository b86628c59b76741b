"""Times as they stand in signed documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.formats import instants


def test_written_in_utc() -> None:
    there = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert instants.write(there) == "2025-12-31T22:30:00Z"


@given(st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1)))
def test_reads_back(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert instants.read(instants.write(moment)) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-20",
        "2026-11-20T10:22:33",
        "2026-11-20T10:22:33+00:00",
        "2026-13-01T00:00:00Z",
        "2026-11-20T10:22:33Z\n",
        "2026-11-20t10:22:33z",
        "２026-11-20T10:22:33Z",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        instants.read(text)
