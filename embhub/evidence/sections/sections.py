"""Facts of the sections after page one that `evidence.json` does not hold ready: tables, drawings, wording. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

from embhub.audits import audit_page, epsilon_gauge, roc_figure
from embhub.audits.explanation import plural
from embhub.audits.report import AuditReport
from embhub.audits.verdict import BLIND
from embhub.evidence.document import Audit, Limit, Privacy, Rebuilt
from embhub.evidence.sections import histogram
from embhub.evidence.sections.guarantee import against_sites, per_hundred
from embhub.pages.messages import mark
from embhub.privacy.second_opinion import MEANING, SecondOpinion

STATUS = {"tried": "tested", "partly": "partly tested", "not tried": "not tested"}
SIGNERS = (mark("Controller"), mark("Data protection officer: advice"))
BLANKS = (mark("Organisation"), mark("Name and role"), mark("Date"), mark("Signature"))


class Row(NamedTuple):
    """A row of a table: its heading and its cells."""

    head: str
    cells: tuple[str, ...]


class Table(NamedTuple):
    """Headings of the columns, and rows; all of it text."""

    heads: tuple[str, ...]
    rows: tuple[Row, ...]


class Guarantee(NamedTuple):
    """The claim for one unit; no tables where there is no claim. `second` is the second accountant's table."""

    unit: str
    limits: Table | None
    reconstruction: Table | None
    second: Table | None
    meaning: str = MEANING


class Histogram(NamedTuple):
    """A drawing of an attack's ranks, rendered."""

    name: str
    decided: bool
    drawing: str


class Figures(NamedTuple):
    """Curves, histograms and the table of attacks, rendered, with the words for the two sides.

    `of_code` is whether made-up units were attacked, and not the file: then the curves say nothing of patients.
    """

    units: str
    inside: str
    outside: str
    linear: str
    logarithmic: str
    histograms: tuple[Histogram, ...]
    attacks: str
    has_baseline: bool
    of_code: bool


def describe_guarantee(privacy: Privacy) -> Guarantee:
    """What section 2 says for one unit."""
    unit = privacy.claim["unit"] if isinstance(privacy.claim, dict) else "patient"
    if not privacy.limits:
        return Guarantee(unit, None, None, None)
    second = None if privacy.second_opinion is None else _tabulate_second(privacy.second_opinion)
    return Guarantee(unit, tabulate_limits(privacy), _tabulate_reconstruction(privacy.reconstruction), second)


def tabulate_limits(privacy: Privacy) -> Table:
    """The largest chance of being named after taking part, beside the chance without."""
    heads = [f"this training (ε {privacy.epsilon:g})"]
    columns: list[tuple[Limit, ...]] = [privacy.limits]
    if privacy.together:
        heads.append(f"with this site's other trainings (ε {privacy.together_epsilon:g})")
        columns.append(privacy.together)
    if (larger := against_sites(privacy)) is not None:
        heads.append(f"by another site of the study (ε {larger:g})")
        columns.append(privacy.against_sites)
    return Table(
        heads=("named without taking part", *(f"named after taking part, at most: {head}" for head in heads)),
        rows=tuple(
            Row(
                f"{limits[0].named_without * 100:g} %",
                tuple(f"{per_hundred(limit.named_with_at_most)} %" for limit in limits),
            )
            for limits in zip(*columns, strict=True)
        ),
    )


def describe_figures(report: AuditReport) -> Figures:
    """What section 3 shows."""
    deciding = report.deciding.attack
    of_code = report.unit == "canary"
    return Figures(
        units=plural(report.unit),
        inside="passed through the code" if of_code else "used for training",
        outside="left out" if of_code else "held out",
        linear=roc_figure.draw(report.attacks, deciding),
        logarithmic=roc_figure.draw(report.attacks, deciding, both=True),
        histograms=tuple(
            Histogram(result.name, result.name == deciding, histogram.draw(result))
            for result in report.attacks
            if result.on_coins
        ),
        attacks=audit_page.tabulate(report),
        has_baseline=BLIND in report.tried,
        of_code=of_code,
    )


def draw_gauge(audit: Audit, privacy: Privacy) -> str:
    """The epsilon that guessing the audit's coins showed, on a line that ends with the claim; empty for an audit of
    the file."""
    if audit.suite != "mechanism" or privacy.epsilon is None:
        return ""
    return epsilon_gauge.draw(audit.coins.lower_bound if audit.coins else 0.0, privacy.epsilon)


def _tabulate_reconstruction(rows: tuple[Rebuilt, ...]) -> Table:
    together = any(row.together_at_most is not None for row in rows)
    heads = ("chance without the file", "with the file, at most")
    return Table(
        heads=(*heads, "with this site's other trainings, at most") if together else heads,
        rows=tuple(
            Row(
                f"1 in {row.candidates:,}",
                tuple(_bound(chance) for chance in (row.rebuilt_at_most, row.together_at_most) if chance is not None),
            )
            for row in rows
        ),
    )


def _tabulate_second(told: SecondOpinion) -> Table:
    """Both accountants' figures of epsilon."""

    def row(head: str, *values: float | None) -> Row:
        return Row(head, tuple("none" if value is None else f"{value:.4f}" for value in values))

    def both(of: SecondOpinion, whose: str) -> tuple[Row, Row]:
        return (
            row(f"epsilon {whose}, and the bounds of PRV", of.epsilon, of.prv_lower, of.prv_upper),
            row(f"epsilon {whose} by Rényi differential privacy (RDP)", of.epsilon_rdp, of.rdp, of.rdp),
        )

    against = () if told.against_sites is None else both(told.against_sites, "against another site of the study")
    return Table(
        heads=("", "embhub", f"opacus {told.version}, at least", "at most"),
        rows=(*both(told, "of the claim"), *against),
    )


def _bound(chance: float) -> str:
    """A bound in per cent with two digits, rounded up."""
    digits = max(1, 1 - math.floor(math.log10(chance * 100)))
    return f"{math.ceil(chance * 100 * 10**digits) / 10**digits:.{digits}f} %"
