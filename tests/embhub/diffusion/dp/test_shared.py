"""Sites that learn together: the same rows at all of them, and the noise that the claim counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from embhub.diffusion.dp.dpsgd import MOMENTUM, PrivateDescent
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.selftest_runs import MadeUp, draw_directions
from embhub.diffusion.dp.settings import _SGD
from embhub.diffusion.dp.shared import SharedDescent
from embhub.diffusion.training.schedule import pace
from embhub.privacy.calibration import calibrate_share
from embhub.privacy.studies import StudyNoise
from embhub.study.grid import CLIP_UNITS, Grid
from embhub.study.rehearsal import Missing, Rehearsal
from embhub.study.wire import StudyStepError
from tests.support.studies import keys_of, step_of

CLIP, WIDTH, STEPS = 1e-3, 64, 12
RECIPE = replace(_SGD, steps=STEPS)
VARIANCE = calibrate_share(epsilon=4.0, delta=1e-5, q=0.2, steps=STEPS, sites=5, dropouts=1, clip_units=CLIP_UNITS)
MECHANISM = Mechanism(sample_rate=0.2, max_grad_norm=CLIP, noise_multiplier=1.0, denominator=16)
KEYS = keys_of(5)


def sites(people: int, *, rate: float = 0.2, variance: int = VARIANCE) -> dict[str, SharedDescent]:
    """Five sites with made-up people of their own."""
    directions, found = draw_directions(people, WIDTH), {}
    for number, site in enumerate(KEYS):
        made_up = MadeUp(directions, RECIPE, length=2 * CLIP)
        made_up.patients = np.arange(number, people, 5)
        mechanism = replace(MECHANISM, sample_rate=rate)
        found[site] = SharedDescent(made_up, mechanism, RECIPE, Grid(CLIP, CLIP_UNITS, variance))
    return found


def together(descents: Mapping[str, SharedDescent], number: int, missing: Missing | None = None) -> Any:
    """One step of all sites; the sum they read."""
    state = {site: descent.digest() for site, descent in descents.items()}
    step = step_of(KEYS, dropouts=1, width=WIDTH, number=number)
    total = Rehearsal(step, KEYS, state, lambda site: descents[site].contribute(), missing).run()
    for descent in descents.values():
        descent.follow(total)
    return total


def test_all_sites_have_the_same_rows_bit_for_bit_whoever_was_missing() -> None:
    descents = sites(40)
    for number in range(STEPS):
        together(descents, number, {"mask": [list(KEYS)[number % 5]]} if number % 3 else None)
        rows = {descent.coordinates.numpy().tobytes() for descent in descents.values()}
        assert len(rows) == 1 and len({descent.digest() for descent in descents.values()}) == 1
    assert descents["site-01"].coordinates.abs().max() > 0


def test_a_site_that_was_shown_another_sum_ends_the_study() -> None:
    descents = sites(10)
    total = together(descents, 1)
    other = total.copy()
    other[0] += 1
    descents["site-03"].follow(other)
    for site in set(KEYS) - {"site-03"}:
        descents[site].follow(total)
    with pytest.raises(StudyStepError, match="shown different sums"):
        together(descents, 2)


def test_the_sum_is_that_of_everybody_within_the_rounding() -> None:
    """With everybody sampled, and noise of next to nothing."""
    descents = sites(25, rate=1.0, variance=16)
    total = together(descents, 1).view(np.int32)
    everybody = sum(
        MECHANISM.bound(descent._descent.loss.gradients(range(5), torch.zeros(WIDTH)).numpy()).sum(0)
        for descent in descents.values()
    )
    assert np.abs(total - everybody / CLIP * CLIP_UNITS).max() <= 25 + 6 * math.sqrt(5 * 16)


@pytest.mark.parametrize("missing", [0, 1])
def test_the_noise_on_a_sum_is_at_least_what_the_claim_counts(missing: int) -> None:
    noise = StudyNoise(5, 1, 0, CLIP_UNITS, VARIANCE, WIDTH, 0.2, STEPS)
    descents = sites(0)
    lost: Missing | None = {"begin": ["site-02"]} if missing else None
    sums = np.array([together(descents, number, lost).view(np.int32) for number in range(30)]).ravel() / CLIP_UNITS
    counted = noise.against_outsiders.sigma * math.sqrt((5 - missing) / 4)
    energy = float((sums**2).sum()) / counted**2
    assert 1e-6 < stats.chi2.cdf(energy, sums.size) < 1 - 1e-6
    assert stats.kstest(sums / counted, "norm").pvalue > 1e-6


def test_what_colluders_see_of_a_patient_has_the_noise_that_the_second_figure_counts() -> None:
    """One site colludes with the coordinator, who leaves one more out: a canary patient's coins, read off the sums."""
    noise = StudyNoise(5, 1, 1, CLIP_UNITS, VARIANCE, WIDTH, 1.0, 1)
    canary = np.zeros((1, WIDTH))
    canary[0, 0] = CLIP
    grid, random = Grid(CLIP, CLIP_UNITS, VARIANCE), np.random.default_rng()
    present = random.random(4000) < 0.5
    read = []
    for there in present:
        own = [grid.protect(grid.round(canary)[0] * int(there and site == 0)) for site in range(4)]
        total = np.add.reduce(own, dtype=np.uint32) - own[3]  # whose noise it knows; the fifth site is left out
        read.append(total.view(np.int32)[0] / CLIP_UNITS)
    seen = np.array(read) - present
    spread = float(seen.std())
    assert spread == pytest.approx(noise.against_sites.sigma, rel=0.05)
    assert spread < 0.95 * noise.against_outsiders.sigma
    guessed = np.array(read) > 0.5
    right = stats.norm.cdf(0.5 / noise.against_sites.sigma)
    assert 1e-6 < stats.binom.cdf(int((guessed == present).sum()), 4000, right) < 1 - 1e-6


def test_each_site_samples_by_coins_of_its_own() -> None:
    descents, came = sites(1000), []
    for descent in descents.values():
        descent.contribute()
        came.append(len(descent._descent.loss.take()))  # type: ignore[attr-defined]
    assert len(set(came)) > 1 and 1e-6 < stats.binom.cdf(sum(came), 1000, 0.2) < 1 - 1e-6


def test_nobody_came_looks_like_any_other_step() -> None:
    descent = sites(0)["site-01"]
    first, second = descent.contribute(), descent.contribute()
    assert (first != second).any() and first.shape == (WIDTH,)


def test_a_grid_with_another_clip_than_the_mechanism_is_refused() -> None:
    made_up = MadeUp(draw_directions(3, WIDTH), RECIPE, length=1.0)
    with pytest.raises(ValueError, match="clip"):
        SharedDescent(made_up, MECHANISM, RECIPE, Grid(2 * CLIP, CLIP_UNITS, VARIANCE))


def test_momentum_is_that_of_torch() -> None:
    made_up = MadeUp(draw_directions(3, WIDTH), RECIPE, length=1.0)
    descent = PrivateDescent(made_up, MECHANISM, RECIPE)
    theirs = torch.zeros(WIDTH, dtype=torch.float64)
    optimizer = torch.optim.SGD([theirs], lr=1.0, momentum=MOMENTUM)
    for number in range(STEPS):
        mean = torch.randn(WIDTH, dtype=torch.float64) * CLIP
        optimizer.param_groups[0]["lr"] = RECIPE.learning_rate * pace(number, STEPS, RECIPE.warm_up)
        theirs.grad = mean / CLIP
        optimizer.step()
        descent.move(mean)
        assert torch.allclose(descent.coordinates, theirs, rtol=1e-9, atol=1e-9)


def test_a_training_goes_on_from_its_state() -> None:
    made_up = MadeUp(draw_directions(3, WIDTH), RECIPE, length=1.0)
    first, second = (PrivateDescent(made_up, MECHANISM, RECIPE) for _ in range(2))
    means = [torch.randn(WIDTH, dtype=torch.float64) * CLIP for _ in range(4)]
    for mean in means[:2]:
        first.move(mean)
    second.restore(first.state(), first.taken)
    for mean in means[2:]:
        first.move(mean)
        second.move(mean)
    assert torch.equal(first.coordinates, second.coordinates)
