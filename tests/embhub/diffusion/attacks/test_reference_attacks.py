"""Attacks beside references, where it is known who leaks, and where nobody does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embhub.audits import statistics
from embhub.diffusion.attacks import WITH_REFERENCES
from embhub.diffusion.attacks.evidence import Evidence
from embhub.diffusion.attacks.losses import score_by_lira, score_by_loss
from embhub.diffusion.attacks.references import (
    score_by_dataset_inference,
    score_by_online_lira,
    score_by_relative_likelihood,
)
from embhub.diffusion.attacks.shadows import flip_coins
from tests.support.separate_references import balance_coins

IMAGES, DRAWS, EACH = 80, 8, 6
ATTACKS = pytest.mark.parametrize("attack", WITH_REFERENCES.values(), ids=list(WITH_REFERENCES))


def make(leak: float, seed: int, *, images: int = IMAGES, each: int = EACH) -> tuple[Evidence, torch.Tensor]:
    """Losses of a file and of references that fit what they saw better by `leak`, and who was in the file."""
    generator = torch.Generator().manual_seed(seed)
    hardness = torch.randn(images, DRAWS, generator=generator).double() + torch.linspace(1, 5, DRAWS).double()

    def losses(inside: torch.Tensor) -> torch.Tensor:
        shift = 0.2 * torch.randn(*inside.shape[:-1], 1, 1, generator=generator).double()
        noise = 0.1 * torch.randn(*inside.shape, DRAWS, generator=generator).double()
        return hardness + shift + noise - leak * inside[..., None].double()

    coins = np.concatenate([balance_coins(each, images, seed=seed), flip_coins(each, images, seed=seed)])
    inside = torch.rand(images, generator=generator) < 0.5
    flips = torch.from_numpy(coins)
    return Evidence(losses(inside), losses(torch.zeros(images)), losses(flips), ~flips), inside


def area(scores: torch.Tensor, inside: torch.Tensor) -> float:
    return statistics.auc(scores[inside], scores[~inside])


@ATTACKS
def test_members_are_found_where_losses_tell(attack: Callable[[Evidence], torch.Tensor]) -> None:
    evidence, inside = make(0.08, 0)
    scores = attack(evidence)
    assert (scores.shape, scores.dtype) == ((IMAGES,), torch.float64)
    assert area(scores, inside) > 0.85
    assert area(score_by_loss(evidence), inside) < 0.65


@pytest.mark.thorough
@ATTACKS
def test_alarms_without_a_leak_are_as_rare_as_the_test_says(attack: Callable[[Evidence], torch.Tensor]) -> None:
    """300 files that remember nobody: at 5 % a look, 15 alarms are expected, and 28 are one chance in a thousand."""
    alarms, areas = 0, []
    for seed in range(300):
        evidence, inside = make(0.0, seed, images=24, each=2)
        scores = attack(evidence)
        areas.append(area(scores, inside))
        alarms += statistics.p_value(scores[inside], scores[~inside]) <= 0.05
    assert alarms <= 28
    assert np.mean(areas) == pytest.approx(0.5, abs=0.03)


@ATTACKS
def test_labels_that_are_dealt_anew_are_not_found(attack: Callable[[Evidence], torch.Tensor]) -> None:
    """No score depends on who was in the file, so a strong leak does not help to guess other coins."""
    evidence, inside = make(0.3, 1)
    scores = attack(evidence)
    generator = torch.Generator().manual_seed(0)
    dealt = [inside[torch.randperm(IMAGES, generator=generator)] for _ in range(200)]
    areas = [area(scores, labels) for labels in dealt]
    assert area(scores, inside) > 0.99
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)


@ATTACKS
def test_a_file_that_draws_everything_better_is_scored_alike(attack: Callable[[Evidence], torch.Tensor]) -> None:
    evidence, _ = make(0.1, 2)
    better = replace(evidence, with_rows=evidence.with_rows - 3.0)
    torch.testing.assert_close(attack(better), attack(evidence), rtol=1e-6, atol=1e-6)


@ATTACKS
def test_references_are_needed(attack: Callable[[Evidence], torch.Tensor]) -> None:
    table = torch.zeros(4, 2).double()
    with pytest.raises(ValueError, match="needs reference"):
        attack(Evidence(table, table))


def test_relative_likelihood_is_the_share_of_images_dominated() -> None:
    references = torch.tensor([[[4.0], [4.0], [4.0]], [[2.0], [4.0], [6.0]]]).double()
    unseen = torch.tensor([[True, True, True], [False, True, False]])
    losses = torch.tensor([[1.0], [2.0], [5.0]]).double()  # expected 3, 4, 5: gains of 2, 2, 0
    scores = score_by_relative_likelihood(Evidence(losses, losses, references, unseen))
    assert scores.tolist() == [1.0, 1.0, 0.0]


def test_one_reference_is_enough_for_relative_likelihood() -> None:
    evidence, inside = make(0.2, 3)
    assert evidence.references is not None and evidence.unseen is not None
    alone = replace(evidence, references=evidence.references[:1], unseen=evidence.unseen[:1])
    # Half of the images were seen by it: they are scored beside a reference that remembers them.
    seen = ~alone.unseen[0] if alone.unseen is not None else inside
    scores = score_by_relative_likelihood(alone)
    assert torch.isfinite(scores).all()
    assert area(scores[~seen], inside[~seen]) > 0.8


def test_online_lira_uses_those_that_saw_the_image() -> None:
    """Some images are remembered and others cannot be: only references that saw them tell which."""
    found = []
    for seed in range(10):
        evidence, inside = make(0.0, seed, images=200, each=16)
        assert evidence.references is not None and evidence.unseen is not None
        leak = torch.where(torch.arange(200) % 4 == 0, 0.3, 0.0).double()[:, None]
        told = replace(
            evidence,
            with_rows=evidence.with_rows - leak * inside[:, None],
            references=evidence.references - leak * (~evidence.unseen)[..., None],
        )
        found.append((area(score_by_online_lira(told), inside), area(score_by_lira(told), inside)))
    online, offline = np.mean(found, axis=0)
    assert online > offline
    assert online > 0.6


def test_online_lira_says_what_is_missing() -> None:
    table = torch.zeros(4, 2).double()
    with pytest.raises(ValueError, match="some references saw"):
        score_by_online_lira(Evidence(table, table, torch.zeros(3, 4, 2).double(), torch.ones(3, 4, dtype=torch.bool)))


def test_dataset_inference_learns_at_which_timesteps_a_leak_shows() -> None:
    """The leak is at one draw of eight, where losses are small: what averages over draws sees less of it."""
    areas = []
    for seed in range(5):
        evidence, inside = make(0.0, seed, images=120)
        assert evidence.references is not None and evidence.unseen is not None
        leak = 0.15 * (torch.arange(DRAWS) == 2).double()
        told = replace(
            evidence,
            with_rows=evidence.with_rows - leak * inside[:, None, None].double().squeeze(1),
            references=evidence.references - leak * (~evidence.unseen)[..., None].double(),
        )
        areas.append([area(attack(told), inside) for attack in (score_by_dataset_inference, score_by_lira)])
    inference, lira = np.mean(areas, axis=0)
    assert inference > 0.75 > lira


@pytest.mark.thorough
@given(st.integers(2, 5), st.integers(3, 10), st.integers(0, 10_000))
def test_few_patients_and_few_shadows_are_scored_too(each: int, images: int, seed: int) -> None:
    evidence, _ = make(0.1, seed, images=images, each=each)
    for name, attack in WITH_REFERENCES.items():
        scores = attack(evidence)
        assert scores.shape == (images,) and torch.isfinite(scores).all(), name


def test_dataset_inference_needs_three_references() -> None:
    evidence, _ = make(0.0, 0)
    assert evidence.references is not None and evidence.unseen is not None
    with pytest.raises(ValueError, match="three reference"):
        score_by_dataset_inference(replace(evidence, references=evidence.references[:2], unseen=evidence.unseen[:2]))
