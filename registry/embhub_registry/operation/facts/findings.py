"""What `doctor` finds: a line for each check, with what was seen and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from embhub_registry.storage.folder import Registry

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """One check. `advice` is empty where nothing has to be done."""

    check: str
    state: State
    seen: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        """As `doctor --json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class Subject:
    """What is looked at: a registry that was opened for reading, what `/metrics` says of it, and the time here."""

    registry: Registry
    facts: Mapping[str, float]  # samples of `registry_facts.FACTS` that have no labels
    now: datetime

    def fact(self, name: str) -> float | None:
        """A sample of `/metrics` by its name without `embhub_`; None where it is not known."""
        return self.facts.get(f"embhub_{name}")

    def age(self, name: str) -> timedelta | None:
        """How long ago the moment of a sample was, negative for one to come; None where there was none."""
        moment = self.fact(f"{name}_timestamp_seconds")
        return timedelta(seconds=self.now.timestamp() - moment) if moment else None


def ok(check: str, seen: str) -> Finding:
    """Nothing has to be done."""
    return Finding(check, "ok", seen)


def warning(check: str, seen: str, advice: str) -> Finding:
    """Something has to be done soon, or could not be looked at."""
    return Finding(check, "warning", seen, advice)


def failed(check: str, seen: str, advice: str) -> Finding:
    """Something is wrong now."""
    return Finding(check, "failed", seen, advice)


def words(length: timedelta) -> str:
    """A length of time in the largest unit of which there are two or more: `3 hours`."""
    seconds = abs(length.total_seconds())
    for name, each in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * each:
            return f"{seconds / each:,.0f} {name}"
    return f"{seconds:.0f} seconds"
