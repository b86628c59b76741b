"""An audit report as one self-contained page, whose first screen a data-protection officer can read.

Everything shown is derived from the report; text that came with the report is escaped. The page holds no script and no
address: the switch between the two axes is a pair of radio buttons.
"""

from __future__ import annotations

from html import escape

from embhub.audits import roc_figure, version1
from embhub.audits.attack_figures import AttackResult, Rate
from embhub.audits.explanation import TITLES, describe_attempt, explain, plural
from embhub.audits.report import AuditReport


def render(report: AuditReport, *, title: str = "", contradictions: tuple[str, ...] = ()) -> str:
    """The page (HTML 5). `title` names the embedding; `contradictions` are what `recompute` found, shown on top."""
    deciding = report.deciding_result
    means, means_not, advice = map(escape, explain(report))
    heading = escape(title or f"Embedding {report.artifact.sha256[:12]}")
    warning = "".join(f"<li>{escape(line)}</li>" for line in contradictions)
    old = f"{version1.WARNING}. {version1.ADVICE}." if report.is_version1 else ""
    sections = [
        f'<p class="kicker">Membership-inference audit, {report.suite} suite</p><h1>{heading}</h1>',
        f'<div class="warning"><b>This report contradicts itself.</b><ul>{warning}</ul></div>' if warning else "",
        f'<div class="warning"><b>{escape(old)}</b></div>' if old else "",
        f'<div class="verdict {report.verdict}"><strong>{TITLES[report.verdict]}</strong>'
        f"<p>{escape(report.statement)}</p></div>",
        '<div class="pair">',
        f"<div><h2>What this means</h2><p>{means}</p></div><div><h2>What it does not mean</h2><p>{means_not}</p></div>",
        f"</div><p><b>What to do.</b> {advice} The controller decides, not this tool.</p>",
        '<div class="pair">',
        f"<div><h2>The question, in numbers</h2>{_describe_counts(report)}{_describe_auc(report, deciding)}"
        f"{_describe_power(report)}</div>",
        f"<div><h2>The attacks, as curves</h2>{_draw_curves(report)}</div></div>",
        f"<h2>Every attack</h2>{tabulate(report)}",
        f"<h2>How it was done</h2>{_describe_design(report)}",
    ]
    return _PAGE.replace("@title@", heading).replace("@style@", _STYLE).replace("@body@", "\n".join(sections))


def _describe_counts(report: AuditReport) -> str:
    def count(side: str, units: int, images: int | None) -> str:
        shown = f" ({images} images)" if images is not None and report.unit == "patient" else ""
        return f"<b>{units}</b> {plural(report.unit)} {side}{shown}"

    inside = count("inside the training set", report.members.units, report.members.images)
    outside = count("kept outside", report.nonmembers.units, report.nonmembers.images)
    return f"<p>{inside}, {outside}.</p>"


def _describe_auc(report: AuditReport, result: AttackResult) -> str:
    low, high = result.auc_interval
    colour, unit = roc_figure.DECIDING_COLOUR, report.unit
    chosen = "fixed beforehand" if result.name == report.headline else "which decided the verdict"
    right, least, most = (f"{share * 100:.0f}" for share in (result.auc, low, high))
    bar = (
        '<svg viewBox="0 0 320 34" role="img" class="bar" font-size="10" fill="#555"><title>95 % interval</title>'
        '<path d="M10 14h300" stroke="#ccc"/><path d="M160 6v16" stroke="#666" stroke-dasharray="2 2"/>'
        f'<path d="M{10 + 300 * low:.1f} 14H{10 + 300 * high:.1f}" stroke="{colour}" stroke-width="5"/>'
        f'<circle cx="{10 + 300 * result.auc:.1f}" cy="14" r="5" fill="{colour}"/>'
        '<text x="10" y="32">always wrong</text><text x="160" y="32" text-anchor="middle">guessing</text>'
        '<text x="310" y="32" text-anchor="end">always right</text></svg>'
    )
    return (
        f"<p>Shown one {unit} of each kind, the attack <b>{escape(result.name)}</b>, {chosen}, picks the "
        f"right one <b>{right}</b> times in a hundred (95 % interval {least} to {most}). Guessing picks it 50 "
        f"times.</p>{bar}"
        f"{_describe_test(report)}"
    )


def _describe_test(report: AuditReport) -> str:
    """The p-value of the attack that decided beside the one that is a detection, and how often the rule errs."""
    deciding = report.deciding
    if deciding.p_value is None or deciding.limit is None:
        return ""
    return (
        f"<p>An order this good or better comes by chance with p = <b>{deciding.p_value:.2g}</b>; "
        f"{deciding.limit:.2g} or less is a detection. With all attacks together at most "
        f"{deciding.false_alarms:.0%} of "
        "audits of a file that leaks nothing detect a leak.</p>"
    )


def _describe_power(report: AuditReport) -> str:
    if report.suite == "mechanism":
        shown = max((result.coins.lower_bound for result in report.attacks if result.coins), default=0.0)
        return f"<p>Guesses of fair coins refute every &epsilon; below <b>{shown:.2f}</b> with 95 % confidence.</p>"
    bounds = report.design.bounds
    return (
        f"<p>With so many {plural(report.unit)} the attack fixed beforehand sees, four times in five, a leak of AUC "
        f"<b>{report.power.smallest_auc:.2f}</b>; less may pass unseen.</p>"
        "<p>&ldquo;No leak detected&rdquo; would need every attack's 95 % upper limits below an AUC of "
        f"{bounds.auc:.2f} and below finding {bounds.tpr:.0%} of the members at 1 % false alarms. Both bounds "
        "were fixed beforehand.</p>"
    )


def _draw_curves(report: AuditReport) -> str:
    return (
        '<div class="curves">'
        '<input type="radio" name="axis" id="linear" checked><label for="linear">linear axis</label>'
        '<input type="radio" name="axis" id="log"><label for="log">logarithmic axis</label>'
        f"<div>{roc_figure.draw(report.attacks, report.deciding.attack)}</div>"
        f"<div>{roc_figure.draw(report.attacks, report.deciding.attack, log=True)}</div></div>"
    )


def tabulate(report: AuditReport) -> str:
    """Every attack with its figures and intervals, as a table."""
    rows = "".join(
        f"<tr{' class=deciding' if result.name == report.deciding.attack else ''}><th>{escape(result.name)}"
        f"{_mark(report, result)}<small>{escape(result.paper)}</small></th>"
        f"<td>{result.auc:.3f}<small>{_range(result.auc_interval)}</small></td>"
        f"<td class=range>{result.p_value:.2g}</td>{''.join(_rate_cell(rate) for rate in result.tpr_at_fpr)}"
        f"<td>{_limits(result)}</td></tr>"
        for result in report.attacks
    )
    rates = "".join(f"<th>found at {rate.fpr * 100:g} % false alarms</th>" for rate in report.attacks[0].tpr_at_fpr)
    return (
        "<div class=scroll><table><thead><tr><th>attack</th><th>AUC</th><th>p</th>"
        f"{rates}<th>upper limits, 95 %: AUC; found at 1 %</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _mark(report: AuditReport, result: AttackResult) -> str:
    marks = []
    if result.name == report.deciding.attack:
        marks.append("decided the verdict")
    if result.name == report.headline:
        marks.append("fixed beforehand")
    return f" ({', '.join(marks)})" if marks else ""


def _limits(result: AttackResult) -> str:
    tpr = result.upper_limits.tpr
    return f"{result.upper_limits.auc:.3f}; {'not known' if tpr is None else f'{tpr:.1%}'}"


def _rate_cell(rate: Rate) -> str:
    if rate.tpr is None or rate.interval is None:
        return f"<td class=none>not shown<small>{escape(rate.reason or '')}</small></td>"
    return f"<td>{rate.tpr:.1%}<small>{_range(rate.interval)}</small></td>"


def _range(interval: tuple[float, float]) -> str:
    return f"<span class=range>{interval[0]:.3f}&ndash;{interval[1]:.3f}</span>"


def _describe_design(report: AuditReport) -> str:
    design = report.design
    subject = {
        "algorithm": f"{design.target_shadows} embeddings trained by the same recipe were attacked, with "
        f"{design.reference_shadows} more as reference: the headline speaks of the training recipe, the other attacks "
        "of this very file.",
        "embedding": "This very file was attacked.",
        "mechanism": "The privatising code was tried, with the parameters of this file's claim.",
    }[design.subject]
    rows = {
        "Embedding (SHA-256)": f"<code>{report.artifact.sha256}</code>",
        "Base model (fingerprint)": f"<code>{report.base.digest or 'not known'}</code>",
        "What was attacked": subject,
        "Draws an image": f"{design.draws}; {escape(design.timesteps)}",
        "Which audit": escape(describe_attempt(report)),
        "Members and others": escape(design.split),
        "Intervals": "95 %. AUC: Newcombe's method 5. Shares found: Clopper-Pearson at thresholds that bracket the "
        f"false-alarm rate. Both count {plural(report.unit)}, however many scores each has",
        "Sealed for an auditor on site": f"<code>{report.commitment or 'no'}</code>",
        "Made by": f"{report.tool.name} {escape(report.tool.version)}, {report.schema_}",
    }
    body = "".join(f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in rows.items())
    return (
        f"<table class=facts>{body}</table><p class=small>The report holds the order in which members and others "
        "came, and no score, seed, image, path or identity. Anybody can compute these figures from it again. An order "
        "can be invented: unless an independent auditor's key signed it, the report is consistent, not confirmed.</p>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Audit: @title@</title><style>@style@</style></head><body><main>
@body@
</main></body></html>
"""

_STYLE = """
*{box-sizing:border-box}body{margin:0;background:#fff;color:#222;font:15px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1.2rem 3rem}
h1{margin:0 0 .8rem;font-size:1.5rem;overflow-wrap:anywhere}
h2{font-size:1rem;margin:1.2rem 0 .3rem}p{margin:.3rem 0 .7rem}.kicker,.small,small{color:#666;font-size:.82rem}
small{display:block;font-weight:400}.verdict{border-left:.5rem solid;padding:.7rem 1rem;border-radius:.3rem}
.verdict strong{font-size:1.35rem}.verdict p{margin:.2rem 0 0}
.leak-detected{border-color:#b3203a;background:#fbeef0}.no-leak-detected{border-color:#2a5d9f;background:#eef3fa}
.insufficient-evidence{border-color:#b07a10;background:#fdf6e6}
.warning{border:2px solid #b3203a;padding:.5rem 1rem;margin:0 0 1rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:0 2.2rem}
.bar{width:100%;max-width:24rem}
.curves input{margin:0 .3rem 0 0}.curves label{margin-right:1rem;font-size:.85rem}.roc{width:100%;max-width:26rem}
#linear:checked~div:last-of-type,#log:checked~div:first-of-type{display:none}
.keys{list-style:none;padding:0;margin:.2rem 0;font-size:.85rem;display:flex;flex-wrap:wrap;gap:.1rem 1rem}
.keys svg{width:1.1rem;height:.25rem;margin-right:.4rem;vertical-align:middle}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem .35rem 0;border-bottom:1px solid #e4e4e4}
thead th{font-weight:600;font-size:.8rem}tbody th{font-weight:600;max-width:16rem}.deciding th{color:#b3203a}
.deciding small{color:#666}.none{color:#666}.facts th{width:13rem;font-weight:400;color:#555}
.range{white-space:nowrap}code{font-size:.8rem;overflow-wrap:anywhere}
@media print{main{max-width:none;padding:0}.curves input,.curves label{display:none}.verdict{print-color-adjust:exact}
h2,table,.verdict,.pair>div{break-inside:avoid}}
"""
