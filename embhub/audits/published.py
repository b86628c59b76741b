"""What of an audit a report may show of patients: counts in fives, and few figures."""

from __future__ import annotations

from collections.abc import Mapping

from embhub.audits.attack_figures import FIVES, SHOWN_ON_FILE, AttackResult, in_fives
from embhub.audits.report_facts import Group, Unit


def publish_counts(group: Group, unit: Unit) -> Group:
    """The counts of a side as they are published: canaries are nobody, and counted exactly."""
    if unit == "canary":
        return group
    if group.units < FIVES:
        raise ValueError(f"a side of {group.units} {unit}s is too small: counts are published in fives")
    return Group(units=in_fives(group.units), images=None if group.images is None else in_fives(group.images))


def has_figures(result: AttackResult, limits: Mapping[str, float]) -> bool:
    """Whether a report shows an attack's figures: on the file, those of one named in advance, and what was found."""
    if result.on_coins or result.name == SHOWN_ON_FILE:
        return True
    if result.kind == "baseline":
        return not result.auc_interval[0] <= 0.5 <= result.auc_interval[1]
    return result.p_value <= limits[result.name]


def are_published(members: Group, nonmembers: Group, unit: Unit) -> bool:
    """Whether the counts of both sides are such as `publish_counts` gives."""
    counts = [group.units for group in (members, nonmembers)]
    images = [group.images or 0 for group in (members, nonmembers)]
    if unit == "canary":
        return min(counts) > 0
    return min(counts) >= FIVES and all(count == in_fives(count) for count in counts + images)
