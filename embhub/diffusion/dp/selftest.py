"""The privatising code, tried on made-up people at the end of every private run.

A thousand canaries, random directions of 8192 numbers and far longer than allowed, go through the same mechanism with
the run's own parameters. Whoever knows them can see whether they were cut (`clip`), whether what is left beside them is
Gaussian noise of the promised size, new at every step (`noise`), whether people were sampled by independent coins
(`sampling`), and whether guessing who was there succeeds more often than epsilon allows (`canaries`: the one-run audit
of Steinke, Nasr and Jagielski 2023, arXiv 2305.08846). On few numbers such errors would drown in the noise: hence 8192.

It costs seconds, reads no image, and says nothing of what the mechanism is fed with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from embhub.audits.one_run import audit_coins, bound
from embhub.diffusion.dp import noise
from embhub.diffusion.dp.mechanism import SLACK, Mechanism
from embhub.errors import PrivacyError
from embhub.privacy import SelfTest

CANARIES, DIMENSION, ROUNDS = 1000, 8192, 100
"""Rounds of noise: 819,200 values show an error of half a percent in sigma."""
_MOST_ROUNDS = 200
"""Rounds with canaries are as many as the run has steps, up to this."""
_SAMPLED = 1000
"""Rounds of sampling alone, which are cheap."""
ALPHA = 1e-6
"""Chance for each of the tests to accuse code that is right."""
_CHUNK = 64

Values = NDArray[np.float64]


class BrokenMechanism(PrivacyError):
    """The privatising code did not do what a claim would say."""


def run(mechanism: Mechanism, *, steps: int, epsilon: float, delta: float) -> SelfTest:
    """Try a mechanism that a training of `steps` steps used; what it found, for the claim.

    Raises:
        BrokenMechanism: a test failed; the message names it.
    """
    seen = _observe(mechanism, min(steps, _MOST_ROUNDS))
    noise_p, clip_p, sampling_p = _judge_noise(seen), _judge_clip(seen, mechanism), _judge_sampling(mechanism)
    guessed = audit_coins(seen.scores[seen.inside], seen.scores[~seen.inside], delta=delta)
    certain = bound(guessed.coins, guessed.guesses, guessed.correct, delta=delta, alpha=ALPHA)
    faults = {
        "noise": noise_p < ALPHA,
        "clip": clip_p < ALPHA,
        "sampling": sampling_p is not None and sampling_p < ALPHA,
        "canaries": certain > epsilon,
    }
    if found := [name for name, failed in faults.items() if failed]:
        raise BrokenMechanism(
            f"the privatising code failed its self-test ({', '.join(found)}): no privacy claim can be made",
            "publish nothing of this run; if this installation was not changed by anybody, report it as a security bug",
        )
    return SelfTest(
        passed=True,
        canaries=CANARIES,
        dimension=DIMENSION,
        canary_epsilon=round(guessed.lower_bound, 4),
        noise_p=round(noise_p, 6),
        sampling_p=None if sampling_p is None else round(sampling_p, 6),
    )


def guess_canaries(mechanism: Mechanism, *, steps: int) -> tuple[Values, Values]:
    """Scores of the canaries that took part in a run of `steps` steps and of those that did not, higher for those who
    look as if they had: for an audit of the code that anybody can recompute.
    """
    seen = _observe(mechanism, min(steps, _MOST_ROUNDS))
    return seen.scores[seen.inside], seen.scores[~seen.inside]


@dataclass
class _Seen:
    """What the rounds showed: sums over them, in units of the noise or of the clip."""

    inside: NDArray[np.bool_]
    scores: Values
    rounds: int = 0
    energy: float = 0.0
    drift: Values = field(default_factory=lambda: np.zeros(DIMENSION))
    first: Values = field(default_factory=lambda: np.zeros(DIMENSION))
    response: float = 0.0
    expected: float = 0.0
    longest: float = 0.0


def _observe(mechanism: Mechanism, rounds: int) -> _Seen:
    """Let canaries take part in `rounds` steps, and in ever so many more nobody, and take down what comes out."""
    # Canaries need no secrecy, and numpy draws them twenty times faster.
    directions = np.random.default_rng().standard_normal((CANARIES, DIMENSION), dtype=np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    seen = _Seen(inside=noise.flip(CANARIES, 0.5), scores=np.zeros(CANARIES))
    people, total = np.flatnonzero(seen.inside), np.zeros(DIMENSION)
    for number in range(max(rounds, ROUNDS)):
        chosen = people[mechanism.sample(len(people))] if number < rounds else people[:0]
        put, asked = np.zeros(DIMENSION), np.zeros(DIMENSION)
        for first in range(0, len(chosen), _CHUNK):
            part = directions[chosen[first : first + _CHUNK]].astype(np.float64)
            bounded = mechanism.bound(part * (3 * mechanism.clip))
            seen.longest = max(seen.longest, float(np.linalg.norm(bounded, axis=1).max()))
            put += bounded.sum(0)
            asked += part.sum(0)
        out = mechanism.release(put) * mechanism.denominator / mechanism.clip
        _note(seen, out, asked, mechanism.sigma)
        total += out
    seen.scores = (directions @ total.astype(np.float32)).astype(np.float64)
    return seen


def _note(seen: _Seen, out: Values, asked: Values, sigma: float) -> None:
    left = (out - (1 - SLACK) * asked) / sigma
    seen.rounds += 1
    seen.energy += float(left @ left)
    seen.drift += left
    if seen.rounds == 1:
        seen.first = left
    seen.response += float(out @ asked)
    seen.expected += float(asked @ asked)


def _judge_noise(seen: _Seen) -> float:
    """Is what is left standard normal, and another one in every round? Three tests, the least p-value times three."""
    size = stats.chi2(seen.rounds * DIMENSION)
    mean = stats.chi2(DIMENSION)
    drifted = float(seen.drift @ seen.drift) / seen.rounds
    shape = float(stats.kstest(seen.first, "norm").pvalue)
    return min(1.0, 3 * min(_two_sided(size, seen.energy), _two_sided(mean, drifted), shape))


def _judge_clip(seen: _Seen, mechanism: Mechanism) -> float:
    """Do the sums answer to a canary by the length that is allowed, no more and no less?"""
    if seen.longest > mechanism.clip * (1 + 1e-9):
        return 0.0
    if seen.expected == 0.0:
        return 1.0  # so low a rate that nobody ever came
    spread = mechanism.sigma / np.sqrt(seen.expected)
    return float(2 * stats.norm.sf(abs(seen.response / seen.expected - (1 - SLACK)) / spread))


def _judge_sampling(mechanism: Mechanism) -> float | None:
    """Are batch sizes, and the number of times that each canary came, as scattered as independent coins make them?

    None where everybody is in every step.
    """
    joined = np.zeros((_SAMPLED, CANARIES), dtype=np.bool_)
    for row in joined:
        row[mechanism.sample(CANARIES)] = True
    if mechanism.rate >= 1:
        return None if joined.all() else 0.0
    total, count = stats.binom(joined.size, mechanism.rate), int(joined.sum())
    p_values = [min(1.0, 2 * min(float(total.cdf(count)), float(total.sf(count - 1))))]
    p_values += [_judge_scatter(joined.sum(axis), joined.shape[axis], mechanism.rate) for axis in (0, 1)]
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
