"""An audit report as one self-contained page, whose first screen a data-protection officer can read.

Everything shown is derived from the report; text that came with the report is escaped. The page holds no script, and
no address but the way back that a registry gives it: the switch between the two axes is a pair of radio buttons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from embhub.audits import epsilon_gauge, roc_figure
from embhub.audits.attack_figures import IN_TURN, AttackResult
from embhub.audits.explanation import TITLES, Explanation, describe_attempt, explain, plural
from embhub.audits.rates import RATES
from embhub.audits.report import AuditReport
from embhub.audits.verdict import Verdict
from embhub.pages import rendering

TONES: Mapping[Verdict, str] = {
    "leak-detected": "bad-news",
    "no-leak-detected": "no-finding",
    "insufficient-evidence": "open",
    "bounded-by-claim": "no-finding",
}


class Crumb(NamedTuple):
    """A step of the way back: its text, and its address on the same host, beginning with one slash."""

    text: str
    address: str


class AttackRow(NamedTuple):
    """An attack in the table; `marks` say what it was for."""

    result: AttackResult
    decided: bool
    marks: tuple[str, ...]


class AttackTable(NamedTuple):
    """Every attack; `rates` are the false-positive rates that true-positive rates are given at."""

    rates: Sequence[float]
    rows: tuple[AttackRow, ...]
    found_nothing: tuple[str, ...]


class AuditPage(NamedTuple):
    """What the template shows beside the report itself; the drawings and the table are rendered already. `gauge`
    is empty where the audit tried no claim."""

    report: AuditReport
    title: str
    verdict: str
    tone: str
    words: Explanation
    contradictions: tuple[str, ...]
    units: str
    subject: str
    attempt: str
    shown_epsilon: float
    gauge: str
    colour: str
    linear: str
    logarithmic: str
    attacks: str
    way_back: tuple[Crumb, ...]


def render(
    report: AuditReport, *, title: str = "", contradictions: tuple[str, ...] = (), way_back: tuple[Crumb, ...] = ()
) -> str:
    """The page of a report.

    Args:
        report: the audit report.
        title: the name of the embedding.
        contradictions: what `AuditReport.check` found, shown first.
        way_back: links above the title, the last to the page of the release; none for a page on this disk.

    Returns:
        HTML 5.
    """
    page = _gather(report, title, contradictions, way_back)
    return str(rendering.render(__package__, "audit.html.j2", page=page))


def tabulate(report: AuditReport) -> str:
    """Every attack with its figures and intervals, as an HTML table (`markupsafe.Markup`)."""
    table = AttackTable(
        rates=RATES,
        rows=tuple(
            AttackRow(result, result.name == report.deciding.attack, _marks(report, result))
            for result in report.attacks
        ),
        found_nothing=report.found_nothing,
    )
    return rendering.render(__package__, "attacks.html.j2", table=table)


def _gather(report: AuditReport, title: str, contradictions: tuple[str, ...], way_back: tuple[Crumb, ...]) -> AuditPage:
    deciding = report.deciding.attack
    return AuditPage(
        report=report,
        title=title or f"Embedding {report.artifact.sha256[:12]}",
        verdict=TITLES[report.verdict],
        tone=TONES[report.verdict],
        words=explain(report),
        contradictions=contradictions,
        units=plural(report.unit),
        subject=_describe_subject(report),
        attempt=describe_attempt(report),
        shown_epsilon=report.shown_epsilon,
        gauge=epsilon_gauge.draw(report.shown_epsilon, report.claim.epsilon) if report.claim else "",
        colour=roc_figure.DECIDING_COLOUR,
        linear=roc_figure.draw(report.attacks, deciding),
        logarithmic=roc_figure.draw(report.attacks, deciding, log=True),
        attacks=tabulate(report),
        way_back=way_back,
    )


def _describe_subject(report: AuditReport) -> str:
    design = report.design
    return {
        "algorithm": f"{design.shadows} embeddings trained with the same recipe on random halves of these"
        f" {plural(report.unit)}, each attacked in turn, with others as references. Attacks named {IN_TURN} measure the"
        " training recipe; the others measure this file.",
        "embedding": "This file was attacked.",
        "mechanism": "The code that adds privacy noise was tested with the parameters of this file's privacy claim.",
    }[design.subject]


def _marks(report: AuditReport, result: AttackResult) -> tuple[str, ...]:
    decided = ("decided the verdict",) if result.name == report.deciding.attack else ()
    return (*decided, "chosen in advance") if result.name == report.headline else decided
