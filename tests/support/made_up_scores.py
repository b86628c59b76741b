"""Scores of every attack of a suite, made up: what an audit hands to `embhub.audits.report.build`."""

from __future__ import annotations

from statistics import median

import numpy as np

from embhub.audits.attack_figures import IN_TURN
from embhub.audits.guesses import Guesses, write_guesses
from embhub.audits.report import SUITES, Suite

Scores = dict[str, tuple[list[float], list[float]]]


def make_scores(
    suite: Suite, sides: tuple[int, int], *, shadows: int = 8, shift: float = 0.0, seed: int = 1
) -> tuple[Scores, Guesses | None]:
    """Scores by attack, `blind` among them, and what the attacks on shadows guess.

    `shift` is how much more member-like members score. A report takes coins of so many units as its counts, in fives,
    say.
    """
    rng, units = np.random.default_rng(seed), sum(side - side % 5 for side in sides)
    scores: Scores = {}
    fell_in = int(rng.binomial(units * shadows, 0.5))
    for name in (*SUITES[suite], "blind"):
        inside, outside = (fell_in, units * shadows - fell_in) if name.endswith(IN_TURN) else sides
        moved = 0.0 if name == "blind" else shift
        scores[name] = ((rng.normal(size=inside) + moved).tolist(), rng.normal(size=outside).tolist())
    return scores, make_guesses(scores)


def make_guesses(scores: Scores) -> Guesses | None:
    """In, where a score is above the median of all; None where no shadow was attacked."""
    pairs = {name: pair for name, pair in scores.items() if name.endswith(IN_TURN)}
    if not pairs:
        return None
    inside, outside = map(len, next(iter(pairs.values())))
    middle = {name: median([*members, *others]) for name, (members, others) in pairs.items()}
    return write_guesses(
        [True] * inside + [False] * outside,
        {name: [score > middle[name] for score in (*pair[0], *pair[1])] for name, pair in pairs.items()},
    )
