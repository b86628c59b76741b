"""The report of a membership-inference audit: coins and scores in, figures and a verdict out.

Pure: no file, clock or socket is read. `build` makes a report from scores, `AuditReport.parse` reads one strictly and
`recompute` derives again what follows from what the report publishes, so that a registry which never saw an image can
tell whether a report agrees with itself. Self-consistent is all that it can be told: an order can be invented.

A report holds no score of a patient or an image, no seed, no path, no identity and no fingerprint of an image, and no
order of labels but of coins that the audit tossed itself. What an order of patients' labels told to those who hold the
images stands in docs/explanation/audits.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import Field, ValidationError

from embhub.audits.attack_figures import (
    ON_COINS,
    AttackResult,
    Coins,
    Name,
    Power,
    Share,
    Strict,
    Words,
    limits_of,
    measure,
    measure_file,
    on_file,
)
from embhub.audits.attack_figures import SUITES as SUITES
from embhub.audits.contradictions import by_bytes, check_design, check_guesses, count_models
from embhub.audits.guesses import Guesses, below_chance
from embhub.audits.orders import write
from embhub.audits.report_facts import Artifact as Artifact
from embhub.audits.report_facts import Attempt as Attempt
from embhub.audits.report_facts import Base, Deciding, Tool, are_published, has_figures, publish_counts
from embhub.audits.report_facts import Bounds as Bounds
from embhub.audits.report_facts import Claimed as Claimed
from embhub.audits.report_facts import Design as Design
from embhub.audits.report_facts import Digest as Digest
from embhub.audits.report_facts import Group as Group
from embhub.audits.report_facts import Split as Split
from embhub.audits.report_facts import Suite as Suite
from embhub.audits.report_facts import ToolVersion as ToolVersion
from embhub.audits.report_facts import Unit as Unit
from embhub.audits.verdict import Decision, Guessed, Verdict, decide, decide_mechanism, limits_of_detection
from embhub.errors import ArtifactError
from embhub.formats import strict_json
from embhub.formats.validation import explain
from embhub.version import __version__

MAX_BYTES = 2_000_000
_MAX_NODES = 3_000  # twenty-seven attacks hold half of it; a validator explains each wrong one at length
_MAX_ITEMS = 5_000  # commas
_TOLERANCE = 1e-5


class AuditReport(Strict):
    """A membership-inference audit of one embedding. Counts of patients or images are rounded down to fives.

    `found_nothing` names attacks on the file that detected no leak, and `blind` where it saw no difference: no figure
    of theirs is published. `guesses` are those of the attacks on shadows, and `below_chance` is their joint p-value
    against doing worse than guessing, by a permutation of the coins that anybody repeats.
    """

    schema_: Literal["embhub.audit/3"] = Field(default="embhub.audit/3", alias="schema")
    tool: Tool
    artifact: Artifact
    base: Base
    suite: Suite
    unit: Unit
    members: Group
    nonmembers: Group
    design: Design
    headline: Name
    attacks: Annotated[tuple[AttackResult, ...], Field(min_length=1, max_length=40)]
    found_nothing: Annotated[tuple[Name, ...], Field(max_length=40)] = ()
    claim: Claimed | None = None
    guesses: Guesses | None = None
    below_chance: Share | None = None
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
    def tried(self) -> tuple[str, ...]:
        """The names of all attacks that ran, those that found nothing last."""
        return (*(result.name for result in self.attacks), *self.found_nothing)

    @property
    def shown_epsilon(self) -> float:
        """The largest epsilon that guesses of fair coins refuted, of any attack; 0 where none did."""
        return max((result.coins.lower_bound for result in self.attacks if result.coins), default=0.0)

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

        Raises:
            ArtifactError: the bytes are not such a report; the hint lists what is wrong.
        """
        hint = "write the report again with `embhub audit`"
        try:
            strict_json.read_object(data, limit=MAX_BYTES, nodes=_MAX_NODES, items=_MAX_ITEMS)
            report = cls.model_validate_json(data, by_alias=True, by_name=False)
        except ValidationError as error:
            raise ArtifactError(f"the audit report is not valid: {explain(error)}", hint) from error
        except strict_json.JsonError as error:
            raise ArtifactError(f"the audit report is not valid: {error}", hint) from error
        names = report.tried
        if len(set(names)) < len(names) or not {report.headline, report.deciding.attack} <= {
            result.name for result in report.attacks
        }:
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
    guesses: Guesses | None = None,
    claim: Claimed | None = None,
    attempt: Attempt | None = None,
    commitment: str | None = None,
) -> AuditReport:
    """Make a report from unit scores; the scores themselves do not go into it.

    Args:
        artifact_digest: SHA-256 of the embedding's file, hex.
        base_digest: digest of the base's fingerprint, hex.
        scores: for each attack the members' and the non-members' scores, one a unit, or one a coin where it is
            an attack on coins; higher is more member-like.
        headline: the attack that was fixed beforehand; the suite's by default, and `recompute` accepts no other.
        unit: what one score stands for.
        members, nonmembers: exact counts, published in fives; by default those of the headline's scores.
        guesses: what the attacks on shadows guess of each coin; where there are such attacks.
        claim: what the embedding claims; of the `mechanism` suite, and of no other.
        attempt: which audit of this file it is, by the site's ledger.
        commitment: keyed commitment (HMAC-SHA256, hex) to the manifest; the key stays at the site.

    Raises:
        ValueError: an empty class, fewer than five units on a side, a score that is not finite, or a headline without
            scores.
    """
    headline = headline or SUITES[suite][0]
    if headline not in scores:
        raise ValueError(f"the headline attack {headline!r} has no scores")
    inside, outside = (
        publish_counts(given or Group(units=len(side)), unit)
        for given, side in zip((members, nonmembers), scores[headline], strict=True)
    )
    units = (inside.units, outside.units)
    design = design or Design()
    number = attempt.cohort if attempt else 1
    measured = [
        measure(name=name, models=count_models(name, design), order=write(*pair), attempt=number)
        if name in ON_COINS
        else measure_file(name=name, members=pair[0], nonmembers=pair[1], units=units)
        for name, pair in scores.items()
    ]
    limits = limits_of_detection(headline, scores)
    attacks = tuple(result for result in measured if has_figures(result, limits))
    found_nothing = tuple(result.name for result in measured if result not in attacks)
    chosen = next(result for result in attacks if result.name == headline)
    power = _limits_of(chosen, units)
    below = None if guesses is None else below_chance(guesses)
    decision = _decide(chosen, attacks, found_nothing, suite, unit, units, power, design, claim, number, below)
    return AuditReport(
        tool=Tool(version=__version__),
        artifact=Artifact(sha256=artifact_digest),
        base=Base(digest=base_digest),
        suite=suite,
        unit=unit,
        members=inside,
        nonmembers=outside,
        design=design,
        headline=headline,
        attacks=attacks,
        found_nothing=found_nothing,
        guesses=guesses,
        below_chance=below,
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
    """Derive figures, power, verdict and words from what is published; return what contradicts the report.

    Of an attack on coins every figure follows from the order of labels; of one on the file the interval follows from
    the AUC, and AUC and p-value are what the site said. An empty list means that the report is consistent with itself,
    not that it is true.
    """
    contradictions: list[str] = []
    units = (report.members.units, report.nonmembers.units)
    if not are_published(report.members, report.nonmembers, report.unit):
        return ["counts of patients or images are published in fives, and no side has fewer than five"]
    number = report.attempt.cohort if report.attempt else 1
    for result in report.attacks:
        given = result.model_dump(mode="json")
        derived = (
            measure(name=result.name, models=result.models, order=result.order, attempt=number)
            if result.order is not None
            else on_file(result.name, auc=result.auc, p_value=result.p_value, units=units)
        )
        contradictions += [
            f"{result.name}: {field} is {given[field]}, what is published gives {figure}"
            for field, figure in derived.model_dump(mode="json").items()
            if not _agree(given[field], figure)
        ]
    headline = report.headline_result
    contradictions += [*check_design(report), *check_guesses(report)]
    power = _limits_of(headline, units)
    if not _agree(report.power.model_dump(mode="json"), power.model_dump(mode="json")):
        contradictions.append(f"the power is {report.power!r}, the counts give {power!r}")
    if report.attempt is not None and report.attempt.number > report.attempt.count:
        contradictions.append(f"it is audit {report.attempt.number} of {report.attempt.count} of this file")
    decision = _decide(
        headline,
        report.attacks,
        report.found_nothing,
        report.suite,
        report.unit,
        units,
        report.power,
        report.design,
        report.claim,
        number,
        report.below_chance,
    )
    if report.verdict != decision.verdict:
        contradictions.append(f"the verdict is {report.verdict}, what is published gives {decision.verdict}")
    elif report.statement != decision.statement:
        contradictions.append("the statement is not the one that belongs to the verdict and its figures")
    if report.deciding != _name(decision, report.attacks):
        contradictions.append(
            f"the attack that decided is {report.deciding!r}, what is published gives {decision.attack}"
        )
    return contradictions


def _decide(
    headline: AttackResult,
    attacks: Sequence[AttackResult],
    found_nothing: Sequence[str],
    suite: Suite,
    unit: Unit,
    units: tuple[int, int],
    power: Power,
    design: Design,
    claim: Claimed | None,
    number: int,
    below: float | None,
) -> Decision:
    found = ((result.name, result.coins) for result in attacks)
    guessed = {name: Guessed(coins.coins, coins.lower_bound) for name, coins in found if coins is not None}
    if suite != "mechanism" or claim is None or headline.name not in guessed:
        return decide(
            headline,
            attacks,
            found_nothing,
            suite=suite,
            unit=unit,
            units=units,
            power=power,
            design=design,
            attempt=number,
            below=below,
        )
    return decide_mechanism(guessed, headline=headline.name, claimed=claim.epsilon)


def _name(decision: Decision, attacks: Sequence[AttackResult]) -> Deciding:
    """What a report says of the attack that decided."""
    chosen = next(result for result in attacks if result.name == decision.attack)
    return Deciding(
        attack=decision.attack,
        p_value=None if decision.limit is None else chosen.p_value,
        limit=decision.limit,
    )


def _limits_of(headline: AttackResult, units: tuple[int, int]) -> Power:
    if not headline.on_coins:
        return limits_of(*units)
    return limits_of(len(headline.ranks.members), len(headline.ranks.nonmembers))


def _agree(given: Any, derived: Any) -> bool:
    """Equal, with numbers compared to a relative 1e-5: another scipy may differ in the last digit."""
    if isinstance(given, dict) and isinstance(derived, dict):
        return given.keys() == derived.keys() and all(_agree(given[key], derived[key]) for key in given)
    if isinstance(given, list) and isinstance(derived, list):
        return len(given) == len(derived) and all(_agree(one, other) for one, other in zip(given, derived, strict=True))
    if isinstance(given, int | float) and isinstance(derived, int | float):
        return math.isclose(given, derived, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE / 10)
    return bool(given == derived)
