"""What a claim rests on: coins, cutting, noise; and that broken code does not pass its self-test."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from embhub.diffusion.dp import noise, selftest
from embhub.diffusion.dp.dpsgd import PrivateDescent
from embhub.diffusion.dp.mechanism import SLACK, Mechanism, Vectors
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import PrivacyError
from embhub.privacy.self_test import SelfTest, find_implausible
from tests.support.quick import quick

RECIPE = ResolvedRecipe(num_vectors=1, steps=50, learning_rate=0.1, warm_up=5)
RIGHT = Mechanism(sample_rate=0.16, max_grad_norm=0.01, noise_multiplier=2.1, denominator=16)
ONCE = Mechanism(sample_rate=1.0, max_grad_norm=1.0, noise_multiplier=2.2, denominator=100)


def test_normal_draws_are_normal_and_never_the_same() -> None:
    drawn = noise.draw_normal(100_001)
    assert drawn.shape == (100_001,) and drawn.dtype == np.float64
    assert stats.kstest(drawn, "norm").pvalue > 1e-6
    assert not np.array_equal(drawn, noise.draw_normal(100_001))
    assert abs(np.corrcoef(drawn[:50_000], drawn[50_000:100_000])[0, 1]) < 0.03


@pytest.mark.parametrize("chance", [0.0, 1e-3, 0.16, 0.5, 1.0])
def test_coins_fall_as_often_as_they_should(chance: float) -> None:
    count = int(noise.flip(200_000, chance).sum())
    assert stats.binomtest(count, 200_000, chance).pvalue > 1e-6


@given(
    rows=st.lists(st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3), min_size=1, max_size=5),
    clip=st.floats(1e-6, 1e6),
)
def test_no_vector_is_longer_than_allowed(rows: list[list[float]], clip: float) -> None:
    bounded = Mechanism(0.5, clip, 1.0, 1).bound(rows)
    assert np.linalg.norm(bounded, axis=1).max() <= clip
    for before, after in zip(np.array(rows), bounded, strict=True):
        if np.linalg.norm(before) <= clip:
            assert after == pytest.approx((1 - SLACK) * before, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_vector_that_is_no_number_adds_nothing_and_spoils_no_other(bad: float) -> None:
    bounded = RIGHT.bound([[bad, 1.0], [0.003, 0.0]])
    assert bounded[0].tolist() == [0.0, 0.0] and bounded[1, 0] > 0


def test_an_empty_batch_is_noise_of_the_full_size() -> None:
    out = RIGHT.release(np.zeros(100_000)) * RIGHT.denominator
    assert out.std() == pytest.approx(RIGHT.noise_multiplier * RIGHT.max_grad_norm, rel=0.02)
    assert RIGHT.bound(np.zeros((0, 4))).shape == (0, 4)


def test_the_sum_is_divided_by_the_public_number_however_many_came() -> None:
    silent = Mechanism(sample_rate=0.1, max_grad_norm=1.0, noise_multiplier=0.0, denominator=10)
    one, three = (silent.release(silent.bound(np.ones((count, 1))).sum(0)) for count in (1, 3))
    assert three[0] == pytest.approx(3 * one[0]) and one[0] == pytest.approx((1 - SLACK) / 10)


@pytest.fixture(scope="module", autouse=True)
def shorter_self_test() -> None:
    """Here it has its full length."""


def run(mechanism: Mechanism, *, width: int = 128, steps: int = 25) -> SelfTest:
    kind = "dp-agg" if mechanism.sample_rate == 1 else "dp-sgd"
    steps = 1 if kind == "dp-agg" else steps
    return selftest.run(
        mechanism, kind=kind, width=width, recipe=RECIPE, steps=steps, epsilon=2.0, delta=1e-5
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mechanism", "width"),
    [
        (RIGHT, 128),
        (ONCE, 128),
        pytest.param(Mechanism(0.02, 1.0, 0.8, 20), 6, marks=pytest.mark.thorough),
        pytest.param(RIGHT, 1, marks=pytest.mark.thorough),
        pytest.param(ONCE, 1024, marks=pytest.mark.thorough),
    ],
    ids=["sgd", "agg", "rare", "one number", "wide"],
)
def test_right_code_passes(mechanism: Mechanism, width: int) -> None:
    found = run(mechanism, width=width)
    assert found.passed and max(found.canary_epsilon, found.own_width.canary_epsilon) <= 2.0
    assert found.own_width.dimension == width
    assert (found.sampling_p is None) == (mechanism.sample_rate == 1)
    assert not find_implausible(found, epsilon=2.0, delta=1e-5, sampled=mechanism.sample_rate < 1)


@dataclass(frozen=True)
class Tenth(Mechanism):
    """A tenth of the noise."""

    def release(self, total: Vectors) -> Vectors:
        return (
            total + 0.1 * self.noise_multiplier * self.max_grad_norm * noise.draw_normal(total.size)
        ) / self.denominator


@dataclass(frozen=True)
class Five(Mechanism):
    """Vectors five times too long."""

    def bound(self, vectors: object) -> Vectors:
        exact = np.asarray(vectors)
        lengths = np.linalg.norm(exact, axis=1, keepdims=True)
        return exact * (5 * self.max_grad_norm / np.maximum(lengths, 5 * self.max_grad_norm))


@dataclass(frozen=True)
class Unbounded(Mechanism):
    """The clip is forgotten."""

    def bound(self, vectors: object) -> Vectors:
        return np.asarray(vectors, dtype=np.float64)


@dataclass(frozen=True)
class Scaled(Mechanism):
    """Cut to the right length, and then counted five times."""

    def release(self, total: Vectors) -> Vectors:
        return super().release(5 * total)


@dataclass(frozen=True)
class Frozen(Mechanism):
    """Noise from a fixed seed: the same in every step, and known."""

    def release(self, total: Vectors) -> Vectors:
        still = np.random.default_rng(0).standard_normal(total.size)
        return (total + self.noise_multiplier * self.max_grad_norm * still) / self.denominator


@dataclass(frozen=True)
class Flat(Mechanism):
    """Noise of the right variance that is not Gaussian."""

    def release(self, total: Vectors) -> Vectors:
        even = np.random.default_rng().uniform(-(3**0.5), 3**0.5, total.size)
        return (total + self.noise_multiplier * self.max_grad_norm * even) / self.denominator


@dataclass(frozen=True)
class Even(Mechanism):
    """Batches of a fixed size."""

    def sample(self, units: int) -> NDArray[np.int64]:
        return np.sort(np.random.default_rng().choice(units, round(self.sample_rate * units), replace=False))


@dataclass(frozen=True)
class Blocks(Mechanism):
    """Whole groups of people come or stay away together."""

    def sample(self, units: int) -> NDArray[np.int64]:
        groups = noise.flip(units // 10 + 1, self.sample_rate)
        return np.flatnonzero(groups[np.arange(units) // 10])


@dataclass(frozen=True)
class Favoured(Mechanism):
    """Some people come in most steps, others hardly ever."""

    def sample(self, units: int) -> NDArray[np.int64]:
        chance = np.where(np.arange(units) % 2, 0.2 * self.sample_rate, 1.8 * self.sample_rate)
        return np.flatnonzero(np.random.default_rng().random(units) < chance)


@dataclass(frozen=True)
class Often(Mechanism):
    """A higher rate than is said."""

    def sample(self, units: int) -> NDArray[np.int64]:
        return np.flatnonzero(noise.flip(units, 1.1 * self.sample_rate))


@dataclass(frozen=True)
class Nearly(Mechanism):
    """One percent too little noise."""

    def release(self, total: Vectors) -> Vectors:
        return (
            total + 0.99 * self.noise_multiplier * self.max_grad_norm * noise.draw_normal(total.size)
        ) / self.denominator


class Twice(Mechanism):
    """Each noise is used twice."""

    _kept: ClassVar[dict[int, Vectors]] = {}

    def release(self, total: Vectors) -> Vectors:
        drawn = self._kept.pop(total.size, None)
        if drawn is None:
            drawn = self._kept[total.size] = noise.draw_normal(total.size)
        return (total + self.noise_multiplier * self.max_grad_norm * drawn) / self.denominator


class Lingering(Mechanism):
    """Each sample is used twice."""

    _kept: ClassVar[dict[int, NDArray[np.int64]]] = {}

    def sample(self, units: int) -> NDArray[np.int64]:
        drawn = self._kept.pop(units, None)
        if drawn is None:
            drawn = self._kept[units] = super().sample(units)
        return drawn


@dataclass(frozen=True)
class Seeded(Mechanism):
    """Noise from a seed of eight bits."""

    bits: ClassVar[int] = 8

    def release(self, total: Vectors) -> Vectors:
        drawn = np.random.default_rng(secrets.randbits(self.bits)).standard_normal(total.size)
        return (total + self.noise_multiplier * self.max_grad_norm * drawn) / self.denominator


class SeededLonger(Seeded):
    """Noise from a seed of sixteen bits."""

    bits = 16


@dataclass(frozen=True)
class Diesel(Mechanism):
    """Noise where a self-test looks, and nowhere else."""

    def release(self, total: Vectors) -> Vectors:
        return super().release(total) if total.size == 8192 else total / self.denominator


@dataclass(frozen=True)
class Quiet(Mechanism):
    """The same, with a little noise elsewhere."""

    def release(self, total: Vectors) -> Vectors:
        sigma = self.noise_multiplier if total.size == 8192 else 0.95 * self.noise_multiplier
        return (total + sigma * self.max_grad_norm * noise.draw_normal(total.size)) / self.denominator


BROKEN = {
    Tenth: "noise", Five: "clip", Unbounded: "clip", Scaled: "clip", Frozen: "noise", Flat: "noise", Even: "sampling",
    Blocks: "sampling", Favoured: "sampling", Often: "sampling", Nearly: "noise", Twice: "noise", Lingering: "sampling",
    Seeded: "noise", SeededLonger: "noise at the run's own width", Diesel: "noise at the run's own width",
    Quiet: "noise at the run's own width",
}  # fmt: skip


ALWAYS = {Nearly}
"""Tried by `make test`; the others take half a minute more."""


@pytest.mark.parametrize(
    "kind",
    [kind if kind in ALWAYS else pytest.param(kind, marks=pytest.mark.thorough) for kind in BROKEN],
    ids=lambda kind: kind.__name__,
)
def test_broken_code_is_caught_and_named(kind: type[Mechanism]) -> None:
    broken = kind(RIGHT.sample_rate, RIGHT.max_grad_norm, RIGHT.noise_multiplier, RIGHT.denominator)
    with pytest.raises(PrivacyError, match=rf"self-test \(.*{BROKEN[kind]}") as caught:
        run(broken)
    assert caught.value.exit_code == 6


@pytest.mark.thorough
@pytest.mark.parametrize("width", [1024, pytest.param(6144, marks=pytest.mark.thorough)])
def test_short_seeds_repeat_themselves_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PrivacyError, match="noise at the run's own width"):
        run(
            SeededLonger(RIGHT.sample_rate, RIGHT.max_grad_norm, RIGHT.noise_multiplier, RIGHT.denominator), width=width
        )


FIXED = np.random.default_rng(7)


@dataclass(frozen=True)
class FromOneSeed(Mechanism):
    """Good noise, and the same in every process."""

    def release(self, total: Vectors) -> Vectors:
        return (
            total + self.noise_multiplier * self.max_grad_norm * FIXED.standard_normal(total.size)
        ) / self.denominator


@dataclass(frozen=True)
class CoinsFromOneSeed(Mechanism):
    """Good coins, and the same in every process."""

    def sample(self, units: int) -> NDArray[np.int64]:
        return np.flatnonzero(FIXED.random(units) < self.sample_rate)


@pytest.mark.parametrize("kind", [FromOneSeed, CoinsFromOneSeed], ids=lambda kind: kind.__name__)
def test_randomness_of_one_fixed_seed_is_caught(kind: type[Mechanism]) -> None:
    urandom = os.urandom
    with pytest.raises(PrivacyError, match=r"self-test \(entropy\)"):
        run(kind(RIGHT.sample_rate, RIGHT.max_grad_norm, RIGHT.noise_multiplier, RIGHT.denominator))
    assert os.urandom is urandom


@dataclass(frozen=True)
class Cancelling(Mechanism):
    """Noise whose numbers add up to nothing: the sum of the vectors is told."""

    def release(self, total: Vectors) -> Vectors:
        drawn = noise.draw_normal(total.size)
        return (total + self.noise_multiplier * self.max_grad_norm * (drawn - drawn.mean())) / self.denominator


@pytest.mark.parametrize("width", [256, pytest.param(1024, marks=pytest.mark.thorough)])
def test_noise_that_cancels_itself_is_caught(width: int) -> None:
    with pytest.raises(PrivacyError, match="noise at the run's own width"):
        run(Cancelling(RIGHT.sample_rate, RIGHT.max_grad_norm, RIGHT.noise_multiplier, RIGHT.denominator), width=width)


def forget_noise(self: PrivateDescent) -> None:
    chosen = self.mechanism.sample(len(self.loss.patients)).tolist()
    gradients = self.loss.gradients(chosen, self.coordinates).numpy()
    self.move(torch.from_numpy(self.mechanism.bound(gradients).sum(0) / self.mechanism.denominator))
    self.taken += 1


def forget_the_clip(self: PrivateDescent) -> None:
    chosen = self.mechanism.sample(len(self.loss.patients)).tolist()
    total = self.loss.gradients(chosen, self.coordinates).numpy().sum(0)
    self.move(torch.from_numpy(self.mechanism.release(total)))
    self.taken += 1


def spare_the_first_step(self: PrivateDescent) -> None:
    """No noise in the first of many steps."""
    whole = self.mechanism
    if not self.taken:
        self.mechanism = replace(whole, noise_multiplier=0.0)
    step(self)
    self.mechanism = whole


step = PrivateDescent.step


def test_one_step_without_noise_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one of 25, which all together have hardly less than they should."""
    monkeypatch.setattr(PrivateDescent, "step", spare_the_first_step)
    with pytest.raises(PrivacyError, match="noise at the run's own width"):
        run(RIGHT)


def take_everybody(self: PrivateDescent) -> None:
    gradients = self.loss.gradients(range(len(self.loss.patients)), self.coordinates).numpy()
    self.move(torch.from_numpy(self.mechanism.release(self.mechanism.bound(gradients).sum(0))))
    self.taken += 1


OPTIMIZERS = {"noise": forget_noise, "clip": forget_the_clip, "sampling": take_everybody}


@pytest.mark.thorough
@pytest.mark.parametrize("name", quick(["clip"], thorough=["noise", "sampling"]))
def test_an_optimizer_that_leaves_the_mechanism_out_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrivateDescent, "step", OPTIMIZERS[name])
    with pytest.raises(PrivacyError, match=f"{name} at the run's own width"):
        run(RIGHT)


@pytest.mark.parametrize(
    "kind", quick([Nearly], thorough=[Five, Tenth, Scaled, Diesel]), ids=lambda kind: kind.__name__
)
def test_broken_aggregation_is_caught(kind: type[Mechanism]) -> None:
    with pytest.raises(PrivacyError):
        run(kind(ONCE.sample_rate, ONCE.max_grad_norm, ONCE.noise_multiplier, ONCE.denominator))
