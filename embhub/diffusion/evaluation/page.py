"""`index.html` of an evaluation: one self-contained page that prints well, with no script and no address."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from embhub.cards.evaluation import Difference, EvaluationReport, Figure, Group
from embhub.diffusion.evaluation import curve

_CLASS = {"helped": "helped", "did harm": "harm"}
_HOPELESS = 0.5  # an AUC moves from chance to perfect
SCALE = (
    "For scale: on 200 test images a true gain of +0.016 has a 95 % interval of about [-0.025, +0.057], where the "
    "scores of the two classifiers correlate at 0.8: a comparison of that size cannot tell it from none."
)


_OF_TRAINING = {
    True: "learned from patients among the real training images",
    False: "learned from others than the real training images' patients",
    None: "not known here whether learned from the real training images' patients",
}
_OF_TEST = {
    True: "and from test patients",
    False: "from no test patient",
    None: "not known here whether from test patients",
}


def render(report: EvaluationReport) -> str:
    """The page (HTML 5); text that people wrote is escaped."""
    found = report.headline
    kind = _CLASS.get(found.outcome, "open") if found else "open"
    sections = [
        '<p class="kicker">embhub evaluate: does it help?</p>'
        f"<h1>{escape(report.positive)} in {escape(report.dataset)}</h1>",
        f'<div class="verdict {kind}"><strong>{_title(found)}</strong><p>{escape(report.words())}</p></div>',
        _limits(report),
        f"<figure>{curve.to_svg(curve.shapes(report))}<figcaption>Bars are 95 % intervals for the choice of test "
        f"{report.unit}s and of the seeds together. Every classifier took {report.classifier.steps:,} steps."
        "</figcaption></figure>",
        "<h2>What drawn images add to real ones</h2>" + _PAIRED + _differences(report.differences),
        "<h2>Every arm</h2>" + _aucs(report.aucs),
        "<h2>How real the drawn images look</h2>" + _fidelity(report),
        "<h2>How it was done</h2>" + _design(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Evaluation: {escape(report.positive)}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def remarks(report: EvaluationReport) -> list[str]:
    """What the figures cannot show, for the page and for the command line."""
    said = list(report.remarks)
    smallest = report.smallest()
    if smallest is not None:
        said.insert(
            0,
            "This comparison is too small to show any difference: it needs more seeds or more test images."
            if smallest >= _HOPELESS
            else f"A comparison of this size would call a true difference of {smallest:.3f} one four times in five; it "
            "cannot be relied on for anything smaller.",
        )
    if report.test.images <= 1000:
        said.insert(1, SCALE)
    return said


def _title(found: Difference | None) -> str:
    if found is None:
        return "Not compared"
    return {"helped": "They helped", "did harm": "They did harm"}.get(found.outcome, "Not shown to help")


def _limits(report: EvaluationReport) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in remarks(report)) + "</ul>"


def _differences(rows: Sequence[Difference]) -> str:
    cells = [
        (
            f"{row.real}", f"{row.drawn}, {escape(row.arm)}", f"<b>{row.gain:+.3f}</b>", _range(row.interval, "+.3f"),
            _range(row.patients, "+.3f"), _range(row.seeds, "+.3f"),
            f"{_range(row.delong, '+.3f')}<small>{_probability(row.delong_p)}</small>", escape(row.outcome),
        )
        for row in rows
    ]  # fmt: skip
    heads = (
        "real", "drawn", "gain of AUC", "95 %, both", "of these: test patients", "of these: seeds", "DeLong, paired",
        "the drawn images",
    )  # fmt: skip
    return _table(heads, cells)


def _aucs(rows: Sequence[Figure]) -> str:
    cells = [
        (
            f"{row.real or 'none'}", f"{row.drawn}, {escape(row.arm)}" if row.drawn else "none",
            f"<b>{row.auc:.3f}</b>", _range(row.interval, ".3f"), _range(row.delong, ".3f"),
            " ".join(f"{value:.3f}" for value in row.each_seed),
        )
        for row in rows
    ]  # fmt: skip
    return _table(("real", "drawn", "AUC", "95 %, both", "DeLong", "each seed"), cells)


def _fidelity(report: EvaluationReport) -> str:
    if not report.fidelity:
        return "<p>Too few images of a class to say.</p>"
    cells = [
        (
            escape(row.arm) or "<i>real training images</i>", escape(row.label), f"{row.images}",
            "" if row.kid is None else f"{row.kid:.3f} ± {row.kid_sd or 0:.3f} ({row.subset})", f"{row.precision:.2f}",
            f"{row.recall:.2f}", f"{row.diversity:.2f}",
        )
        for row in report.fidelity
    ]  # fmt: skip
    heads = ("images", "label", "number", "kernel distance", "precision", "recall", "diversity")
    return (
        "<p>Each set against the real test images of its label, in the features of the classifier taught with the real "
        "training images. <b>This is not Inception's KID or FID</b>: compare rows of this page with each other, and "
        "with the row of real training images, and nothing else. Precision: share of images that lie where real ones "
        "do. Recall: share of real ones that lie where these do. Diversity: mean distance of two images, real ones "
        "being 1. Kernel distance: mean and spread over 100 subsets, of as many images as stand in brackets.</p>"
        + _table(heads, cells)
    )


def _design(report: EvaluationReport) -> str:
    taught = report.classifier
    facts = {
        "classifier": f"{taught.name}, {taught.steps:,} steps of {taught.batch} images at a rate of {taught.rate:g} in "
        f"every arm, {taught.resolution} x {taught.resolution} pixels, {'' if taught.mirrored else 'not '}mirrored",
        "positive": report.positive,
        "negative": ", ".join(report.negative),
        "real training images": _group(report.real),
        "test images": f"{_group(report.test)}; no classifier was taught with them",
        "seeds": f"{report.seeds}: each draws which real and drawn images are used, and starts the network anew",
        "embhub": report.embhub,
    }
    for arm in report.arms:
        origin = f"{_OF_TRAINING[arm.learned_from_real]}, {_OF_TEST[arm.learned_from_test]}"
        drew = " ".join(digest[:12] for digest in arm.embeddings) or "not named"
        facts[f"arm {arm.name}"] = f"{arm.images} images, {arm.positives} positive; embeddings: {drew}; {origin}"
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts.items())
    return f'<table class="facts">{rows}</table>'


def _group(group: Group) -> str:
    people = "" if group.patients is None else f" of {group.patients} patients"
    return f"{group.images} images{people}, {group.positives} positive"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _probability(value: float) -> str:
    return f"p = {value:.3g}" if value >= 1e-6 else "p &lt; 0.000001"


def _range(pair: tuple[float, float], form: str) -> str:
    return f'<span class="range">[{pair[0]:{form}}, {pair[1]:{form}}]</span>'


_PAIRED = (
    "<p>Each row is paired: the same real images, seeds and test images, with the drawn ones and without. The "
    "interval that counts is the one for both, the choice of test patients and that of the seeds; DeLong's and "
    "the patients' are of the very networks that were taught, and hold for no others.</p>"
)
_STYLE = """
*{box-sizing:border-box}body{margin:0;background:#fff;color:#222;font:15px/1.45 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto;padding:1.5rem 1.2rem 3rem}
h1{margin:0 0 .5rem;font-size:1.6rem;line-height:1.2;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:1.6rem 0 .3rem;border-bottom:2px solid #222;padding-bottom:.2rem}
p{margin:.3rem 0 .6rem}ul{margin:.5rem 0 .8rem;padding-left:1.1rem}li{margin:.15rem 0}
.kicker,small,figcaption{color:#555;font-size:.82rem}small{display:block}
.verdict{border-left:.5rem solid;padding:.6rem 1rem;border-radius:.3rem;margin:.6rem 0}
.verdict strong{font-size:1.25rem}.verdict p{margin:.2rem 0 0}
.helped{border-color:#2f7a4d;background:#eef7f1}.harm{border-color:#b3203a;background:#fbeef0}
.open{border-color:#b07a10;background:#fdf6e6}
figure{margin:1rem 0}.curve{width:100%}.scroll{overflow-x:auto}.range{white-space:nowrap}
table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.32rem .7rem .32rem 0;border-bottom:1px solid #ddd}
thead th{font-size:.8rem}.facts th{width:12rem;font-weight:400;color:#555}
@page{size:A4;margin:15mm 14mm}
@media print{body{font-size:9.6pt}main{max-width:none;padding:0}table{font-size:8pt}.scroll{overflow:visible}
.verdict{-webkit-print-color-adjust:exact;print-color-adjust:exact}tr,figure,.verdict{break-inside:avoid}
h2{break-after:avoid}}
"""
