"""The controls that an environment asks for before a model leaves it: what a release and this site's records show of
each, and what they do not. One table for two standards. Pure.

Statements about rules are short, dated, and none of them is advice; what they rest on was read on AS_OF.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from embhub.evidence import document
from embhub.evidence.gathering import NO_CLAIM
from embhub.evidence.intake_document import Control, ControlFile, Intake
from embhub.evidence.sections.coverage import list_coverage
from embhub.evidence.sections.guarantee import PORTED
from embhub.evidence.sections.shipping import list_shipment
from embhub.privacy.claim import PrivacyClaim
from embhub.privacy.second_opinion import SecondOpinion
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.release.policy import YANKS
from embhub.release.verified import Verified

AS_OF = "2026-11-26"
NOT_ADVICE = f"Not legal advice. Statements about rules are as of {AS_OF}; rules and their reading change."


class Standard(NamedTuple):
    """What asks for controls: its name, what it asks in a few words, and who decides."""

    title: str
    asks: str
    decides: str


STANDARDS: Mapping[str, Standard] = {
    "satre": Standard(
        "SATRE 2.0.1, requirement 3.3.07: a model leaves a trusted research environment",
        "For outputs that nobody can check by eye, the environment needs a written policy on the risk of disclosure."
        " Trained weights are the example: the policy says whether models may leave at all, and after which technical"
        " controls.",
        "The policy, and the approval under it, are the environment's. This sheet lists what can be put before both.",
    ),
    "ehds": Standard(
        "Regulation (EU) 2025/327 (EHDS), Article 73: a result leaves a secure processing environment",
        "By Article 73(2) users download non-personal electronic health data only, which includes statistics that name"
        " nobody. As secondary sources describe it, detailed requirements for such environments are due by 26 March"
        " 2027, and most rules on secondary use apply from 26 March 2029.",
        "Whether an embedding is non-personal is decided by people: the health data access body, or the trusted data"
        " holder that runs the environment. No tool can decide it.",
    ),
}


class Facts(NamedTuple):
    """What the table is filled from: the sheet with its release, and this site's own records where it has any."""

    intake: Intake
    verified: Verified
    release: Release
    ledger: document.Ledger | None
    second_opinion: SecondOpinion | None


Shown = tuple[str | None, str]
"""What was done, None where nothing here shows it; and what is not shown."""


def _contents(facts: Facts) -> Shown:
    size, holds = facts.intake.subject.bytes, list_shipment(facts.release).files[0].holds
    return f"{size:,} bytes: {holds}.", "Whether these numbers are personal data. No file can show that."


def _bound(facts: Facts) -> Shown:
    claim, privacy = facts.verified.embedding.privacy, facts.intake.privacy
    if not isinstance(claim, PrivacyClaim):
        return None, NO_CLAIM[0]
    among = f", and epsilon {claim.largest_epsilon:g} against another site of its study" if claim.study else ""
    weak = "The bound is weak: an epsilon of this size rules out hardly any attack. " if privacy.weak else ""
    ported = facts.verified.embedding.derived_from is not None
    condition, ran = (f" {PORTED}", "training and port") if ported else ("", "training")
    return (
        f"Differential privacy, epsilon {claim.epsilon:g} at delta {claim.delta:g} for each {claim.unit}{among},"
        f" recomputed on this machine from the parameters in the file's header.{condition}",
        f"{weak}That {ran} ran as stated: no file can show it. What finding, hospital and years give away by"
        " themselves is not bounded.",
    )


def _second(facts: Facts) -> Shown:
    found = facts.second_opinion
    if found is None or found.prv_lower is None or found.prv_upper is None:
        why = f": {found.reason}" if found else ""
        return None, f"This machine has no record of a second program's figures{why}."
    within = "inside" if found.agreement == "agrees" else "above"
    return (
        f"Opacus {found.version} put epsilon between {found.prv_lower:.4f} and {found.prv_upper:.4f} when the training"
        f" ended; the claim's {found.epsilon:.4f} is {within} these bounds.{_second_of_study(found)}",
        "It is a record of this site, and in no file of the release.",
    )


def _second_of_study(found: SecondOpinion) -> str:
    larger = found.against_sites
    return f" Against another site of the study: {larger.sentence}." if larger else ""


def _together(facts: Facts) -> Shown:
    claim = facts.verified.embedding.privacy
    total = claim.composition if isinstance(claim, PrivacyClaim) else None
    missing = "What other programs, other sites and earlier publications reveal about the same people."
    if facts.ledger is not None:
        bound = "which nothing bounds" if facts.ledger.epsilon is None else f"epsilon {facts.ledger.epsilon:g} together"
        told = f"This site's privacy ledger: one person was in at most {facts.ledger.trainings} trainings, {bound}."
        return told, missing
    if total is not None:
        ported = facts.verified.embedding.derived_from is not None
        whose, site = ("source's", "the source's site") if ported else ("publisher's", "its site")
        return (
            f"The {whose} claim counts {total.trainings} private trainings at {site}, epsilon {total.epsilon:g}"
            f" together, and {total.plain} without differential privacy.",
            missing,
        )
    return None, "No ledger on this machine, and no total in the claim, counts other outputs about the same people."


def _attacks(facts: Facts) -> Shown:
    report, card = facts.verified.report, facts.verified.card
    if report is None:
        return None, "There is no audit report: what leaks about the people in the training data was not measured."
    copies = card.samples is not None and card.samples.copy_check == "no-copies-found"
    bounded = isinstance(facts.verified.embedding.privacy, PrivacyClaim)
    rows = list_coverage(report, bounded=bounded, copy_checked=copies)
    untested = ", ".join(row.family for row in rows if row.status == "not tried")
    return f"{report.suite.capitalize()} suite, {report.verdict}: {report.statement}", f"Not tested: {untested}."


def _copies(facts: Facts) -> Shown:
    record = facts.verified.card.samples
    if record is None or record.copy_check != "no-copies-found":
        return None, "The release records no comparison of generated images with training images."
    return (
        f"The publisher's copy check of generated images ({record.images}) found no copy of a training image.",
        "Only the publisher can repeat the check, and it misses some kinds of copies.",
    )


def _others(facts: Facts) -> Shown:
    auditors = [
        f"audit countersigned by {one.name or one.namespace} (namespace {one.namespace}, key {one.fingerprint})"
        for one in facts.verified.countersigners
    ]
    approvals = [one.in_words() for one in facts.verified.approvals]
    missing = [
        *([] if auditors else ["No independent auditor signed the audit."]),
        *([] if approvals else ["No approval by a second person is in the release."]),
    ]
    done = "; ".join((*auditors, *approvals))
    return done[:1].upper() + done[1:] or None, " ".join(missing) or "What these people looked at before they signed."


def _signature(facts: Facts) -> Shown:
    who = facts.intake.publisher
    revoked = f"The key is out of use since: {who.revoked}. " if who.revoked else ""
    return (
        f"Signed by {who.name or who.namespace} (namespace {who.namespace}, key {who.fingerprint}) on"
        f" {who.signed[:10]}. Signatures and digests were verified on this machine.",
        f"{revoked}A signature names who is responsible. It does not state that the file may leave.",
    )


def _record(facts: Facts) -> Shown:
    return (
        f"{len(facts.intake.checks)} checks by embhub {facts.intake.tool.version}, each with its outcome, in"
        " intake.json beside this sheet.",
        "The environment's own thresholds and risk settings.",
    )


def _afterwards(facts: Facts) -> Shown:
    gone, source = facts.intake.yanked, facts.intake.source
    copies = "Copies that others have cannot be recalled."
    if gone or facts.verified.withdrawn:
        return f"Withdrawn: {gone or '; '.join(one.sentence for one in facts.verified.withdrawn)}.", copies
    if source.registry is None or YANKS in facts.verified.unanswered:
        return None, f"No registry said whether the release was withdrawn. {copies}"
    return f"{source.registry} was asked on {facts.intake.made[:10]}: not withdrawn.", copies


def _decision(facts: Facts) -> Shown:
    del facts
    return None, "Request, project, approver and access log are the environment's: no file of a release shows them."


class Row(NamedTuple):
    """A control: its clause in each standard that asks for it, who can check it, its files, and what fills it."""

    control: str
    clauses: Mapping[str, str]
    checked_by: str
    holds: Callable[[str], object]
    find: Callable[[Facts], Shown]


def _these(*names: str) -> Callable[[str], object]:
    return frozenset(names).__contains__


_ANYBODY, _SITE = "anybody: embhub verify", "the site that trained"
_DOWNLOAD = "73(2)"
CONTROLS = (
    Row("The output is known, and no larger than needed", {"satre": "3.3.02", "ehds": _DOWNLOAD},
        "anybody: any reader of safetensors", _these(release_files.EMBEDDING), _contents),
    Row("What the output reveals of one person is bounded", {"satre": "3.3.07", "ehds": _DOWNLOAD},
        _ANYBODY, _these(release_files.EMBEDDING), _bound),
    Row("A second program confirmed the bound", {"satre": "3.3.07", "ehds": _DOWNLOAD},
        f"{_SITE}: its record of the run", _these(), _second),
    Row("Other outputs about the same people are counted", {"satre": "3.3.04", "ehds": _DOWNLOAD},
        f"{_SITE}: embhub budget show", _these(release_files.EMBEDDING), _together),
    Row("Attacks were run before release", {"satre": "3.3.06, 3.3.07", "ehds": _DOWNLOAD},
        f"anybody: the figures agree with each other; {_SITE}: the attacks again",
        _these(release_files.AUDIT, release_files.AUDIT_BUNDLE, release_files.AUDIT_DESIGN, release_files.AUDIT_RESULT),
        _attacks),
    Row("Generated images were compared with training images", {"satre": "3.3.07", "ehds": _DOWNLOAD},
        _SITE, _these(release_files.CARD, release_files.SAMPLES), _copies),
    Row("Somebody other than the producer checked", {"satre": "3.3.05", "ehds": _DOWNLOAD}, _ANYBODY,
        lambda name: release_files.auditor_in(name) or release_files.is_approval(name), _others),
    Row("The decision is bound to exact bytes and to a signer", {"satre": "3.3.09", "ehds": _DOWNLOAD},
        _ANYBODY, _these(release_files.PUBLISH_BUNDLE, release_files.MODEL_BUNDLE), _signature),
    Row("Checks leave a record that programs read", {"satre": "3.3.09"},
        "anybody: embhub evidence makes it again", _these(), _record),
    Row("Something can be done after the output has left", {"satre": "3.3.04"},
        "anybody: embhub verify NAMESPACE/NAME", _these(), _afterwards),
    Row("The environment approved the request", {"satre": "3.1.05, 3.3.05", "ehds": "73(1)"},
        "the environment's operator", _these(), _decision),
)  # fmt: skip


def list_controls(standard: str, facts: Facts) -> tuple[Control, ...]:
    """The controls that a standard asks for, in the order of the sheet; a file is named only where it shows something.

    Args:
        standard: one of STANDARDS.
        facts: what they are filled from.
    """
    return tuple(_fill(row, row.clauses[standard], facts) for row in CONTROLS if standard in row.clauses)


def _fill(row: Row, clause: str, facts: Facts) -> Control:
    done, missing = row.find(facts)
    files = tuple(
        ControlFile(name=name, sha256=release_files.digest(data))
        for name, data in sorted(facts.release.files.items())
        if done is not None and row.holds(name)
    )
    return Control(
        control=row.control, clause=clause, done=done, files=files, checked_by=row.checked_by, missing=missing
    )
