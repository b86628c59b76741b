"""How current a keyring is, by its own dates, its timestamp and the clock here. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from embhub.formats import instants
from embhub.refusals import MalformedAdvisoriesError, MalformedKeyringError
from embhub.trust import kept_advisories
from embhub.trust.keyring import Trust

CHECK = "freshness"  # the finding
State = Literal["fresh", "stale", "unknown"]
CLOCK_SKEW = timedelta(hours=1)
AHEAD = timedelta(days=1)  # of the clock here: more is no clock that goes wrong, but a thief of an online key


@dataclass(frozen=True)
class Freshness:
    """The verdict in a word and in a sentence; `since` is the moment from which it is stale.

    `expected`: whether the keyring names a timestamp key, so that anything but `fresh` is a fault.
    """

    state: State
    text: str
    since: str | None = None
    expected: bool = True


def judge(trust: Trust, now: datetime) -> Freshness:
    """Whether the keyring is the current one: fresh, stale since when, or unknown and why."""
    keyring, stamped = trust.keyring, trust.timestamp
    if instants.read(keyring.expires) <= now:
        age = _ago(now - instants.read(keyring.expires))
        return Freshness("stale", f"stale: the keyring expired on {keyring.expires}, {age} ago", keyring.expires)
    age = _ago(now - instants.read(keyring.issued))
    if keyring.online_key("timestamp") is None:
        text = (
            f"unknown: the keyring was issued on {keyring.issued}, {age} ago, and names no timestamp key;"
            " a newer one is not ruled out"
        )
        return Freshness("unknown", text, expected=False)
    if stamped is None:
        text = f"unknown: the keyring was issued on {keyring.issued}, {age} ago, and its timestamp is missing"
        return Freshness("unknown", text)
    if instants.read(stamped.issued) > now + CLOCK_SKEW:
        text = f"unknown: the timestamp is dated {stamped.issued}, which is in the future here: check the clocks"
        return Freshness("unknown", text)
    said = f"the timestamp of {stamped.issued} ({_ago(now - instants.read(stamped.issued))} old)"
    if instants.read(stamped.expires) <= now:
        text = f"stale: {said} ended on {stamped.expires}; since then a newer keyring may be withheld"
        return Freshness("stale", text, stamped.expires)
    return Freshness("fresh", f"fresh: {said} confirms keyring version {keyring.version}")


def refuse_the_future(trust: Trust, now: datetime) -> None:
    """Refuse what online keys signed far ahead of the clock, before anything of it is remembered.

    A date or number that is never reached would make everything honest look old. Numbers of advisories follow the
    clock, in seconds.

    Raises:
        MalformedKeyringError: the timestamp is of a later day. MalformedAdvisoriesError: so is the number.
    """
    hint = "check this machine's clock; if it is right, an online key was stolen: inform the operator by telephone"
    if trust.timestamp is not None and is_ahead(trust.timestamp.issued, now):
        text = f"the timestamp of {trust.registry} is dated {trust.timestamp.issued}, far ahead of the clock here"
        raise MalformedKeyringError(text, hint)
    listed = kept_advisories.listed(trust)
    if listed is not None and listed.number > (now + AHEAD).timestamp():
        text = f"the advisories of {trust.registry} have the number {listed.number}, far ahead of the clock here"
        raise MalformedAdvisoriesError(text, hint)


def is_ahead(instant: str, now: datetime) -> bool:
    """Whether a date is more than a day ahead of the clock."""
    return instants.read(instant) > now + AHEAD


def _ago(span: timedelta) -> str:
    hours = max(int(span.total_seconds() // 3600), 0)
    number, noun = (hours, "hour") if hours < 48 else (hours // 24, "day")
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
