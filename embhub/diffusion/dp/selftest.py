"""The privatising code, tried on made-up people at the end of every private run.

A thousand canaries, random directions and far longer than allowed, go through the code with the run's own parameters,
twice: through the mechanism alone with 8192 numbers each, and through the run's own optimizer with as many numbers as
a step of the run releases. Whoever knows them can see whether they were cut (`clip`), whether what is left beside them
is Gaussian noise of the promised size, new at every step (`noise`), whether it is made of the operating system's
randomness (`entropy`), whether people were sampled by independent coins
(`sampling`), and whether guessing who was there succeeds more often than epsilon allows (`canaries`: the one-run audit
of Steinke, Nasr and Jagielski 2023, arXiv 2305.08846). On few numbers in few steps such errors would drown in the
noise: hence 8192 numbers there, and here more steps than the run has. Of votes the canaries on few numbers show
nothing: many people share a candidate and hide each other.

It costs a second or two, reads no image, and says nothing of what the code is fed with (`watch` does). A
build that was changed on purpose can change its self-test too: that shows only where another installation tries it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from embhub.audits.one_run import audit_coins
from embhub.diffusion.dp import noise
from embhub.diffusion.dp.mechanism import SLACK, Mechanism
from embhub.diffusion.dp.selftest_runs import (
    Aggregation,
    Descent,
    MechanismOnly,
    Places,
    Shared,
    TrialRun,
    Values,
    Voting,
    draw_directions,
    draw_votes,
)  # fmt: skip
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import PrivacyError
from embhub.privacy import self_test
from embhub.privacy.self_test import ALPHA, OwnWidth, SelfTest
from embhub.project import where_to_report
from embhub.study.grid import Grid

ROUNDS = 100
"""Rounds of noise: with 8192 numbers, 819,200 values show an error of half a percent in sigma."""
OWN_ROUNDS = 1200, 6400
"""Least and most rounds at the run's own width. Noise from seeds of 16 bits repeats itself within the least."""
_MOST_ROUNDS = 200
"""Rounds with canaries are as many as the run has steps, up to this."""
_SAMPLED = 1000
"""Rounds of sampling alone, which are cheap."""
_KEPT = 8192
"""So many values of noise are kept for a look at their shape."""
_FEWEST_TO_REPEAT = 4
"""Fewer numbers might repeat by chance."""
_TRIED = 128
"""Numbers, and coins, whose entropy is counted."""


class BrokenMechanismError(PrivacyError):
    """The privatising code did not do what a claim would say."""


def run(
    mechanism: Mechanism,
    *,
    kind: str,
    width: int,
    recipe: ResolvedRecipe,
    steps: int,
    epsilon: float,
    delta: float,
    grid: Grid | None = None,
) -> SelfTest:
    """Try what a training of `steps` steps used; what it found, for the claim.

    `kind` is `dp-sgd`, `dp-agg` or `votes`, `width` how many numbers a step released, `recipe` the training's. With a
    `grid` it is a study's: sums of whole numbers with this grid's noise, which is that of the mechanism.

    Raises:
        BrokenMechanismError: a test failed; the message names it.
    """
    rounds = min(steps, _MOST_ROUNDS)
    if grid is None:
        first, second = _bare_course(mechanism), _own_course(kind, mechanism, width, recipe)
    else:
        first, second = (
            Shared(mechanism, draw_directions(self_test.CANARIES, size), recipe, grid)
            for size in (self_test.DIMENSION, width)
        )
    bare = _observe(first, mechanism, rounds, ROUNDS)
    own = _observe(second, mechanism, rounds, _own_rounds(width))
    noise_p, own_noise_p = _judge_noise(bare), _judge_noise(own)
    sampling_p, (shown, certain) = _judge_sampling(mechanism), _guess(bare, delta)
    own_shown, own_certain = _guess(own, delta)
    here = "at the run's own width"
    faults = {
        "entropy": not _reads_entropy(mechanism, grid),
        "noise": noise_p < ALPHA,
        f"noise {here}": own_noise_p < ALPHA,
        "clip": _judge_clip(bare, mechanism) < ALPHA,
        f"clip {here}": _judge_clip(own, mechanism) < ALPHA,
        "sampling": sampling_p is not None and sampling_p < ALPHA,
        f"sampling {here}": _judge_presence(own, mechanism) < ALPHA,
        "canaries": certain > epsilon,
        f"canaries {here}": own_certain > epsilon,
    }
    if found := [name for name, failed in faults.items() if failed]:
        raise BrokenMechanismError(
            f"the privatising code failed its self-test ({', '.join(found)}): no privacy claim can be made",
            "publish nothing from this run; if nobody changed this installation, report a vulnerability to"
            f" {where_to_report('Security')}",
        )
    return SelfTest(
        passed=True,
        canaries=self_test.CANARIES,
        dimension=self_test.DIMENSION,
        canary_epsilon=round(shown, 4),
        noise_p=round(noise_p, 6),
        sampling_p=None if sampling_p is None else round(sampling_p, 6),
        own_width=OwnWidth(dimension=width, canary_epsilon=round(own_shown, 4), noise_p=round(own_noise_p, 6)),
    )


def _reads_entropy(mechanism: Mechanism, grid: Grid | None) -> bool:
    """Does one release, and one sample, read as many bytes of the operating system's entropy as they have to?

    Numbers from one fixed seed look as good as others, and are the same in every process.
    """
    read, urandom = 0, os.urandom

    def count(size: int, /) -> bytes:
        nonlocal read
        read += size
        return urandom(size)

    os.urandom = count
    try:
        if grid is None:
            mechanism.release(np.zeros(_TRIED))
        else:
            grid.protect(np.zeros(_TRIED, dtype=np.int64))
        enough = read >= noise.BYTES * _TRIED
        if mechanism.sample_rate < 1:
            read = 0
            mechanism.sample(_TRIED)
            enough &= read >= noise.COIN_BYTES * _TRIED
    finally:
        os.urandom = urandom
    return enough


def guess_canaries(mechanism: Mechanism, *, steps: int) -> tuple[Values, Values]:
    """Scores of the canaries that took part in a run of `steps` steps and of those that did not, higher for those who
    look as if they had: for an audit of the code that anybody can recompute.
    """
    seen = _observe(_bare_course(mechanism), mechanism, min(steps, _MOST_ROUNDS), 0)
    return seen.scores[seen.inside], seen.scores[~seen.inside]


def _bare_course(mechanism: Mechanism) -> TrialRun:
    return MechanismOnly(mechanism, draw_directions(self_test.CANARIES, self_test.DIMENSION))


def _own_course(kind: str, mechanism: Mechanism, width: int, recipe: ResolvedRecipe) -> TrialRun:
    if kind == "votes":
        return Voting(mechanism, draw_votes(self_test.CANARIES, width), recipe)
    course = Aggregation if kind == "dp-agg" else Descent
    return course(mechanism, draw_directions(self_test.CANARIES, width), recipe)


def _own_rounds(width: int) -> int:
    """As many values of noise as in the other course, within bounds."""
    least, most = OWN_ROUNDS
    return max(least, min(most, ROUNDS * self_test.DIMENSION // width))


@dataclass
class _Seen:
    """What the rounds showed: sums over them, in units of the noise or of the clip."""

    inside: NDArray[np.bool_]
    drift: Values
    scores: Values = field(default_factory=lambda: np.zeros(0))
    rounds: int = 0
    energy: float = 0.0
    sums: float = 0.0
    crowded: list[float] = field(default_factory=list)
    kept: list[Values] = field(default_factory=list)
    beginnings: set[bytes] = field(default_factory=set)
    repeated: bool = False
    came_twice: bool = False
    longest: float = 0.0
    response: float = 0.0
    expected: float = 0.0
    came: int = 0
    chances: int = 0


def _observe(course: TrialRun, mechanism: Mechanism, rounds: int, least: int) -> _Seen:
    """Offer canaries to `rounds` steps, then nobody until there were `least`, and take down what comes out."""
    count, width = course.directions.shape
    seen = _Seen(inside=noise.flip(count, 0.5), drift=np.zeros(width))
    people, total = np.flatnonzero(seen.inside), np.zeros(width)
    for number in range(max(rounds, least)):
        offered = people if number < rounds else people[:0]
        came, out = course.step(offered)
        asked = np.zeros(width)
        for first in range(0, len(came), _KEPT):
            asked += course.directions[came[first : first + _KEPT]].sum(0, dtype=np.float64)
        _note_people(seen, offered, came)
        left = _note_noise(seen, out, asked * course.length, mechanism.noise_multiplier)
        if len(offered):
            seen.crowded.append(float(left @ left))
        if number < rounds:
            total += out
    seen.longest = course.longest
    seen.scores = (course.directions @ total.astype(np.float32)).astype(np.float64)
    return seen


def _note_people(seen: _Seen, offered: Places, came: Places) -> None:
    seen.chances += len(offered)
    seen.came += len(came)
    seen.came_twice |= len(np.unique(came)) < len(came)


def _note_noise(seen: _Seen, out: Values, asked: Values, sigma: float) -> Values:
    left = (out - (1 - SLACK) * asked) / sigma
    seen.rounds += 1
    seen.energy += float(left @ left)
    seen.sums += float(left.sum()) ** 2 / len(left)
    seen.drift += left
    if sum(map(len, seen.kept)) < _KEPT:
        seen.kept.append(left)
    if len(left) >= _FEWEST_TO_REPEAT:
        beginning = np.round(left[:8], 5).tobytes()
        seen.repeated |= beginning in seen.beginnings
        seen.beginnings.add(beginning)
    seen.response += float(out @ asked)
    seen.expected += float(asked @ asked)
    return left


def _guess(seen: _Seen, delta: float) -> tuple[float, float]:
    """The epsilon that guessing showed at 95 %, and the one that it shows beyond doubt."""
    found = audit_coins(seen.scores[seen.inside], seen.scores[~seen.inside], delta=delta)
    return found.lower_bound, self_test.certain(found.coins, found.guesses, found.correct, delta=delta)


def _judge_noise(seen: _Seen) -> float:
    """Is what is left standard normal, and another one in every round? Six tests, the least p-value times six.

    That of sums finds noise whose numbers cancel each other: a sum of counts would be told exactly.
    Rounds with people have tests of their own, all together and each by itself: there are few of them, so that noise
    which is less there, or is missing in one of them, would not show among the others.
    """
    if seen.repeated:
        return 0.0
    size = stats.chi2(seen.rounds * len(seen.drift))
    mean = stats.chi2(len(seen.drift))
    drifted = float(seen.drift @ seen.drift) / seen.rounds
    shape = float(stats.kstest(np.concatenate(seen.kept), "norm").pvalue)
    together = each = 1.0
    if count := len(seen.crowded):
        together = _two_sided(stats.chi2(count * len(seen.drift)), sum(seen.crowded))
        each = count * min(_two_sided(mean, energy) for energy in seen.crowded)
    summed = _two_sided(stats.chi2(seen.rounds), seen.sums)
    return min(1.0, 6 * min(_two_sided(size, seen.energy), _two_sided(mean, drifted), shape, together, each, summed))


def _judge_clip(seen: _Seen, mechanism: Mechanism) -> float:
    """Do the sums answer to a canary by the length that is allowed, no more and no less?"""
    if seen.longest > 1 + 1e-9 or seen.came_twice:
        return 0.0
    if seen.expected == 0.0:
        return 1.0  # so low a rate that nobody ever came
    spread = mechanism.noise_multiplier / np.sqrt(seen.expected)
    return float(2 * stats.norm.sf(abs(seen.response / seen.expected - (1 - SLACK)) / spread))


def _judge_presence(seen: _Seen, mechanism: Mechanism) -> float:
    """Did as many come as independent coins make, all in all? An exact test."""
    if mechanism.sample_rate >= 1:
        return float(seen.came == seen.chances)
    law = stats.binom(seen.chances, mechanism.sample_rate)
    return min(1.0, 2 * min(float(law.cdf(seen.came)), float(law.sf(seen.came - 1))))


def _judge_sampling(mechanism: Mechanism) -> float | None:
    """Are batch sizes, and the number of times that each canary came, as scattered as independent coins make them?

    None where everybody is in every step.
    """
    joined = np.zeros((_SAMPLED, self_test.CANARIES), dtype=np.bool_)
    for row in joined:
        row[mechanism.sample(self_test.CANARIES)] = True
    if mechanism.sample_rate >= 1:
        return None if joined.all() else 0.0
    total, count = stats.binom(joined.size, mechanism.sample_rate), int(joined.sum())
    p_values = [min(1.0, 2 * min(float(total.cdf(count)), float(total.sf(count - 1))))]
    p_values += [_judge_scatter(joined.sum(axis), joined.shape[axis], mechanism.sample_rate) for axis in (0, 1)]
    return min(1.0, len(p_values) * min(p_values))


def _judge_scatter(counts: NDArray[np.int64], coins: int, chance: float) -> float:
    """Two-sided p-value of the variance of binomial counts, by its own mean and variance."""
    spread = coins * chance * (1 - chance)
    fourth = spread * (1 + 3 * chance * (1 - chance) * (coins - 2))
    excess = float(((counts - coins * chance) ** 2 - spread).sum())
    return float(2 * stats.norm.sf(abs(excess) / np.sqrt(len(counts) * (fourth - spread**2))))


class _Law(Protocol):
    """A distribution of scipy.stats with its parameters."""

    def cdf(self, x: float) -> float: ...

    def sf(self, x: float) -> float: ...


def _two_sided(law: _Law, value: float) -> float:
    return min(1.0, 2 * min(float(law.cdf(value)), float(law.sf(value))))
