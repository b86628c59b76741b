"""`index.html` of an evaluation: one self-contained page that prints well, with no script and no address."""

from __future__ import annotations

from typing import NamedTuple

from embhub.cards.evaluation import HELPED, NOTHING, Arm, Classifier, Difference, EvaluationReport, Group
from embhub.diffusion.evaluation import curve
from embhub.pages import rendering

SIGNIFICANT = 0.05
_HOPELESS = 0.5  # an AUC moves from chance to perfect
SCALE = (
    "For comparison: on 200 test images, a true gain of +0.016 has a 95 % confidence interval of about [-0.025, +0.057]"
    " if the scores of the two classifiers correlate at 0.8. A comparison of that size cannot distinguish it from zero."
)
_TITLES = {"helped": ("They helped", "good-news"), "did harm": ("They did harm", "bad-news")}
_REGIMES: dict[str, str] = {
    "mixed": "mixed: real and generated images in every batch",
    "pretrained": "pretrained: half of the steps on generated images, then half on real ones at a third of the rate",
    "filtered": "filtered: generated images that a classifier trained on the real ones takes for their label",
}
_OF_TRAINING = {
    True: "learned from patients among the real training images",
    False: "learned from patients other than those of the real training images",
    None: "not known here whether learned from patients of the real training images",
}
_OF_TEST = {
    True: "and from test patients",
    False: "from no test patient",
    None: "not known here whether from test patients",
}


class Fact(NamedTuple):
    """A line of the table of methods."""

    name: str
    text: str


class EvaluationPage(NamedTuple):
    """What the template shows beside the report itself."""

    report: EvaluationReport
    title: str
    tone: str
    words: str
    remarks: list[str]
    chart: str
    facts: list[Fact]
    outcomes: list[str]


def render(report: EvaluationReport) -> str:
    """The page of an evaluation.

    Args:
        report: what was measured.

    Returns:
        HTML 5; text that people wrote is escaped.
    """
    title, tone = _judge(report)
    page = EvaluationPage(
        report=report, title=title, tone=tone, words=report.words(), remarks=remarks(report),
        chart=curve.to_svg(report), facts=_describe_method(report),
        outcomes=[outcome(row, report.tested) for row in report.differences],
    )  # fmt: skip
    return str(rendering.render(__package__, "evaluation.html.j2", page=page))


def remarks(report: EvaluationReport) -> list[str]:
    """What the figures cannot show, for the page and for the command line."""
    said = list(report.remarks)
    smallest = report.smallest()
    if smallest is not None:
        said.insert(
            0,
            "This comparison is too small to show any difference. It needs more seeds or more test images."
            if smallest >= _HOPELESS
            else f"This comparison has 80 % power to detect a true difference of {smallest:.3f}. It is not reliable for"
            " anything smaller.",
        )
    if report.test.images <= 1000:
        said.insert(1, SCALE)
    return said


def _judge(report: EvaluationReport) -> tuple[str, str]:
    """The heading of the verdict, and its tone: no control is left out."""
    found = report.headline
    if found is None or report.verdict is None:
        return "Not compared", "open"
    if found.outcome == HELPED and report.verdict != HELPED:
        return "No more than a control", "open"
    if report.verdict not in _TITLES and found.undecided:
        return f"Cannot be decided with {report.tested}", "open"
    return _TITLES.get(report.verdict, ("No difference shown", "open"))


def outcome(row: Difference, tested: str) -> str:
    """The word for a row, with what Holm's adjustment leaves of it; `tested` says how many were tested."""
    if row.undecided:
        return f"cannot be decided with {tested}"
    if row.p_holm is None or row.outcome == NOTHING or row.p_holm < SIGNIFICANT:
        return row.outcome
    return f"{row.outcome}, not after adjustment"


def _describe_method(report: EvaluationReport) -> list[Fact]:
    taught = report.classifier
    return [
        Fact("classifier", f"{taught.name}, {_describe_training(taught)}"),
        Fact("regimes", "; ".join(_REGIMES.get(regime, regime) for regime in report.regimes)),
        Fact("share of real images", "as among all images" if taught.real_share is None else f"{taught.real_share:g}"),
        Fact("features of realism", report.features),
        Fact("ceiling", _describe_ceiling(report)),
        *([Fact(f"{report.worth.drawn} generated images alone", _describe_worth(report))] if report.worth else []),
        Fact("positive class", report.positive),
        Fact("negative class", ", ".join(report.negative)),
        Fact("real training images", _count(report.real)),
        Fact("test images", f"{_count(report.test)}; no classifier was trained on them"),
        Fact("seeds", f"{report.seeds}: each selects real and generated images and initialises the network"),
        Fact("embhub", report.embhub),
        *(Fact(f"arm {arm.name}", _describe_arm(arm)) for arm in report.arms),
    ]


def _describe_training(taught: Classifier) -> str:
    size = f"{taught.resolution} x {taught.resolution} pixels"
    if not taught.steps:
        return f"a published network that stays as it is, with a ridge regression on its features; {size}"
    return (
        f"{taught.steps:,} steps in every arm, batch size {taught.batch}, learning rate {taught.rate:g}, {size},"
        f" {'with' if taught.mirrored else 'without'} mirroring"
    )


def _describe_ceiling(report: EvaluationReport) -> str:
    best = report.ceiling
    if best is None:
        return "not known: the real images behind the embedding were not given (--ceiling)"
    low, high = best.interval
    return f"{best.drawn // 2} real images of the finding: {best.gain:+.3f} [{low:+.3f}, {high:+.3f}]"


def _describe_worth(report: EvaluationReport) -> str:
    return f"worth {report.worth.words} real {report.real_unit}s a class" if report.worth else ""


def _describe_arm(arm: Arm) -> str:
    origin = f"{_OF_TRAINING[arm.learned_from_real]}, {_OF_TEST[arm.learned_from_test]}"
    embeddings = " ".join(digest[:12] for digest in arm.embeddings) or "not named"
    sets = "" if arm.sets == 1 else f" in {arm.sets} sets, of which each seed takes one"
    return f"{arm.images} images{sets}, {arm.positives} positive; embeddings: {embeddings}; {origin}"


def _count(group: Group) -> str:
    people = "" if group.patients is None else f" of {group.patients} patients"
    return f"{group.images} images{people}, {group.positives} positive"
