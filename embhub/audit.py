"""The report of a membership-inference audit: scores in, figures and a verdict out.

Pure: no file, clock or socket is read. `build` makes a report from scores, `AuditReport.parse` reads one strictly and
`recompute` derives every figure again from the scores inside, so that a registry which never saw an image can tell
whether a report agrees with itself. Self-consistent is all that it can be told: scores can be invented.

A report holds no path, no identity and no fingerprint of an image. Scores are sorted within each class, which forgets
whose they are, and rounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import Field, ValidationError

from embhub import __version__
from embhub.audits.attack_figures import (
    DIGITS,
    MADE_UP_PATIENTS,
    PAPERS,
    AttackResult,
    Coins,
    Count,
    Name,
    Power,
    Strict,
    Words,
    count_coins,
    count_patients,
    limits_of,
    measure,
    published,
    rounded,
)
from embhub.audits.remembered import by_bytes
from embhub.audits.verdict import Decision, Verdict, decide, decide_mechanism
from embhub.errors import ArtifactError
from embhub.formats import strict_json

SCHEMA = "embhub.audit/1"
MAX_BYTES = 2_000_000
_MAX_NODES = 2_500  # twenty attacks hold half of it; a validator explains each wrong one at length
_TOLERANCE = 1e-5

SUITES: Mapping[str, tuple[str, ...]] = {  # the attacks of a suite, its headline first
    "quick": ("loss-difference", "loss"),
    "standard": ("lira-shadows", "lira-artifact", "loss-difference", "loss"),
    "thorough": (
        "lira-shadows", "lira-artifact", "loss-difference", "loss",
        "clid", "secmi", "pia", "gradient-alignment", "extraction",
    ),
    "mechanism": ("mechanism-canaries",),
}  # fmt: skip

Suite = Literal["quick", "standard", "thorough", "mechanism"]
Unit = Literal["patient", "image", "canary"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A signed report has no room for words of anybody's own: every text in it is one of ours, or follows from the figures.
Timesteps = Literal["stratified: one uniform draw from each of equally wide bands"]
Split = Literal[
    "by patient, kept back before training",
    "by image, kept back before training",
    "named by the caller",
    "given by the caller",
    "made up, in or out by a coin each",
]
ToolVersion = Annotated[
    str, Field(pattern=r"^\d{1,4}(\.\d{1,4}){1,2}((a|b|rc|\.dev|\.post)\d{1,4}){0,3}$", max_length=40)
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
    """How many units and images stand on one side; None where a site keeps the images' number to itself."""

    units: Count
    images: Count | None = None


class Design(Strict):
    """What was fixed before a score was seen.

    `draws` are pairs of noise and timestep an image, the same for every image and model; `noise_seed` made them and was
    used for nothing else. `split` says how members and non-members came about.
    """

    draws: Count = 0
    timesteps: Timesteps = "stratified: one uniform draw from each of equally wide bands"
    noise_seed: Count = 0
    reference_shadows: Count = 0
    target_shadows: Count = 0
    split: Split = "given by the caller"
    subject: Literal["embedding", "algorithm", "mechanism"] = "embedding"


class Claimed(Strict):
    """The epsilon and delta that the embedding claims, where the suite tries the claim's own mechanism."""

    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]


class AuditReport(Strict):
    """A membership-inference audit of one embedding."""

    schema_: Literal["embhub.audit/1"] = Field(default="embhub.audit/1", alias="schema")
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
    coins: Coins | None = None
    claim: Claimed | None = None
    power: Power
    verdict: Verdict
    statement: Words
    commitment: Digest | None = None

    @property
    def headline_result(self) -> AttackResult:
        """The attack that was named beforehand."""
        return self.attack(self.headline)

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
            strict_json.read_object(data, limit=MAX_BYTES, nodes=_MAX_NODES)
            report = cls.model_validate_json(data, by_alias=True, by_name=False)
        except ValidationError as error:
            raise ArtifactError(f"the audit report is not valid: {_explain(error)}", hint) from error
        except strict_json.JsonError as error:
            raise ArtifactError(f"the audit report is not valid: {error}", hint) from error
        names = [result.name for result in report.attacks]
        if len(set(names)) < len(names) or report.headline not in names:
            raise ArtifactError("the audit report names an attack twice, or a headline that it does not hold", hint)
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
    patient_intervals: Mapping[str, tuple[float, float]] | None = None,
    commitment: str | None = None,
) -> AuditReport:
    """Make a report from unit scores.

    Args:
        artifact_digest: SHA-256 of the embedding's file, hex.
        base_digest: digest of the base's fingerprint, hex.
        scores: for each attack the members' and the non-members' scores, one a unit; higher is more member-like.
        headline: the attack that was fixed beforehand; the suite's by default, and `recompute` accepts no other.
        unit: what one score stands for.
        members, nonmembers: counts; by default those of the headline's scores.
        models: for an attack over shadows, the number of trained embeddings that its scores are pooled over.
        claim: what the embedding claims; of the `mechanism` suite, and of no other.
        patient_intervals: patient-cluster bootstrap intervals of the AUC.
        commitment: keyed commitment (HMAC-SHA256, hex) to the manifest; the key stays at the site.

    Raises:
        ValueError: an empty class, a score that is not finite, or a headline without scores.
    """
    headline = headline or SUITES[suite][0]
    if headline not in scores:
        raise ValueError(f"the headline attack {headline!r} has no scores")
    results = []
    for name, (inside, outside) in scores.items():
        interval = (patient_intervals or {}).get(name)
        results.append(
            measure(
                name=name,
                models=(models or {}).get(name, 1),
                member_scores=published(inside),
                nonmember_scores=published(outside),
                auc_interval_by_patient=None if interval is None else (rounded(interval[0]), rounded(interval[1])),
            )
        )
    chosen = next(result for result in results if result.name == headline)
    power, coins = limits_of(chosen), count_coins(chosen)
    decision = _decide(chosen, results, suite, unit, power, coins, claim)
    return AuditReport(
        tool=Tool(version=__version__),
        artifact=Artifact(sha256=artifact_digest),
        base=Base(digest=base_digest),
        suite=suite,
        unit=unit,
        members=members or Group(units=chosen.units[0]),
        nonmembers=nonmembers or Group(units=chosen.units[1]),
        design=design or Design(),
        headline=headline,
        attacks=tuple(results),
        coins=coins,
        claim=claim,
        power=power,
        verdict=decision.verdict,
        statement=decision.statement,
        commitment=commitment,
    )


@by_bytes
def recompute(report: AuditReport) -> list[str]:
    """Derive every figure, the power, the verdict and its words from the scores; return what contradicts the report.

    An empty list means that the report is consistent with itself, not that it is true. The patient-cluster bootstrap
    interval cannot be derived; it must overlap the one that is.
    """
    contradictions: list[str] = []
    for result in report.attacks:
        for side, values in (("member", result.member_scores), ("non-member", result.nonmember_scores)):
            if values != published(values):
                contradictions.append(f"{result.name}: {side} scores are not sorted and rounded to {DIGITS} digits")
        given = result.model_dump(mode="json")
        derived = measure(
            **{field: getattr(result, field) for field in ("name", "models")},
            member_scores=result.member_scores,
            nonmember_scores=result.nonmember_scores,
            auc_interval_by_patient=result.auc_interval_by_patient,
        ).model_dump(mode="json")
        contradictions += [
            f"{result.name}: {field} is {given[field]}, its scores give {derived[field]}"
            for field in ("paper", "kind", "auc", "auc_interval", "p_value", "tpr_at_fpr", "epsilon")
            if not _agree(given[field], derived[field])
        ]
        low, high = result.auc_interval_by_patient or result.auc_interval
        if not (low <= high and low <= result.auc_interval[1] and high >= result.auc_interval[0]):
            contradictions.append(f"{result.name}: auc_interval_by_patient is {[low, high]}, far from its scores")
    headline = report.headline_result
    contradictions += _check_design(report, headline)
    coins = count_coins(headline)
    if report.coins is not None and not _agree(report.coins.model_dump(), coins and coins.model_dump()):
        contradictions.append(f"the bounds from coins are {report.coins!r}, the scores give {coins!r}")
    power = limits_of(headline)
    if not _agree(report.power.model_dump(mode="json"), power.model_dump(mode="json")):
        contradictions.append(f"the power is {report.power!r}, the counts give {power!r}")
    decision = _decide(headline, report.attacks, report.suite, report.unit, report.power, coins, report.claim)
    if report.verdict != decision.verdict:
        contradictions.append(f"the verdict is {report.verdict}, the scores give {decision.verdict}")
    elif report.statement != decision.statement:
        contradictions.append("the statement is not the one that belongs to the verdict and its figures")
    return contradictions


def _decide(
    headline: AttackResult,
    attacks: Sequence[AttackResult],
    suite: Suite,
    unit: Unit,
    power: Power,
    coins: Coins | None,
    claim: Claimed | None,
) -> Decision:
    if suite == "mechanism" and coins is not None and claim is not None:
        return decide_mechanism(coins, count_patients(attacks), claimed=claim.epsilon)
    return decide(headline, attacks, suite=suite, unit=unit, power=power)


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
    of_units = [result for result in report.attacks if result.name != MADE_UP_PATIENTS]  # who have coins of their own
    for result in of_units:
        held = (len(result.member_scores), len(result.nonmember_scores))
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


def _explain(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
