"""What an audit report says beside its figures: what was audited, by what, on whom, and how. Pure.

Of patients it shows counts in fives, and few figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from embhub.audits.attack_figures import FIVES, SHOWN_ON_FILE, AttackResult, Count, Name, Share, Strict, in_fives
from embhub.audits.verdict import FALSE_ALARMS, LARGEST_AUC, LARGEST_TPR
from embhub.audits.verdict import Suite as Suite

Unit = Literal["patient", "image", "canary"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A signed report has no room for words of anybody's own: every text in it is one of ours, or follows from the figures.
Timesteps = Literal["stratified: one uniform draw from each of equally wide bands"]
Split = Literal[
    "by patient, held out before training",
    "by image, held out before training",
    "named by the caller",
    "given by the caller",
    "made up, in or out by a coin each",
]
ToolVersion = Annotated[
    str, Field(pattern=r"^[0-9]{1,4}(\.[0-9]{1,4}){1,2}((a|b|rc|\.dev|\.post)[0-9]{1,4}){0,3}$", max_length=40)
]


class Artifact(Strict):
    """The audited embedding, by the digest of its file."""

    sha256: Digest


class Base(Strict):
    """The base model, by the digest of its fingerprint; None where the embedding names none."""

    digest: Digest | None


class Tool(Strict):
    """What made the report."""

    name: Literal["embhub"] = "embhub"
    version: ToolVersion


class Group(Strict):
    """How many units and images stand on one side, rounded down to fives where they are patients or images.

    None where a site keeps the images' number to itself.
    """

    units: Count
    images: Count | None = None


class Bounds(Strict):
    """The largest AUC, and true-positive rate at 1 % false positives, that `no-leak-detected` has to rule out."""

    auc: Annotated[float, Field(gt=0.5, le=LARGEST_AUC)] = LARGEST_AUC
    tpr: Annotated[float, Field(gt=0.01, le=LARGEST_TPR)] = LARGEST_TPR


class Design(Strict):
    """What was fixed before an image was attacked.

    `draws` are pairs of noise and timestep an image, the same for every image and model; the seed that made them is
    sealed at the site. Each of the `shadows` was attacked in turn. `split` says how members and non-members came about.
    """

    draws: Count = 0
    timesteps: Timesteps = "stratified: one uniform draw from each of equally wide bands"
    shadows: Count = 0
    split: Split = "given by the caller"
    subject: Literal["embedding", "algorithm", "mechanism"] = "embedding"
    bounds: Bounds = Field(default_factory=Bounds)


class Attempt(Strict):
    """Which audit of this file it was, by the site's ledger: written down before the first attack ran.

    `cohort` is which audit on shadows it was of this file, or of any other of the same recipe, on whichever patients:
    training anew is another attempt.
    """

    number: Annotated[int, Field(ge=1, le=1_000_000)]
    count: Annotated[int, Field(ge=1, le=1_000_000)]
    cohort: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class Deciding(Strict):
    """The attack that decided: p at or below `limit` is a detection. `false_alarms` is the rate of the whole rule.

    Both are null for the `mechanism` suite, whose rule is an epsilon above the claimed one.
    """

    attack: Name
    p_value: Share | None
    limit: Share | None
    false_alarms: Share = FALSE_ALARMS


class Claimed(Strict):
    """The epsilon and delta that the embedding claims, where the suite tries the claim's own mechanism."""

    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]


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
