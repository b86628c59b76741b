"""The copy check as one self-contained page for the site: no script, no address, and no image unless asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from embhub.copies.planted import FEWEST_CAUGHT, PLANTED
from embhub.copies.report import MEASURES, Report, Sample, Verdict
from embhub.pages import rendering

TITLES: Mapping[Verdict, str] = {
    "copies-suspected": "Copies suspected",
    "no-copies-found": "No copies found",
    "insufficient-evidence": "Inconclusive",
}
TONES: Mapping[Verdict, str] = {
    "copies-suspected": "bad-news",
    "no-copies-found": "no-finding",
    "insufficient-evidence": "open",
}
STAYS = "This page stays at the site: its distances were measured on patients' images."
SHOWS_PATIENTS = "This page shows images of patients. It must not leave the site."
_WIDTH = 640


class Dot(NamedTuple):
    """A generated image on a strip."""

    place: float
    suspected: bool


class Strip(NamedTuple):
    """Scores on one measure, in units of the drawing; near is left."""

    name: str
    meaning: str
    width: int
    controls: list[float]
    dots: list[Dot]


class Row(NamedTuple):
    """A generated image; `pair` are data addresses of it and of the nearest training image, if they may be shown."""

    sample: Sample
    pair: tuple[str, str] | None


class CopyPage(NamedTuple):
    """What the template shows beside the report itself."""

    report: Report
    title: str
    warning: str
    shows_patients: bool
    verdict: str
    tone: str
    strips: list[Strip]
    rows: list[Row]
    required: float
    fewest: int
    planted: int


def render(report: Report, *, title: str, pairs: Sequence[tuple[str, str]] = ()) -> str:
    """The page of a copy check.

    Args:
        report: the check.
        title: the name of the embedding.
        pairs: each sample and its nearest training image, as data addresses, in the order of the samples; empty where
            no image is to be shown.

    Returns:
        HTML 5.
    """
    page = CopyPage(
        report=report,
        title=title,
        warning=SHOWS_PATIENTS if pairs else STAYS,
        shows_patients=bool(pairs),
        verdict=TITLES[report.verdict],
        tone=TONES[report.verdict],
        strips=[_lay_out(report, name) for name in report.scores],
        rows=[Row(sample, pairs[number] if pairs else None) for number, sample in enumerate(report.samples)],
        required=FEWEST_CAUGHT / PLANTED,
        fewest=FEWEST_CAUGHT,
        planted=PLANTED,
    )
    return str(rendering.render(__package__, "copies.html.j2", page=page))


def _lay_out(report: Report, name: str) -> Strip:
    controls = report.scores[name]
    drawn = [(_log(sample.measures[name].ratio), sample.measures[name].p) for sample in report.samples]
    low = max(min(*controls, *(value for value, _ in drawn)), min(controls) - 3.0)
    high = max(*controls, *(value for value, _ in drawn))
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return 8 + (_WIDTH - 16) * min(max((value - low) / span, 0), 1)

    dots = [Dot(place(value), p <= report.threshold) for value, p in drawn]
    return Strip(name, MEASURES[name], _WIDTH, [place(value) for value in controls], dots)


def _log(ratio: float) -> float:
    return math.log(max(ratio, 1e-9))
