"""What a report says of its own design, against what it holds; and what was found, kept by the report's bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import Generic, Protocol, TypeVar

from embhub.audits.attack_figures import (
    IN_TURN,
    MADE_UP_PATIENTS,
    ON_COINS,
    PAPERS,
    SHOWN_ON_FILE,
    SUITES,
    AttackResult,
)
from embhub.audits.guesses import Guesses, below_chance
from embhub.audits.report_facts import Claimed, Design, Group, Suite, Unit, has_figures
from embhub.audits.verdict import limits_of_detection

_REPORTS = 4  # of up to 2 MB each: those that are being pushed at a time: a registry asks twice for each


class Report(Protocol):
    """What is read of a report (embhub.audits.report.AuditReport)."""

    @property
    def suite(self) -> Suite: ...
    @property
    def unit(self) -> Unit: ...
    @property
    def members(self) -> Group: ...
    @property
    def nonmembers(self) -> Group: ...
    @property
    def design(self) -> Design: ...
    @property
    def headline(self) -> str: ...
    @property
    def attacks(self) -> tuple[AttackResult, ...]: ...
    @property
    def found_nothing(self) -> tuple[str, ...]: ...
    @property
    def tried(self) -> tuple[str, ...]: ...
    @property
    def claim(self) -> Claimed | None: ...
    @property
    def guesses(self) -> Guesses | None: ...
    @property
    def below_chance(self) -> float | None: ...


def count_models(name: str, design: Design) -> int:
    """How many trained embeddings the coins of an attack are pooled over: every attack is tried on every shadow."""
    return max(1, design.shadows) if name.endswith(IN_TURN) else 1


def check_design(report: Report) -> list[str]:
    """What the suite promises against what the report holds."""
    found: list[str] = []
    if report.headline != SUITES[report.suite][0]:
        found.append(f"the headline of the suite {report.suite} is {SUITES[report.suite][0]}, not {report.headline}")
    found += [f"{name} is no attack of embhub" for name in report.tried if name not in PAPERS]
    absent = set(SUITES[report.suite]) - set(report.tried)
    if absent:
        found.append(f"the suite {report.suite} also runs {', '.join(sorted(absent))}")
    limits = limits_of_detection(report.headline, report.tried)
    found += [
        f"{result.name}: it found nothing, so that no figure of it is published"
        for result in report.attacks
        if not has_figures(result, limits)
    ]
    if hidden := (ON_COINS | {SHOWN_ON_FILE}) & set(report.found_nothing):
        found.append(f"the figures of {', '.join(sorted(hidden))} are published whatever they are")
    if len({report.suite == "mechanism", report.unit == "canary", report.claim is not None}) > 1:
        found.append("canaries and a claim belong to the suite mechanism, and to no other")
    units = (report.members.units, report.nonmembers.units)
    for result in report.attacks:
        if result.models != (expected := count_models(result.name, report.design)):
            found.append(f"{result.name}: {result.models} embeddings were attacked, {expected} are stated")
        if result.name == MADE_UP_PATIENTS or not result.on_coins:
            continue  # they have coins of their own; or no label is told
        held = (len(result.ranks.members), len(result.ranks.nonmembers))
        if held != units if report.unit == "canary" else sum(held) != sum(units) * result.models:
            found.append(f"{result.name}: {held[0]} and {held[1]} coins do not fit {units[0]} and {units[1]} units")
    return found


def check_guesses(report: Report) -> Iterator[str]:
    """The guesses against the coins of the orders, and the joint p-value against the guesses."""
    pooled = {result.name: result for result in report.attacks if result.name.endswith(IN_TURN)}
    given = report.guesses
    if given is None or report.below_chance is None:
        if pooled or given is not None or report.below_chance is not None:
            yield "guesses and a joint p-value belong to attacks on shadows"
        return
    if given.by.keys() != pooled.keys():
        yield "there are guesses of other attacks than those on shadows"
    if {len(letters) for letters in given.by.values()} != {len(given.coins)}:
        yield "an attack guesses another number of coins than fell"
        return
    inside, outside = given.coins.count("m"), given.coins.count("n")
    for name, result in pooled.items():
        if (len(result.ranks.members), len(result.ranks.nonmembers)) != (inside, outside):
            yield f"{name}: its coins are not the {inside} that fell in and the {outside} that fell out"
    if not math.isclose(report.below_chance, derived := below_chance(given), rel_tol=1e-9):
        yield f"the joint p-value below chance is {report.below_chance}, the guesses give {derived}"


class HasBytes(Protocol):
    """Something whose bytes say all that it holds."""

    def to_bytes(self) -> bytes:
        """Equal things give equal bytes."""
        ...


T = TypeVar("T", bound=HasBytes)


@dataclass(frozen=True)
class _ByBytes(Generic[T]):
    """A report that is known by its bytes alone."""

    data: bytes
    whole: T = field(compare=False)


def by_bytes(derive: Callable[[T], list[str]]) -> Callable[[T], list[str]]:
    """The same pure function, which remembers its last few answers."""

    @lru_cache(maxsize=_REPORTS)
    def remembered(given: _ByBytes[T]) -> tuple[str, ...]:
        return tuple(derive(given.whole))

    @wraps(derive)
    def ask(whole: T) -> list[str]:
        return list(remembered(_ByBytes(whole.to_bytes(), whole)))

    return ask
