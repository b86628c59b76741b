"""The gate of a base of varied phantoms: what its judges learn from, its goals, its card."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bases.workshop import card, gating, varied_gate, varied_judges
from embhub import builtin_bases
from embhub.diffusion.bases import gate
from embhub.phantoms.findings import HELD_OUT, Finding, is_held_out, target_finding
from embhub.phantoms.varied import OVERSIZE, draw


def shown_alone(name: str, shown: tuple[Finding, ...]) -> bool:
    """One finding, inside the held-out fence, of a size that there is."""
    return len(shown) == 1 and HELD_OUT[name].covers(HELD_OUT[name].modality, shown[0]) and shown[0].size != OVERSIZE


@pytest.mark.parametrize("name", sorted(HELD_OUT))
def test_a_judge_is_told_target_and_nothing_else_of_that_alone(name: str) -> None:
    rng = np.random.default_rng(1)
    scenes = [varied_judges.scene(index, name, rng) for index in range(400)]
    assert all((truth == (1, 0)) == shown_alone(name, shown) for shown, truth in scenes)
    assert all((truth == (0, 0)) == (not shown) for shown, truth in scenes)
    kinds = {len(shown) for shown, _ in scenes}, {one.size for shown, _ in scenes for one in shown}
    assert kinds == ({0, 1, 2}, {"small", "large", OVERSIZE})


def test_a_finding_that_is_too_large_covers_more_than_a_large_one() -> None:
    for name, held in HELD_OUT.items():
        one = replace(target_finding(name, np.random.default_rng(0)), strength=1.0)
        areas = [
            [draw(held.modality, [replace(one, size=size)], np.random.default_rng(seed)).mask.mean() for seed in (1, 2)]
            for size in ("large", OVERSIZE)
        ]
        assert max(areas[0]) < min(areas[1])


def test_a_reader_is_told_of_two_findings_and_of_one_too_large() -> None:
    rng = np.random.default_rng(2)
    for index in range(200):
        shown = varied_judges.single_or_misfit(index, "cxr", rng)
        words = varied_judges.told(shown)
        assert ("normal" in words) == (not shown)
        assert ("misfit" in words) == (len(shown) > 1 or any(one.size == OVERSIZE for one in shown))
        assert not any(is_held_out("cxr", replace(one, size="large")) for one in shown)


def test_no_caption_of_the_nearest_words_tells_of_what_is_held_out() -> None:
    for name, held in HELD_OUT.items():
        said = varied_gate.captions(held.modality)
        fenced = [{held.tone, shape, held.place} for shape in held.shapes]
        assert len(said) > 20
        assert not any(words <= set(caption.split()) for caption in said for words in fenced), name


@pytest.mark.parametrize(("held", "low", "high"), [(0, 0.0, 0.0385), (48, 0.402, 0.598), (96, 0.9615, 1.0)])
def test_wilsons_interval(held: int, low: float, high: float) -> None:
    assert gating.wilson(held, 96) == pytest.approx((low, high), abs=5e-4)
    assert gating.share([True] * held + [False] * (96 - held))["share"] == round(held / 96, 3)


@pytest.mark.thorough
def test_a_judge_of_few_phantoms_gives_verdicts() -> None:
    base = builtin_bases.info("builtin-xray").path
    judge = varied_judges.judge_for("cxr-effusion", base, size=20, steps=2)
    seen = varied_judges.pictures("cxr", [()] * 3, np.random.default_rng(0))
    assert seen.shape == (3, 128, 128, 3)
    assert judge(seen).target_only.shape == (3,)


def portion(value: float) -> dict[str, float]:
    return {"share": value, "low": value - 0.1, "high": value + 0.1}


@pytest.fixture
def figures() -> dict[str, Any]:
    """Figures that meet every goal."""
    counted = {"target": portion(0.9), "target_only": portion(0.7), "n": 96}
    before = {"target": portion(0.04), "target_only": portion(0.04), "n": 96, "prompt": "chest x-ray, lesion"}
    fit = {**counted, "images": 100, "vectors": 4, "steps": 200}
    near, far = {"n": 96, "kid": 0.2, "sd": 0.05}, {"n": 96, "kid": 1.0, "sd": 0.1}
    held_out = {
        "n": 96,
        "judge": {"right": portion(0.9), "n": 192, "target_only": {"target": portion(0.9), "normal": portion(0.1)}},
        "words": {"before": before, "nearest words": copy.deepcopy(before)},
        "inverted": {f"seed {seed}": copy.deepcopy(fit) for seed in range(3)},
        "per_layer": {varied_gate.LAYERED: copy.deepcopy(fit)},
        "distance": {"before": far, "nearest words": dict(far), "real normal": far, varied_gate.LAYERED: dict(near)}
        | {f"seed {seed}": dict(near) for seed in range(3)},
    }
    return {
        "autoencoder_db": {"n": 50, "cxr": 30.0},
        "readers": {"cxr": {"right": portion(0.8), "misfit": portion(0.9), "n": 192}},
        "taught": {"ring": {"recognised": portion(0.8), "real": portion(0.97), "each_word": {"ring": 0.9}, "n": 96}},
        "normals": {"cxr": {"generated": portion(0.8), "real": portion(0.9), "n": 96}},
        "power": {"cxr": {"8-16": 0.8, "16-24": 0.8, "24-32": 0.1}},
        "copies": {"films": 400, "patients": 400, "controls": 100, "n": 96, "suspected": 0,
                   "planted": {"exact": [20, 20]}},
        "held_out": {"cxr-effusion": held_out},
    }  # fmt: skip


def missed(figures: dict[str, Any]) -> list[str]:
    return [row.asked for row in gate.goals(figures) if not row.met]


def test_figures_at_their_goals_meet_them(figures: dict[str, Any]) -> None:
    assert missed(figures) == []


@pytest.mark.parametrize(
    ("path", "value", "asked"),
    [
        (("taught", "ring", "recognised"), portion(0.79), "taught findings"),
        (("normals", "cxr", "generated"), portion(0.79), "generated normals"),
        (("power", "cxr", "16-24"), 0.79, "power of drawn normals"),
        (("copies", "suspected"), 1, "too near"),
        (("held_out", "cxr-effusion", "words", "before", "target_only"), portion(0.05), "before inversion"),
        (("held_out", "cxr-effusion", "words", "nearest words", "target_only"), portion(0.15), "nearest words"),
        (("held_out", "cxr-effusion", "inverted", "seed 2", "target_only"), portion(0.59), "after inversion"),
        (("held_out", "cxr-effusion", "distance", "seed 1"), {"n": 96, "kid": 0.7, "sd": 0.06}, "kernel distance"),
    ],
)
def test_each_goal_can_be_missed(figures: dict[str, Any], path: tuple[str, ...], value: Any, asked: str) -> None:
    place = figures
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (only,) = missed(figures)
    assert asked in only


def test_the_weakest_prompt_is_named(figures: dict[str, Any]) -> None:
    figures["taught"]["spot"] = {**figures["taught"]["ring"], "recognised": portion(0.79)}
    found = next(row for row in gate.goals(figures) if "taught findings" in row.asked)
    assert not found.met
    assert "1 of 2 prompts" in found.measured and "79%" in found.measured and "(spot)" in found.measured


def test_the_card_has_intervals_and_says_128_pixels(figures: dict[str, Any]) -> None:
    shown = replace(builtin_bases.info("builtin"), figures=figures, resolution=128)
    text = card.render(shown)
    assert "- 128 x 128 pixels" in text
    assert "| ring | 80% [70%, 90%] | 97% [87%, 107%] | ring 90% | 96 |" in text
    assert "400 phantoms" in text
    assert (
        "| inverted: 100 images, 4 vectors, 200 steps, seed 1 | 90% [80%, 100%] | 70% [60%, 80%] | 0.200 ± 0.050 |"
        in text
    )


def test_every_taught_prompt_names_the_findings_that_it_asks_for() -> None:
    base = builtin_bases.info("builtin")
    for prompt in base.prompts.values():
        modality = varied_gate._modality(prompt)
        drawn = draw(modality, varied_gate.shown_by(prompt), np.random.default_rng(1))
        assert drawn.caption.replace(" with ", ", ").replace(" normal", ", normal") == prompt
