"""The report of a membership-inference audit: the order of labels in, figures and a verdict out.

Pure: no file, clock or socket is read. `build` makes a report from scores, `AuditReport.parse` reads one strictly and
`recompute` derives every figure again from what the report publishes, so that a registry which never saw an image can
tell whether a report agrees with itself. Self-consistent is all that it can be told: an order can be invented.

A report holds no score of a patient or an image, no seed, no path, no identity and no fingerprint of an image. A score
is a function of public files and one image: whoever holds the image could compute it and look it up. What the order of
labels still tells those who hold most of the cohort's images stands in docs/explanation/audits.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import Field, ValidationError

from embhub.audits.attack_figures import (
    MADE_UP_PATIENTS,
    PAPERS,
    AttackResult,
    Coins,
    Name,
    Power,
    Strict,
    Words,
    limits_of,
    measure,
    publish_order,
)
from embhub.audits.outdated import SCHEMA as VERSION_1
from embhub.audits.remembered import by_bytes
from embhub.audits.report_facts import Artifact as Artifact
from embhub.audits.report_facts import Attempt as Attempt
from embhub.audits.report_facts import Base, Deciding, Tool
from embhub.audits.report_facts import Bounds as Bounds
from embhub.audits.report_facts import Claimed as Claimed
from embhub.audits.report_facts import Design as Design
from embhub.audits.report_facts import Digest as Digest
from embhub.audits.report_facts import Group as Group
from embhub.audits.report_facts import Split as Split
from embhub.audits.report_facts import Suite as Suite
from embhub.audits.report_facts import ToolVersion as ToolVersion
from embhub.audits.report_facts import Unit as Unit
from embhub.audits.verdict import Decision, Guessed, Verdict, decide, decide_mechanism
from embhub.errors import ArtifactError
from embhub.formats import strict_json
from embhub.formats.validation import explain
from embhub.version import __version__

SCHEMA = "embhub.audit/2"
MAX_BYTES = 2_000_000
_MAX_NODES = 2_500  # twenty attacks hold half of it; a validator explains each wrong one at length
_MAX_ITEMS = 5_000  # commas; the scores of version 1 have more
_TOLERANCE = 1e-5

SUITES: Mapping[str, tuple[str, ...]] = {  # the attacks of a suite, its headline first
    "quick": ("loss-difference", "loss"),
    "standard": ("lira-shadows", "lira-artifact", "loss-difference", "loss", "rmia", "lira-online",
                 "dataset-inference"),
    "thorough": (
        "lira-shadows", "lira-artifact", "loss-difference", "loss", "rmia", "lira-online", "dataset-inference",
        "clid", "secmi", "pia", "gradient-alignment", "fcre", "extraction", "re-identification",
    ),
    "mechanism": ("mechanism-canaries",),
}  # fmt: skip


class AuditReport(Strict):
    """A membership-inference audit of one embedding.

    `schema_` is version 2, or version 1 for a report that was read from an old release (`embhub.audits.version1`).
    """

    schema_: Literal["embhub.audit/1", "embhub.audit/2"] = Field(default="embhub.audit/2", alias="schema")
    tool: Tool
    artifact: Artifact
    base: Base
    suite: Suite
    unit: Unit
    members: Group
    nonmembers: Group
    design: Design
    headline: Name
    attacks: Annotated[tuple[AttackResult, ...], Field(min_length=1, max_length=20)]
    claim: Claimed | None = None
    power: Power
    attempt: Attempt | None = None
    deciding: Deciding
    verdict: Verdict
    statement: Words
    commitment: Digest | None = None

    @property
    def headline_result(self) -> AttackResult:
        """The attack that was named beforehand."""
        return self.attack(self.headline)

    @property
    def deciding_result(self) -> AttackResult:
        """The attack that decided the verdict: the headline, unless another one detected a leak."""
        return self.attack(self.deciding.attack)

    @property
    def coins(self) -> Coins | None:
        """The bounds from the headline's coins; None where its units did not go in by fair coins."""
        return self.headline_result.coins

    @property
    def is_version1(self) -> bool:
        """Whether it is of version 1, whose scores let whoever holds an image find out which side it was on."""
        return self.schema_ == VERSION_1

    def attack(self, name: str) -> AttackResult:
        """The result of the attack of that name. Raises KeyError."""
        for result in self.attacks:
            if result.name == name:
                return result
        raise KeyError(name)

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785): equal reports are equal bytes."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def parse(cls, data: bytes) -> AuditReport:
        """Read a report strictly: at most 2 MB, no duplicate key, no unknown field, no NaN.

        A report of version 1 is read too: its scores become the order of labels, its verdict stays as it was stated.

        Raises:
            ArtifactError: the bytes are not such a report; the hint lists what is wrong.
        """
        hint = "write the report again with `embhub audit`"
        try:
            items = strict_json.MAX_ITEMS if VERSION_1.encode() in data else _MAX_ITEMS
            document = strict_json.read_object(data, limit=MAX_BYTES, nodes=_MAX_NODES, items=items)
            if document.get("schema") == VERSION_1:
                return _from_version1(data)
            report = cls.model_validate_json(data, by_alias=True, by_name=False)
            if report.schema_ != SCHEMA:
                raise strict_json.JsonError(f"schema is not {SCHEMA}")
        except ValidationError as error:
            raise ArtifactError(f"the audit report is not valid: {explain(error)}", hint) from error
        except strict_json.JsonError as error:
            raise ArtifactError(f"the audit report is not valid: {error}", hint) from error
        names = [result.name for result in report.attacks]
        if len(set(names)) < len(names) or not {report.headline, report.deciding.attack} <= set(names):
            raise ArtifactError("the audit report names an attack twice, or one that it does not hold", hint)
        return report

    def check(self) -> list[str]:
        """`recompute` of this report."""
        return recompute(self)


def build(
    *,
    artifact_digest: str,
    base_digest: str | None,
    suite: Suite,
    scores: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    headline: str | None = None,
    unit: Unit = "patient",
    members: Group | None = None,
    nonmembers: Group | None = None,
    design: Design | None = None,
    models: Mapping[str, int] | None = None,
    claim: Claimed | None = None,
    attempt: Attempt | None = None,
    commitment: str | None = None,
) -> AuditReport:
    """Make a report from unit scores; the scores themselves do not go into it.

    Args:
        artifact_digest: SHA-256 of the embedding's file, hex.
        base_digest: digest of the base's fingerprint, hex.
        scores: for each attack the members' and the non-members' scores, one a unit; higher is more member-like.
        headline: the attack that was fixed beforehand; the suite's by default, and `recompute` accepts no other.
        unit: what one score stands for.
        members, nonmembers: counts; by default those of the headline's scores.
        models: for an attack over shadows, the number of trained embeddings that its scores are pooled over.
        claim: what the embedding claims; of the `mechanism` suite, and of no other.
        attempt: which audit of this file it is, by the site's ledger.
        commitment: keyed commitment (HMAC-SHA256, hex) to the manifest; the key stays at the site.

    Raises:
        ValueError: an empty class, a score that is not finite, or a headline without scores.
    """
    headline = headline or SUITES[suite][0]
    if headline not in scores:
        raise ValueError(f"the headline attack {headline!r} has no scores")
    results = []
    for name, (inside, outside) in scores.items():
        pooled = (models or {}).get(name, 1)
        order, bins = publish_order(name, pooled, inside, outside)
        results.append(measure(name=name, models=pooled, order=order, bins=bins))
    attacks = tuple(results)
    chosen = next(result for result in attacks if result.name == headline)
    power, design = limits_of(chosen), design or Design()
    decision = _decide(chosen, attacks, suite, unit, power, design, claim)
    return AuditReport(
        tool=Tool(version=__version__),
        artifact=Artifact(sha256=artifact_digest),
        base=Base(digest=base_digest),
        suite=suite,
        unit=unit,
        members=members or Group(units=chosen.units[0]),
        nonmembers=nonmembers or Group(units=chosen.units[1]),
        design=design,
        headline=headline,
        attacks=attacks,
        claim=claim,
        power=power,
        attempt=attempt,
        deciding=_name(decision, attacks),
        verdict=decision.verdict,
        statement=decision.statement,
        commitment=commitment,
    )


@by_bytes
def recompute(report: AuditReport) -> list[str]:
    """Derive every figure, the power, the verdict and its words from the orders; return what contradicts the report.

    An empty list means that the report is consistent with itself, not that it is true. Of a report of version 1
    nothing is derived: its figures and its verdict followed other rules.
    """
    contradictions: list[str] = []
    if report.is_version1:
        return contradictions
    for result in report.attacks:
        order, bins = publish_order(result.name, result.models, *result.ranks)
        if (order, bins) != (result.order, result.bins):
            contradictions.append(f"{result.name}: the order is not published as sides of its size ask for")
        given = result.model_dump(mode="json")
        derived = measure(name=result.name, models=result.models, order=result.order, bins=result.bins)
        contradictions += [
            f"{result.name}: {field} is {given[field]}, its order gives {figure}"
            for field, figure in derived.model_dump(mode="json").items()
            if not _agree(given[field], figure)
        ]
    headline = report.headline_result
    contradictions += _check_design(report, headline)
    power = limits_of(headline)
    if not _agree(report.power.model_dump(mode="json"), power.model_dump(mode="json")):
        contradictions.append(f"the power is {report.power!r}, the counts give {power!r}")
    if report.attempt is not None and report.attempt.number > report.attempt.count:
        contradictions.append(f"it is audit {report.attempt.number} of {report.attempt.count} of this file")
    decision = _decide(headline, report.attacks, report.suite, report.unit, report.power, report.design, report.claim)
    if report.verdict != decision.verdict:
        contradictions.append(f"the verdict is {report.verdict}, the orders give {decision.verdict}")
    elif report.statement != decision.statement:
        contradictions.append("the statement is not the one that belongs to the verdict and its figures")
    if report.deciding != _name(decision, report.attacks):
        contradictions.append(f"the attack that decided is {report.deciding!r}, the orders give {decision.attack}")
    return contradictions


def _decide(
    headline: AttackResult,
    attacks: Sequence[AttackResult],
    suite: Suite,
    unit: Unit,
    power: Power,
    design: Design,
    claim: Claimed | None,
) -> Decision:
    found = ((result.name, result.coins) for result in attacks)
    guessed = {name: Guessed(coins.coins, coins.lower_bound) for name, coins in found if coins is not None}
    if suite != "mechanism" or claim is None or headline.name not in guessed:
        return decide(headline, attacks, suite=suite, unit=unit, power=power, design=design)
    return decide_mechanism(guessed, headline=headline.name, claimed=claim.epsilon)


def _name(decision: Decision, attacks: Sequence[AttackResult]) -> Deciding:
    """What a report says of the attack that decided."""
    chosen = next(result for result in attacks if result.name == decision.attack)
    return Deciding(
        attack=decision.attack,
        p_value=None if decision.limit is None else chosen.p_value,
        limit=decision.limit,
    )


def _from_version1(data: bytes) -> AuditReport:
    """A report of version 1 as one of this version: orders in place of its scores, its verdict as it was stated."""
    from embhub.audits import version1  # here: few releases hold one, and its models take long to import

    old = version1.Report.model_validate_json(data, by_alias=True, by_name=False)
    scores = {result.name: (result.member_scores, result.nonmember_scores) for result in old.attacks}
    if len(scores) < len(old.attacks) or old.headline not in scores:
        raise strict_json.JsonError("it names an attack twice, or a headline that it does not hold")
    design = {**old.design.model_dump(), "split": old.design.split.replace("kept back", "held out")}
    built = build(
        artifact_digest=old.artifact.sha256,
        base_digest=old.base.digest,
        suite=old.suite,
        scores=scores,
        headline=old.headline,
        unit=old.unit,
        members=Group(**old.members.model_dump()),
        nonmembers=Group(**old.nonmembers.model_dump()),
        design=Design(**design),
        models={result.name: result.models for result in old.attacks},
        claim=None if old.claim is None else Claimed(**old.claim.model_dump()),
        commitment=old.commitment,
    )
    stated = {"schema_": VERSION_1, "verdict": old.verdict, "statement": old.statement}
    return built.model_copy(update=stated)


def _check_design(report: AuditReport, headline: AttackResult) -> list[str]:
    """What the suite promises against what the report holds."""
    found: list[str] = []
    if report.headline != SUITES[report.suite][0]:
        found.append(f"the headline of the suite {report.suite} is {SUITES[report.suite][0]}, not {report.headline}")
    found += [f"{result.name} is no attack of embhub" for result in report.attacks if result.name not in PAPERS]
    absent = set(SUITES[report.suite]) - {result.name for result in report.attacks}
    if absent:
        found.append(f"the suite {report.suite} also runs {', '.join(sorted(absent))}")
    if len({report.suite == "mechanism", report.unit == "canary", report.claim is not None}) > 1:
        found.append("canaries and a claim belong to the suite mechanism, and to no other")
    expected = max(1, report.design.target_shadows)
    if headline.models != expected:
        found.append(f"{expected} audited embeddings are stated, the headline has {headline.models}")
    units = (report.members.units, report.nonmembers.units)
    for result in report.attacks:
        if result.name == MADE_UP_PATIENTS:
            continue  # they have coins of their own
        held = (len(result.ranks.members), len(result.ranks.nonmembers))
        if held != units if result.models == 1 else sum(held) != sum(units) * result.models:
            found.append(f"{result.name}: {held[0]} and {held[1]} scores do not fit {units[0]} and {units[1]} units")
    return found


def _agree(given: Any, derived: Any) -> bool:
    """Equal, with numbers compared to a relative 1e-5: another scipy may differ in the last digit."""
    if isinstance(given, dict) and isinstance(derived, dict):
        return given.keys() == derived.keys() and all(_agree(given[key], derived[key]) for key in given)
    if isinstance(given, list) and isinstance(derived, list):
        return len(given) == len(derived) and all(_agree(one, other) for one, other in zip(given, derived, strict=True))
    if isinstance(given, int | float) and isinstance(derived, int | float):
        return math.isclose(given, derived, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE / 10)
    return bool(given == derived)
