"""What two figures for epsilon save and cost: `python -m bench.accounting`, told in docs/reference/privacy-claim.md.

Noise: the multiplier that the smaller figure asks for beside the one that RDP alone asks for, at delta 1e-5. Time: a
whole claim read, and losses of mechanisms drawn at random from all that a claim may state, processor time, no memory of
earlier ones.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator

from embhub.privacy import epsilon as epsilons
from embhub.privacy import loss_distribution, loss_grid, rdp
from embhub.privacy import sampled_gaussian as gaussian
from embhub.privacy.claim import build_claim, read_claim
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.self_test import OwnWidth, SelfTest

DELTA = 1e-5
EPSILONS = (0.5, 1.0, 2.0, 4.0)
SETTINGS = (
    *((1.0, 1), (0.32, 50), (0.16, 50), (0.08, 50), (0.032, 50)),
    *((0.016, 50), (0.16, 100), (0.16, 25), (0.064, 50), (0.1, 500)),
)
"""Rate and steps: dp-agg, the default of dp-sgd with 50 to 1,000 patients, more and fewer steps, larger batches."""


def saved() -> Iterator[tuple[float, float, int, float]]:
    """Epsilon, sampling rate, steps, and the share of noise that need not be added, one row a setting."""
    for epsilon in EPSILONS:
        for q, steps in SETTINGS:
            tight = _smallest(lambda item: epsilons.compose([item], delta=DELTA), q, steps, epsilon)
            loose = _smallest(_by_rdp, q, steps, epsilon)
            yield epsilon, q, steps, 1 - tight / loose


def _by_rdp(item: Mechanism) -> float:
    return rdp.epsilon_of(rdp.gaussian_curve(q=item.q, sigma=item.sigma, steps=item.steps), delta=DELTA)


def _smallest(spent: Callable[[Mechanism], float], q: float, steps: int, epsilon: float) -> float:
    low, high = 0.3, 100.0
    while high / low > 1.0002:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if spent(Mechanism(q, middle, steps)) <= epsilon else (middle, high)
    return high


def seconds_to_read() -> float:
    """Of one claim, everything recomputed: 500 steps at a rate of 0.1, epsilon 2."""
    width = OwnWidth(dimension=8, canary_epsilon=0.2, noise_p=0.4)
    tested = SelfTest(
        passed=True, canaries=1000, dimension=8192, canary_epsilon=0.4, noise_p=0.3, sampling_p=0.6, own_width=width
    )
    claim = build_claim(
        mechanism="dp-sgd", unit="patient", max_images_per_unit=4, n_public=100, batch=10, sigma=4.578, clip=1.0,
        steps=500, self_test=tested,
    )  # fmt: skip
    text = claim.to_text()
    return _time(lambda: read_claim(text))


def seconds_of_losses(count: int, seed: int = 3) -> list[float]:
    """Of `count` random mechanisms: rate 1e-6 to 1, noise 0.05 to 10,000, 1 to 10 million steps."""
    draw = random.Random(seed)
    rates = [1e-6, 1e-4, 0.001, 0.016, 0.1, 0.5, 0.99, 1 - 1e-9]
    found = []
    for _ in range(count):
        q = draw.choice(rates) if draw.random() < 0.5 else draw.uniform(1e-6, 1.0)
        sigma = math.exp(draw.uniform(math.log(0.05), math.log(10_000)))
        item = Mechanism(q, sigma, int(math.exp(draw.uniform(0, math.log(10_000_000)))))
        found.append(_time(lambda item=item: loss_distribution.epsilon_of([item], delta=DELTA)))  # type: ignore[misc]
    return found


def _time(call: Callable[[], object]) -> float:
    for remembered in (
        loss_distribution._epsilon,
        loss_distribution._composed,
        rdp.gaussian_curve,
        gaussian.sampled_gaussian_rdp,
    ):
        remembered.cache_clear()
    begun = time.process_time()
    call()
    return time.process_time() - begun


def main() -> None:
    """Print all of it."""
    rows = list(saved())
    for epsilon, q, steps, share in rows:
        print(f"epsilon {epsilon:g}, rate {q:g}, {steps} steps: {share:.1%} less noise")
    shares = [share for *_, share in rows]
    print(f"least {min(shares):.1%}, median {statistics.median(shares):.1%}, most {max(shares):.1%}")
    seconds_to_read()  # imports
    print(f"a claim is read in {statistics.median(seconds_to_read() for _ in range(5)) * 1000:.0f} ms")
    spent = seconds_of_losses(int(sys.argv[1]) if len(sys.argv) > 1 else 700)
    print(
        f"losses of {len(spent)} random mechanisms: median {statistics.median(spent) * 1000:.1f} ms, longest"
        f" {max(spent) * 1000:.0f} ms, at most {loss_grid.MOST_CELLS:,} cells"
    )


if __name__ == "__main__":
    main()
