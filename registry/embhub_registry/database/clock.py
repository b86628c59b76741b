"""The time, in the one spelling that the registry stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The current time, UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime | None = None) -> str:
    """ISO 8601 with milliseconds and Z, as the Hub writes it; sorts as text."""
    moment = now() if moment is None else moment.astimezone(UTC)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def stamp_after(previous: str) -> str:
    """The current time as `stamp` writes it, or a millisecond after `previous` where the clock is not past that.

    No two commits of a repository have one time: the newest of a version is the newest by its time.
    """
    return max(stamp(), stamp(datetime.fromisoformat(previous) + timedelta(milliseconds=1)))
