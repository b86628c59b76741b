"""Attacks on losses whose truth is known, and the paired measurement that feeds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embhub.audits import statistics
from embhub.diffusion.attacks import evidence as attacks
from embhub.diffusion.attacks import shadows
from embhub.diffusion.attacks.blind_baseline import score_blindly
from embhub.diffusion.attacks.evidence import Evidence
from embhub.diffusion.attacks.losses import score_by_difference, score_by_lira, score_by_loss
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.rows import Rows
from tests.support import pipelines
from tests.support.separate_references import balance_coins

CAPTION, TOKEN = "mri, {}", "<a>"


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("base")
    return load_pipeline(pipelines.write(folder, prediction="v_prediction"), device="cpu")


@pytest.fixture(scope="module")
def latents(pipe: Any) -> torch.Tensor:
    images = torch.rand(5, 3, pipelines.RESOLUTION, pipelines.RESOLUTION, generator=torch.Generator().manual_seed(0))
    return inversion.encode_images(pipe, images * 2 - 1)


def rows(seed: int = 0) -> dict[str, torch.Tensor]:
    return {"text_encoder": torch.randn(2, pipelines.WIDTH, generator=torch.Generator().manual_seed(seed))}


def test_draws_are_stratified_and_seeded(pipe: Any, latents: torch.Tensor) -> None:
    draws = attacks.draw(pipe, latents.shape[1:], count=16, seed=3)
    assert [int(time) * 16 // 1000 for time in draws.timesteps] == list(range(16))
    again, other = (attacks.draw(pipe, latents.shape[1:], count=16, seed=seed) for seed in (3, 4))
    assert torch.equal(draws.noise, again.noise)
    assert not torch.equal(draws.noise, other.noise)


def test_an_image_s_loss_does_not_depend_on_its_company(
    pipe: Any, latents: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = attacks.draw(pipe, latents.shape[1:], count=3)
    together = attacks.measure_losses(pipe, latents, draws, caption=CAPTION, token=TOKEN, rows=rows())
    alone = attacks.measure_losses(pipe, latents[2:3], draws, caption=CAPTION, token=TOKEN, rows=rows())
    monkeypatch.setattr(attacks, "BATCH", 2)
    calls: list[None] = []
    parts = attacks.measure_losses(
        pipe, latents, draws, caption=CAPTION, token=TOKEN, rows=rows(), on_batch=lambda: calls.append(None)
    )
    assert together.shape == (5, 3)
    torch.testing.assert_close(together[2:3], alone, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(together, parts, atol=1e-6, rtol=1e-5)
    assert len(calls) == 9


def test_losses_without_rows_are_those_of_the_other_words(pipe: Any, latents: torch.Tensor) -> None:
    draws = attacks.draw(pipe, latents.shape[1:], count=2)
    plain = attacks.measure_losses(pipe, latents, draws, caption=CAPTION, token=TOKEN, rows=None)
    words = attacks.measure_losses(pipe, latents, draws, caption="mri", token=TOKEN, rows=None)
    other = attacks.measure_losses(pipe, latents, draws, caption=CAPTION, token=TOKEN, rows=rows())
    assert torch.equal(plain, words)
    assert not torch.equal(plain, other)


def test_measuring_leaves_the_pipeline_as_it_was(pipe: Any, latents: torch.Tensor) -> None:
    tokenizer = pipe.tokenizer
    draws = attacks.draw(pipe, latents.shape[1:], count=1)
    attacks.measure_losses(pipe, latents, draws, caption=CAPTION, token=TOKEN, rows=rows())
    assert pipe.tokenizer is tokenizer
    assert not [module for module in pipe.text_encoder.modules() if module._forward_hooks]
    Rows(pipe, TOKEN, rows())  # the token is still free


def test_paired_draws_find_what_independent_ones_miss() -> None:
    """A member's loss is lower by 0.02; draws differ by 1: only the same draws for both show it."""
    generator = torch.Generator().manual_seed(0)
    hardness = torch.randn(200, 1, generator=generator).double() * 0.5
    inside = torch.arange(200) < 100
    shared = torch.randn(1, 16, generator=generator).double()

    def losses(gain: float, noise: torch.Tensor) -> torch.Tensor:
        own = 0.02 * torch.randn(200, 16, generator=generator).double()
        return 2 + hardness + noise + own - gain * inside[:, None].double()

    paired = score_by_difference(Evidence(losses(0.02, shared), losses(0, shared)))
    noise = torch.randn(2, 200, 16, generator=generator).double()
    unpaired = score_by_difference(Evidence(losses(0.02, noise[0]), losses(0, noise[1])))
    assert statistics.auc(paired[inside], paired[~inside]) > 0.9
    assert statistics.auc(unpaired[inside], unpaired[~inside]) < 0.65


def test_loss_attack_is_blurred_by_hardness_and_lira_is_not() -> None:
    generator = torch.Generator().manual_seed(1)
    images, references = 120, 8
    hardness = torch.randn(images, 1, generator=generator).double()
    flips = torch.from_numpy(balance_coins(references, images, seed=0))

    def losses(inside: torch.Tensor) -> torch.Tensor:
        noise = 0.05 * torch.randn(*inside.shape, 16, generator=generator).double()
        return 3 + hardness + noise - 0.03 * inside[..., None].double()

    inside = torch.rand(images, generator=generator) < 0.5
    evidence = Evidence(losses(inside), losses(torch.zeros(images)), losses(flips), ~flips)
    scores = {attack.__name__: attack(evidence) for attack in (score_by_loss, score_by_lira)}
    areas = {name: statistics.auc(values[inside], values[~inside]) for name, values in scores.items()}
    assert areas["score_by_loss"] < 0.65
    assert areas["score_by_lira"] > 0.9


def test_lira_is_in_standard_deviations_of_the_references_without_the_image() -> None:
    references = torch.tensor([[[1.0], [5.0]], [[3.0], [7.0]], [[100.0], [9.0]]]).double()
    unseen = torch.tensor([[True, True], [True, True], [False, True]])
    target = torch.tensor([[2.0], [4.0]]).double()
    spread = np.sqrt((1 + 1 + 4 + 0 + 4) / 3)  # five references about two means
    expected = [(2 - 2) / spread, (7 - 4) / spread]
    assert score_by_lira(Evidence(target, target, references, unseen)).tolist() == pytest.approx(expected)


def test_lira_compares_an_image_that_every_reference_saw_as_if_some_had_not() -> None:
    """The first two images gain 2 from being seen; the third was seen by both references, at 6 and 4."""
    references = torch.tensor([[[1.0], [5.0], [6.0]], [[3.0], [3.0], [4.0]]]).double()
    unseen = torch.tensor([[False, True, False], [True, False, False]])
    target = torch.tensor([[3.0], [5.0], [7.0]]).double()
    found = score_by_lira(Evidence(target, target, references, unseen))
    assert found.tolist() == [0.0, 0.0, 0.0]


def test_lira_refuses_references_that_saw_everything() -> None:
    table = torch.zeros(2, 3).double()
    with pytest.raises(ValueError, match="every reference"):
        score_by_lira(Evidence(table, table, torch.zeros(2, 2, 3), torch.zeros(2, 2, dtype=torch.bool)))
    with pytest.raises(ValueError, match="needs reference"):
        score_by_lira(Evidence(table, table))


def test_coins_of_shadows_are_fair_and_independent() -> None:
    coins = shadows.flip_coins(200, 50, seed=1)
    assert 0.47 < coins.mean() < 0.53
    assert coins.sum(0).std() > 4  # independent coins, not balanced ones
    assert not np.array_equal(shadows.flip_coins(8, 50, seed=1), shadows.flip_coins(8, 50, seed=2))


def images_of(count: int, shade: float, seed: int) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) - 0.5 + shade


def test_blind_baseline_sees_another_scanner_and_nothing_in_one() -> None:
    inside = np.arange(120) < 60
    units = [f"p{index // 2}" for index in range(120)]
    other = torch.cat([images_of(60, 0.0, 1), images_of(60, 0.05, 2)])
    scores = score_blindly(other, inside, units, seed=0)
    assert statistics.auc(scores[inside], scores[~inside]) > 0.9
    areas = []
    for seed in range(12):
        scores = score_blindly(images_of(120, 0.0, 100 + seed), inside, units, seed=seed)
        areas.append(statistics.auc(scores[inside], scores[~inside]))
    assert 0.4 < np.mean(areas) < 0.57


def test_blind_baseline_never_scores_a_patient_that_it_learned_from() -> None:
    """Ten images of each patient are equal but for the patient: seen, they would be told apart perfectly."""
    units = [f"p{index // 10}" for index in range(200)]
    inside = np.array([index // 10 % 2 == 0 for index in range(200)])
    own = torch.randn(20, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    scores = score_blindly(own.repeat_interleave(10, 0), inside, units, seed=0)
    assert statistics.auc(scores[inside], scores[~inside]) < 0.8
