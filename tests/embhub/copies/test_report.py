"""The report's verdict follows from its figures, and a page of it names nobody."""

from __future__ import annotations

import html
from typing import Any

from embhub.copies import page
from embhub.copies.planted import KINDS, NOT_LOOKED_FOR
from embhub.copies.report import Group, Nearness, Planted, Report, Sample, decide


def make(*, p: float = 0.5, caught: int = 20, **changes: Any) -> Report:
    """A report on one sample."""
    threshold = 0.01
    suspected = p <= threshold
    near = {"whole": Nearness(distance=0.1, ratio=0.8, p=p)}
    sample = Sample(name="0000.png", sha256=None if suspected else "1" * 64, suspected=suspected, measures=near)
    planted = tuple(Planted(kind=kind, tried=20, caught=caught) for kind in KINDS)
    values: dict[str, Any] = {
        "embhub": "0.1.0", "embedding": "0" * 64, "base": "builtin", "unit": "patient",
        "members": Group(units=40, images=60), "controls": Group(units=30, images=30), "alpha": 0.05,
        "threshold": threshold, "scores": {"whole": (-0.2, -0.1)}, "samples": (sample,), "planted": planted,
        "verdict": decide((sample,) if suspected else (), planted),
    }  # fmt: skip
    return Report(**{**values, **changes})


def test_verdicts() -> None:
    assert make().verdict == "no-copies-found"
    assert make(p=0.001).verdict == "copies-suspected"
    assert make(caught=17).verdict == "insufficient-evidence"
    assert decide((), ()) == "insufficient-evidence", "without planted copies silence says nothing"


def test_one_kind_that_is_missed_is_enough_to_say_little() -> None:
    caught = tuple(Planted(kind=kind, tried=20, caught=20) for kind in KINDS)
    missed = Planted(kind="turned", tried=20, caught=17)
    assert decide((), caught) == "no-copies-found"
    assert decide((), (*caught, missed)) == "insufficient-evidence"
    report = make(planted=(caught[0], missed), verdict="insufficient-evidence")
    assert report.missed == (missed,) and "misses some kinds of copies: turned" in report.statement
    assert "17 of 20: too few" in page.render(report, title="x")


def test_a_kind_that_was_not_planted_is_enough_to_say_little() -> None:
    """A card names all of them as caught."""
    most = tuple(Planted(kind=kind, tried=20, caught=20) for kind in KINDS[:-1])
    assert decide((), most) == "insufficient-evidence"
    said = make(planted=most, verdict="insufficient-evidence").statement
    assert "could not be planted: through the autoencoder." in said


def test_fewer_than_twenty_images_to_plant_cannot_show_eighteen_of_twenty() -> None:
    few = Planted(kind="exact", tried=19, caught=19)
    assert decide((), (few,)) == "insufficient-evidence"
    said = make(planted=(few,), verdict="insufficient-evidence").statement
    assert "fewer than 20 training images" in said


def test_no_hash_of_what_may_be_a_training_image() -> None:
    assert make(p=0.001).samples[0].sha256 is None


def test_the_page() -> None:
    text = page.render(make(), title="<script>alert(1)</script>")
    assert "<script" not in text and "<img" not in text and "http" not in text
    assert page.STAYS in html.unescape(text) and "No copies found" in text
    shown = page.render(make(p=0.001), title="x", pairs=[("data:image/png;base64,A", "data:image/png;base64,B")])
    assert shown.count("<img") == 2 and page.SHOWS_PATIENTS in shown and "Copies suspected" in shown


def test_words_claim_no_more_than_was_measured() -> None:
    assert "not ruled out" in make().statement
    assert all(kind in make().statement for kind in NOT_LOOKED_FOR)
    assert "at least 18 of 20 were detected; fewest: exact" in make(caught=18).statement
    assert "Of 20 planted copies of each of 28 kinds, all were detected" in make(caught=20).statement
    assert "inconclusive" in make(caught=3).statement
    one = make(p=0.001)
    assert "1 of 1 images is nearer" in one.statement and "treat it as a copy" in one.statement
    two = make(samples=one.samples * 2, verdict="copies-suspected")
    assert "2 of 2 images are nearer" in two.statement and "treat them as copies" in two.statement


def test_the_page_shows_the_power_of_every_kind() -> None:
    text = html.unescape(page.render(make(caught=18), title="x"))
    assert text.count("18 of 20</td>") == len(KINDS) and all(f"<th>{kind}</th>" in text for kind in KINDS)
