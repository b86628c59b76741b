"""`index.html` of the pack: one self-contained page that prints well. No script, no address, nothing from outside.

Page one and the form exist in other languages too, as a page of their own beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from embhub.audits.audit_page import TONES
from embhub.audits.explanation import explain
from embhub.audits.report import AuditReport
from embhub.evidence.document import Evidence
from embhub.evidence.languages import Translation
from embhub.evidence.sections import cover, form, sections
from embhub.evidence.sections.concerns import Concern
from embhub.pages import rendering
from embhub.pages.messages import ENGLISH


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
            cover=cover.gather(evidence, explain(report)),
            say=ENGLISH.say,
            form=evidence.form,
            tone=TONES[evidence.audit.verdict],
            guarantee=sections.describe_guarantee(evidence.privacy),
            figures=sections.describe_figures(report),
            gauge=sections.draw_gauge(evidence.audit, evidence.privacy),
            statement=report.statement,
            status=sections.STATUS,
            signers=sections.SIGNERS,
            blanks=sections.BLANKS,
        )
    )


def render_translation(
    evidence: Evidence, report: AuditReport, *, concerns: Sequence[Concern], language: Translation
) -> str:
    """Page one and the form in another language, marked as a translation.

    Args:
        evidence: everything that the English page says.
        report: the audit report that the evidence is about.
        concerns: those of the evidence.
        language: what the page is in.

    Returns:
        HTML 5; text that people wrote, and what a check says in English, is escaped and not translated.
    """
    use = evidence.card.says.get("Intended use")
    return str(
        rendering.render(
            __package__,
            "translation.html.j2",
            evidence=evidence,
            cover=cover.gather(evidence, explain(report, language), concerns=concerns, language=language),
            tone=TONES[evidence.audit.verdict],
            form=form.list_fields(use, review_by=evidence.audit_again_by, language=language),
            code=language.code,
            say=language.say,
            english=ENGLISH.say,
            signers=sections.SIGNERS,
            blanks=sections.BLANKS,
        )
    )
