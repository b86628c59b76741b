"""`index.html` of the pack: one self-contained page that prints well. No script, no address, nothing from outside."""

from __future__ import annotations

from html import escape

from embhub.audits.report import AuditReport
from embhub.evidence import cover, sections
from embhub.evidence.document import Evidence


def render(evidence: Evidence, report: AuditReport) -> str:
    """The page (HTML 5); text that people wrote is escaped. `report` gives the scores for the drawings."""
    body = [
        cover.render(evidence),
        sections.shipment(evidence),
        sections.privacy(evidence),
        sections.figures(report),
        sections.coverage(evidence),
        sections.afterwards(evidence),
        sections.rules(evidence),
        sections.sign_off(evidence),
    ]
    heading = escape(cover.title(evidence))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Evidence: {heading}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


_STYLE = """
*{box-sizing:border-box}body{margin:0;background:#fff;color:#222;font:15px/1.45 system-ui,sans-serif}
main{max-width:58rem;margin:0 auto;padding:1.5rem 1.2rem 3rem}section{margin-bottom:2.2rem}
h1{margin:0 0 .5rem;font-size:1.6rem;line-height:1.2;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:1.1rem 0 .3rem}h2.part{font-size:1.25rem;border-bottom:2px solid #222;padding-bottom:.2rem}
h3{font-size:.95rem;margin:.9rem 0 .2rem}p{margin:.3rem 0 .6rem}ul{margin:.2rem 0 .6rem;padding-left:1.1rem}
li{margin:.15rem 0}.kicker,.small,small{color:#555;font-size:.82rem}small{display:block;font-weight:400}
.verdict{border-left:.5rem solid;padding:.6rem 1rem;border-radius:.3rem;margin:.6rem 0}
.verdict strong{font-size:1.25rem}.verdict p{margin:.2rem 0 0}
.leak-detected{border-color:#b3203a;background:#fbeef0}.no-leak-detected{border-color:#2a5d9f;background:#eef3fa}
.insufficient-evidence{border-color:#b07a10;background:#fdf6e6}
.warning{border:2px solid #b3203a;padding:.4rem 1rem;margin:.6rem 0;border-radius:.3rem}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.32rem .7rem .32rem 0;border-bottom:1px solid #ddd}
thead th{font-size:.8rem}.answers th{width:11.5rem}.answers small{color:#b07a10}
.facts th{width:12rem;font-weight:400;color:#555}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:0 2rem}.roc{width:100%;max-width:25rem}
.keys{list-style:none;padding:0;margin:.2rem 0;font-size:.85rem;display:flex;flex-wrap:wrap;gap:.1rem 1rem}
.keys svg{width:1.1rem;height:.25rem;margin-right:.4rem;vertical-align:middle}
div.scores{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.6rem 1.4rem}
figure{margin:0}figcaption{font-size:.82rem;color:#444}.scroll{overflow-x:auto}.range{white-space:nowrap}
.not-tried{color:#b3203a;font-weight:600}.partly{color:#8a5c00;font-weight:600}.tried{font-weight:600}
.scroll thead th:first-child{width:27%}
.headline th{color:#b3203a}.headline small,.none{color:#666}code{font-size:.8rem;overflow-wrap:anywhere}
.choice{font-size:1rem;margin:1rem 0}.line{border-bottom:1px solid #444;min-height:2.3rem;margin:0;padding-top:1.1rem;
font-size:.82rem;color:#555}
@page{size:A4;margin:15mm 16mm 16mm;
@bottom-right{content:counter(page) " / " counter(pages);font:9px system-ui,sans-serif}}
@media print{body{font-size:9.6pt;line-height:1.36}main{max-width:none;padding:0}section{margin-bottom:1.2rem}
.cover{break-after:page}.form{break-before:page}.scroll{overflow:visible}
.verdict,.warning{-webkit-print-color-adjust:exact;print-color-adjust:exact}
small,.kicker,.small,figcaption{font-size:7.8pt}.keep{break-inside:avoid}
tr,figure,.verdict,.sign,.pair>div,h2+p{break-inside:avoid}h2,h3{break-after:avoid}
div.scores{grid-template-columns:1fr 1fr 1fr}.pair{grid-template-columns:1fr 1fr}
table{font-size:8.6pt}code{font-size:7.6pt}}
"""
