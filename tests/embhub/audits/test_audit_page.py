"""The page of an audit: honest first screen, nothing from outside, nothing executed."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from embhub.audits import roc_figure
from embhub.audits.audit_page import Crumb, render
from embhub.audits.report import Attempt, AuditReport, Design, Group, build
from embhub.privacy.rdp import largest_tpr
from tests.support.made_up_scores import make_scores


def scores(shift: float, members: int, nonmembers: int) -> tuple[list[float], list[float]]:
    return list(np.linspace(-1, 1, members) + shift), list(np.linspace(-1.001, 1.001, nonmembers))


def quick(shift: float, **more: Any) -> AuditReport:
    pairs = {"loss-difference": scores(shift, 60, 110), "loss": scores(0, 60, 110)}
    return build(
        artifact_digest="ab" * 32,
        base_digest="cd" * 32,
        suite="quick",
        scores=pairs,
        members=Group(units=60, images=75),
        **more,
    )


def standard(shift: float) -> AuditReport:
    pairs, guesses = make_scores("standard", (60, 110), shift=shift)
    return build(
        artifact_digest="ab" * 32, base_digest=None, suite="standard", scores=pairs, guesses=guesses,
        members=Group(units=60), nonmembers=Group(units=110), design=Design(shadows=8, subject="algorithm"),
    )  # fmt: skip


class Outline(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(re.sub(r"<style>.*?</style>", "", page, flags=re.S))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_stands_alone() -> None:
    page = render(quick(0.8))
    outline = Outline(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(outline.tags)
    assert not [name for name, _ in outline.attributes if name in ("src", "href") or name.startswith("on")]
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "@import" not in page
    assert "url(" not in page


def test_first_screen_says_verdict_counts_and_power() -> None:
    report = quick(0.8)
    text = Outline(render(report)).text
    assert text.index("Leak detected") < text.index("What this means") < text.index("What it does not mean")
    assert (
        "at least 60 member patients (75 images), at least 110 non-member patients. Members were in the training set"
        in text
    )
    assert f"{report.deciding_result.auc * 100:.0f} times in a hundred" in text
    assert f"p-value: {report.deciding_result.shown_p_value}; 0.025 or less counts as a detection" in text
    assert f"a leak of AUC {report.power.smallest_auc:.2f}" in text
    assert "not published: they would reveal who was trained on" in text and "ROC curves" not in text
    assert "needs 1000 non-members" in Outline(render(standard(0))).text


def test_quick_without_a_finding_never_reads_as_safe() -> None:
    text = Outline(render(quick(0))).text
    assert "Insufficient evidence" in text
    assert "not evidence of safety" in text
    assert text.count("No leak detected") == 1
    assert "“No leak detected” requires that" in text
    assert not re.search(r"\banonymous\b(?! nor)", text)


def test_foreign_text_is_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    unchecked: dict[str, Any] = {"split": hostile, "timesteps": hostile}
    report = quick(0, design=Design.model_construct(**unchecked))
    page = render(report, title=hostile, contradictions=(hostile,))
    assert hostile not in page
    assert page.count("&lt;script&gt;") == 5
    assert "contradicts itself" in page


def test_the_way_back_is_a_registrys_alone() -> None:
    assert "<a " not in render(quick(0)) and "<nav" not in render(quick(0))
    crumbs = (Crumb("All embeddings", "/"), Crumb('x"><b>y', "/a/b?c&d"))
    page = render(quick(0), way_back=crumbs)
    assert '<a href="/">All embeddings</a> / <a href="/a/b?c&amp;d">x&#34;&gt;&lt;b&gt;y</a></nav>' in page


@pytest.mark.parametrize("log", [False, True])
def test_curves_are_well_formed_and_inside_the_frame(log: bool) -> None:
    report = standard(0.4)
    drawing = ElementTree.fromstring(roc_figure.draw(report.attacks, report.deciding.attack, log=log))
    lines = [line for line in drawing.iter() if line.tag.endswith("polyline")]
    assert len(lines) == 7  # guessing and six attacks on coins
    assert lines[-1].get("stroke") == roc_figure.DECIDING_COLOUR
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in (line.get("points") or "").split()]
        assert all(56 <= x <= 356 and 10 <= y <= 310 for x, y in points)
        assert points[-1] == (356, 10)
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))


def test_what_decided_is_shown_though_it_is_not_the_headline() -> None:
    """The verdict's own attack is gauged, drawn, marked in the table and named in the legend."""
    pairs, guesses = make_scores("standard", (60, 110))
    pairs["loss-shadows"] = scores(0.8, 680, 680)
    report = build(
        artifact_digest="ab" * 32, base_digest=None, suite="standard", scores=pairs, guesses=guesses,
        members=Group(units=60), nonmembers=Group(units=110), design=Design(shadows=8, subject="algorithm"),
    )  # fmt: skip
    assert (report.verdict, report.deciding.attack) == ("leak-detected", "loss-shadows")
    page = render(report)
    text = Outline(page).text
    result = report.attack("loss-shadows")
    assert f"the attack loss-shadows, which decided the verdict, picks the member {result.auc * 100:.0f} times" in text
    assert f"p-value: {result.p_value:.2g}; {report.deciding.limit:.2g} or less counts as a detection" in text
    assert "at most 5 % of audits of a file that leaks nothing" in text
    assert '<tr class="deciding"><th>loss-shadows (decided the verdict)' in page
    drawing = ElementTree.fromstring(roc_figure.draw(report.attacks, report.deciding.attack))
    words = [element.text for element in drawing.iter() if element.tag.endswith("text")]
    assert {"loss-shadows (decided the verdict)", "lira-shadows", "guessing"} <= set(words)
    assert "blind" not in words and "loss" not in words


def test_which_audit_of_the_file_it_was() -> None:
    assert "audit 3 of 3 of this file" in Outline(render(quick(0, attempt=Attempt(number=3, count=3)))).text


def test_logarithmic_axis_starts_at_one_false_alarm() -> None:
    report = standard(0.4)
    drawing = roc_figure.draw(report.attacks, report.deciding.attack, log=True)
    assert ">1%<" in drawing
    assert ">0.05%<" not in drawing


def test_epsilon_in_words_follows_both_directions_of_the_guarantee() -> None:
    assert largest_tpr(0, fpr=0.01, delta=0) == pytest.approx(0.01)
    assert largest_tpr(1, fpr=0.01, delta=0) == pytest.approx(0.02718, abs=1e-4)
    assert largest_tpr(8, fpr=0.01, delta=1e-5) == pytest.approx(1 - np.exp(-8) * (1 - 1e-5 - 0.01))
