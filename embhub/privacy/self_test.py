"""What a privacy claim says of its self-test: made-up people through the privatising code, at the end of the run. Pure.

Every figure is the publisher's word, since the publisher's own build tested itself. But not every word can be true: a
test that passed has figures within limits, and a block beyond them is refused wherever a claim is read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from embhub.audits.one_run import SHARE, bound, bound_gaussian

CANARIES, DIMENSION = 1000, 8192
"""Made-up people, and how many numbers each of them has, the same in every self-test."""
ALPHA = 1e-6
"""Chance for each test to accuse code that is right; so a test that passed states no p-value below it."""
_ROUNDING = 1e-4

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Bound = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, defer_build=True)


class OwnWidth(_Block):
    """The same at the run's own width: made-up gradients of `dimension` numbers through the optimizer of the run.

    `dimension` is how many numbers each step of the run released; it follows from the settings, which are public.
    """

    dimension: Count
    canary_epsilon: Bound
    noise_p: Share


class SelfTest(_Block):
    """The privatising code, tried on made-up vectors at the end of the run: no figure here depends on a patient.

    `canary_epsilon` is the lower bound (95 %) that the canaries showed, `noise_p` the p-value of the tests of residual
    noise, `sampling_p` that of the dispersion of batch sizes (None where nothing is sampled). `own_width` is what the
    run's own optimizer showed at the run's own width.
    """

    schema_: Literal["embhub.selftest/2"] = Field(default="embhub.selftest/2", alias="schema")
    passed: Literal[True]
    canaries: Count
    dimension: Count
    canary_epsilon: Bound
    noise_p: Share
    sampling_p: Share | None
    own_width: OwnWidth


def find_implausible(block: SelfTest, *, epsilon: float, delta: float, sampled: bool) -> list[str]:
    """What no self-test that passed can have found, for a claim of (epsilon, delta); empty where nothing is.

    `sampled` says whether the claim's steps sample their units.
    """
    found = []
    if (block.canaries, block.dimension) != (CANARIES, DIMENSION):
        found.append(f"self_test: a self-test has {CANARIES:,} canaries of {DIMENSION:,} numbers")
    if (block.sampling_p is not None) != sampled:
        found.append("self_test.sampling_p is null exactly where sampling is `all`")
    own = block.own_width
    p_values = {"noise_p": block.noise_p, "sampling_p": block.sampling_p, "own_width.noise_p": own.noise_p}
    shown = {"canary_epsilon": block.canary_epsilon, "own_width.canary_epsilon": own.canary_epsilon}
    found += [
        f"self_test.{name} is {value:g}: below {ALPHA:g} a self-test fails"
        for name, value in p_values.items()
        if value is not None and value < ALPHA
    ]
    most = most_shown(CANARIES, epsilon=epsilon, delta=delta)
    found += [
        f"self_test.{name} is {value:g}: above {most:.4g} a self-test for an epsilon of {epsilon:g} fails"
        for name, value in shown.items()
        if value > most + _ROUNDING
    ]
    return found


def certain(coins: int, guesses: int, correct: int, *, delta: float) -> float:
    """The epsilon that so many right guesses refute at ALPHA, and above which a self-test fails.

    By the bound for Gaussian trade-off curves, which those of this mechanism nearly are: the general bound lets delta
    explain any number of right guesses at so small a level, so that it never refutes.
    """
    return bound_gaussian(coins, guesses, correct, delta=delta, alpha=ALPHA)


@lru_cache(maxsize=1024)
def most_shown(coins: int, *, epsilon: float, delta: float) -> float:
    """The largest lower bound (95 %) of epsilon that guesses among `coins` show in a self-test that does not fail.

    It may lie above `epsilon`: one run in twenty shows more than there is, and ALPHA forgives far more.
    """
    guesses = 2 * int(coins * SHARE / 2)
    low, high = 0, guesses  # so many right guesses are forgiven, and more than `high` are not
    while low < high:
        middle = (low + high + 1) // 2
        if certain(coins, guesses, middle, delta=delta) <= epsilon:
            low = middle
        else:
            high = middle - 1
    return bound(coins, guesses, low, delta=delta)
