"""The pages after the first: what leaves, the guarantee, the figures, what was not tried, again when, the rules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from embhub.audits import audit_page, roc_figure
from embhub.audits.explanation import plural
from embhub.audits.report import AuditReport
from embhub.evidence import histogram
from embhub.evidence.cover import per_hundred
from embhub.evidence.document import Evidence, Limit, Privacy, ShippedFile
from embhub.privacy.second_opinion import MEANING, SecondOpinion

_STATUS = {"tried": "tried", "partly": "tried in part", "not tried": "not tried"}


def shipment(evidence: Evidence) -> str:
    """Every byte that leaves, and what does not."""
    rows = "".join(_file(row) for row in evidence.shipment.files)
    return (
        "<section><h2 class=part>1 &nbsp;What leaves the hospital, byte by byte</h2>"
        "<p><code>embhub push</code> sends these files and nothing else. To see them before:"
        " <code>embhub push FILE --dry-run --out DIR</code>, then compare the digests.</p>"
        "<table><thead><tr><th>file</th><th>bytes</th><th>holds</th><th>tells of patients</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        f"<div class=pair><div><h3>Sent besides</h3>{_list(evidence.shipment.also_sent)}</div>"
        f"<div><h3>Stays in the hospital</h3>{_list(evidence.shipment.stays)}</div></div>"
        f"{_card(evidence)}</section>"
    )


def privacy(evidence: Evidence) -> str:
    """Epsilon in words and for one person, and what can be rebuilt; or that there is no guarantee."""
    told = evidence.privacy
    parts = ["<section><h2 class=part>2 &nbsp;Is there a guarantee?</h2>"]
    if told.refuted:
        parts.append(f"<div class=warning><b>This audit contradicts the claim:</b> {escape(told.refuted)}.</div>")
    parts.append(_list(told.words))
    if told.limits:
        unit = evidence.privacy.claim["unit"] if isinstance(evidence.privacy.claim, dict) else "patient"
        heads = [f"this training (&epsilon; {told.epsilon:g})"]
        columns = [told.limits]
        if told.together:
            heads.append(f"with this site's other trainings (&epsilon; {told.together_epsilon:g})")
            columns.append(told.together)
        parts.append(
            f"<h3>The same, for one {unit}</h3><p>How likely any attack names a given {unit}, who was in the training"
            f" or was not, on average over the chance in training. Both columns are about the same {unit}: how many"
            f" of a group are named, finding, hospital and years may decide, and that is not bounded.</p>"
            f"{_limits(columns, heads)}{_reconstruction(told, unit)}{_second_opinion(told.second_opinion)}"
        )
    else:
        parts.append(
            "<p>With a guarantee (<code>embhub train --epsilon</code>) this page would say how much likelier a patient"
            " is named at most for having taken part, and how likely at most images are rebuilt. It costs some"
            " quality, and needs patient ids.</p>"
        )
    return "".join([*parts, "</section>"])


def figures(report: AuditReport) -> str:
    """Curves, histograms and every figure with its interval."""
    baseline = any(result.kind == "baseline" for result in report.attacks)
    blind = (
        "<p class=small><b>blind</b> sees pixels alone, never the embedding: where it succeeds, the two sides differ by"
        " scanner, date or selection, and the attacks may show that instead of a leak.</p>"
        if baseline
        else ""
    )
    drawings = "".join(
        f"<figure>{histogram.draw(result)}<figcaption>{escape(result.name)}"
        f"{' (decided the verdict)' if result.name == report.deciding.attack else ''}</figcaption></figure>"
        for result in report.attacks
    )
    units = plural(report.unit)
    inside, outside = ("sent through", "left out") if report.unit == "canary" else ("trained on", "kept back")
    return (
        "<section><h2 class=part>3 &nbsp;The figures</h2>"
        f"<p>{escape(report.statement)}</p>"
        f"<p>A curve shows how many of those {inside} an attack finds (upwards) against how many others it wrongly"
        f" takes"
        f" for them (to the right). On the dotted line it guesses. The left end of the right-hand picture, where both"
        f" axes"
        f" are logarithmic, is where a few {units} would be betrayed for certain.</p>"
        f"<div class=pair><div>{roc_figure.draw(report.attacks, report.deciding.attack)}</div>"
        f"<div>{roc_figure.draw(report.attacks, report.deciding.attack, both=True)}</div></div>"
        f"<h3>Order</h3><p>Where an attack places the {units}, the most alike to those {inside} on the right: {inside}"
        f' <span style="color:{histogram.INSIDE}">&#9632;</span> filled, {outside}'
        f' <span style="color:{histogram.OUTSIDE}">&#9633;</span> as a line. Where the two lie on each other, it sees'
        f" nothing.</p><div class=scores>{drawings}</div>"
        f"<h3>Every attack, with 95 % intervals</h3>{audit_page.tabulate(report)}{blind}</section>"
    )


def coverage(evidence: Evidence) -> str:
    """What was tried and what was not."""
    rows = "".join(
        f"<tr><th>{escape(row.family)}<small>{escape(row.source)}</small></th><td>{escape(row.asks)}</td>"
        f'<td class="{row.status.replace(" ", "-")}">{_STATUS[row.status]}</td>'
        f"<td>{escape(', '.join(row.by))}<small>{escape(row.note)}</small></td></tr>"
        for row in evidence.coverage
    )
    return (
        "<section class=keep><h2 class=part>4 &nbsp;What was tried, and what was not</h2>"
        "<p>The kinds of attack that EDPB Opinion 28/2024 names, and some that it does not. What is not tried is not"
        " known."
        f" A published embedding is in the attacker's hands: no attack is ruled out for want of access.</p>"
        "<table><thead><tr><th>kind of attack</th><th>the question</th><th>this audit</th><th>by</th></tr></thead>"
        f"<tbody>{rows}</tbody></table><p class=small>{escape(evidence.regulation.not_advice)}</p></section>"
    )


def afterwards(evidence: Evidence) -> str:
    """When to audit again, and what can be done after release."""
    return (
        "<section class=keep><h2 class=part>5 &nbsp;Afterwards</h2><div class=pair><div><h3>Audit again when</h3>"
        f"{_list(evidence.triggers)}<p>At the latest by <b>{evidence.audit_again_by}</b>.</p></div>"
        f"<div><h3>If a person asks to be erased, or a leak is found</h3>{_list(evidence.after_release)}</div></div>"
        "</section>"
    )


def rules(evidence: Evidence) -> str:
    """Where the pack helps with which rule."""
    rows = "".join(
        f"<tr><th>{escape(rule.source)}</th><td>{escape(rule.asks)}</td><td>{escape(rule.here)}</td>"
        f"<td>{escape(rule.missing)}</td></tr>"
        for rule in evidence.regulation.rules
    )
    return (
        "<section class=keep><h2 class=part>6 &nbsp;Which rule this helps with</h2>"
        f"<p><b>{escape(evidence.regulation.not_advice)}</b></p>"
        "<table><thead><tr><th>rule</th><th>asks</th><th>found here</th><th>not found here</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></section>"
    )


def sign_off(evidence: Evidence) -> str:
    """The form, bound to digests."""
    bound = evidence.sign_off
    card = (
        f"<code>{bound.card_sha256}</code>"
        if bound.card_sha256
        else "<b>none: without a complete card this form must not be signed</b>"
    )
    digests = (
        f"<tr><th>Embedding</th><td><code>{bound.embedding_sha256}</code></td></tr>"
        f"<tr><th>Card (README.md)</th><td>{card}</td></tr>"
        f"<tr><th>Audit report</th><td><code>{bound.report_sha256}</code></td></tr>"
    )
    lines = "".join(
        f"<div class=sign><h3>{who}</h3>{''.join(f'<p class=line>{what}</p>' for what in _LINES)}</div>"
        for who in ("Controller", "Data-protection officer: advice")
    )
    return (
        "<section class=form><h2 class=part>7 &nbsp;Sign-off</h2>"
        "<p>This form is about these bytes (SHA-256) and no others. One byte changed in the card, and it holds no"
        " longer.</p>"
        f"<table class=facts>{digests}</table>"
        "<p>To compare: <code>embhub push FILE --dry-run --out DIR</code>, then"
        " <code>sha256sum DIR/README.md DIR/learned_embeds.safetensors DIR/audit.json</code>.</p>"
        "<p class=choice>&#9744; release &emsp; &#9744; release under the conditions below &emsp; &#9744; do not"
        " release</p>"
        f"<p class=line>Conditions, reasons</p><p class=line></p><p class=line></p>"
        f"<div class=pair>{lines}</div>"
        f"<p class=small>This sheet stays in the hospital; nothing of it is published."
        f" {escape(evidence.regulation.not_advice)}"
        "</p></section>"
    )


_LINES = ("Organisation", "Name and role", "Date", "Signature")


def _file(row: ShippedFile) -> str:
    size = f"{row.bytes:,}" if row.bytes is not None else "–"
    digest = f"<small><code>{row.sha256}</code></small>" if row.sha256 else ""
    return (
        f"<tr><th><code>{escape(row.name)}</code></th><td>{size}</td><td>{escape(row.holds)}{digest}</td>"
        f"<td>{escape(row.of_patients)}</td></tr>"
    )


def _card(evidence: Evidence) -> str:
    if not evidence.card.says:
        return f"<h3>What the card says</h3><p>Nothing yet: {escape(evidence.card.fault or '')}.</p>"
    rows = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in evidence.card.says.items())
    return (
        f"<h3>What the card says</h3><p>Answers of people at this site; no tool checked them.</p><table"
        f" class=facts>{rows}</table>"
    )


def _limits(columns: list[tuple[Limit, ...]], heads: list[str]) -> str:
    head = "".join(f"<th>named with at most, having taken part: {name}</th>" for name in heads)
    rows = "".join(
        f"<tr><th>{limits[0].named_without * 100:g} %</th>"
        + "".join(f"<td>{per_hundred(limit.named_with_at_most)} %</td>" for limit in limits)
        + "</tr>"
        for limits in zip(*columns, strict=True)
    )
    return f"<table><thead><tr><th>named without taking part</th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _second_opinion(told: SecondOpinion | None) -> str:
    """Both accountants' figures in one table, or why there is one alone."""
    heading = "<h3>A second accountant</h3>"
    if told is None:
        return f"{heading}<p>There is no second opinion, because this site has no record of one.</p>"
    cells = (
        ("epsilon of the claim, against the bounds of PRV", told.epsilon, told.prv_lower, told.prv_upper),
        ("epsilon by R&eacute;nyi differential privacy (RDP)", told.epsilon_rdp, told.rdp, told.rdp),
    )
    rows = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{_figure(value)}</td>' for value in values)}</tr>"
        for name, *values in cells
    )
    errors = (
        ""
        if told.eps_error is None
        else f" Errors allowed for: {told.eps_error:.2g} of epsilon, {told.delta_error:.2g} of delta."
    )
    return (
        f"{heading}<p>{escape(told.sentence)}. {MEANING}{errors}</p><table><thead><tr><th></th><th>embhub</th>"
        f"<th>opacus {escape(told.version)}, at least</th><th>at most</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _reconstruction(told: Privacy, unit: str) -> str:
    others = any(row.together_at_most is not None for row in told.reconstruction)
    head = "<th>with this site's other trainings, at most</th>" if others else ""
    rows = "".join(
        f"<tr><th>1 in {row.candidates:,}</th><td>{_odds_of(row.rebuilt_at_most)}</td>"
        + (f"<td>{_odds_of(row.together_at_most)}</td>" if row.together_at_most is not None else "")
        + "</tr>"
        for row in told.reconstruction
    )
    whose = f"one {unit}'s images" if unit == "patient" else "one image"
    return (
        f"<h3>Rebuilding {whose}</h3><p>Somebody knows everybody else's images, all settings and the file, and has a"
        f" list of candidates that are equally likely beforehand, one of them true. With the file the true one is"
        f" found with at most the chance below, whatever the attack (Hayes, Mahloujifar and Balle 2023, arXiv"
        f" 2302.07225). Without such a list the chance is smaller beforehand, and smaller with the file. The bound"
        f" follows from noise, sampling and steps, and holds if training ran as the publisher says.</p>"
        f"<table><thead><tr><th>chance without the file</th><th>with the file, at most</th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _odds_of(chance: float) -> str:
    """A bound in per cent with two digits, rounded up."""
    digits = max(1, 1 - math.floor(math.log10(chance * 100)))
    return f"{math.ceil(chance * 100 * 10**digits) / 10**digits:.{digits}f} %"


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
