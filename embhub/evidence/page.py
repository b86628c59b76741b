"""`index.html` of the pack: one self-contained page that prints well. No script, no address, nothing from outside."""

from __future__ import annotations

from embhub.audits.audit_page import TONES
from embhub.audits.report import AuditReport
from embhub.evidence import cover, sections
from embhub.evidence.document import Evidence
from embhub.pages import rendering


def render(evidence: Evidence, report: AuditReport) -> str:
    """The page of a pack.

    Args:
        evidence: everything that the page says.
        report: the audit report that the evidence is about; its order of labels gives the drawings.

    Returns:
        HTML 5; text that people wrote is escaped.
    """
    return str(
        rendering.render(
            __package__,
            "pack.html.j2",
            evidence=evidence,
            cover=cover.gather(evidence),
            tone=TONES[evidence.audit.verdict],
            guarantee=sections.describe_guarantee(evidence),
            figures=sections.describe_figures(report),
            statement=report.statement,
            status=sections.STATUS,
            signers=sections.SIGNERS,
            blanks=sections.BLANKS,
        )
    )
