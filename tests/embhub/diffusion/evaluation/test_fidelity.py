"""Precision, recall, diversity and the kernel distance, where it is known what they must say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from embhub.diffusion.evaluation import classifier, fidelity


def blobs(count: int, seed: int, low: int = 60, high: int = 180) -> np.ndarray:
    """A bright square of any place and brightness on noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 30, (count, 16, 16, 3)).astype(np.uint8)
    for image in images:
        y, x = rng.integers(0, 10, 2)
        image[y : y + 6, x : x + 6] += np.uint8(rng.integers(low, high))
    return images


@pytest.fixture(scope="module")
def features() -> fidelity.Features:
    images = blobs(40, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 2)
        )
    return fidelity.Features(classifier.Classifier(network, ("a", "b"), True, 16), images)


def test_features_are_what_goes_into_the_last_layer_in_units_of_the_real_spread(features: fidelity.Features) -> None:
    found = features(torch.from_numpy(blobs(40, 1)))
    assert found.shape == (40, 72)
    assert float(found.var(0).mean()) == pytest.approx(1, rel=1e-4)
    assert float(found.mean(0).abs().max()) < 1e-4
    assert not found.requires_grad


def test_real_images_of_others_are_near_and_all_alike_ones_are_precise_and_nothing_else(
    features: fidelity.Features,
) -> None:
    real, others = blobs(60, 2), blobs(60, 3)
    same = np.repeat(real[:3], 20, axis=0)
    rubbish = np.random.default_rng(4).integers(0, 255, (60, 16, 16, 3)).astype(np.uint8)
    found = fidelity.compare(features, {"others": others, "same": same, "rubbish": rubbish}, real)
    assert found["others"].precision > 0.7 < found["others"].recall
    assert found["others"].diversity == pytest.approx(1, abs=0.2)
    assert abs(found["others"].kid) < 4 * found["others"].kid_sd
    assert found["same"].precision == 1
    assert found["same"].recall < 0.2
    assert found["same"].diversity is not None and found["same"].diversity < 0.8
    assert found["rubbish"].precision == 0 == found["rubbish"].recall
    assert found["rubbish"].kid > 20 * abs(found["others"].kid)
    assert all(one.images == 60 and one.subset == 30 for one in found.values())


def test_sides_of_unequal_size_are_brought_to_one_and_too_few_are_left_out(features: fidelity.Features) -> None:
    found = fidelity.compare(features, {"many": blobs(50, 5), "few": blobs(3, 6)}, blobs(12, 7))
    assert set(found) == {"many"}
    assert found["many"].images == 12 and found["many"].subset == 6


def test_the_same_figures_each_time_and_the_callers_chance_untouched(features: fidelity.Features) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = (fidelity.compare(features, {"a": blobs(12, 8)}, blobs(12, 9)) for _ in range(2))
    assert one == two
    assert torch.equal(torch.get_rng_state(), before)


def test_the_kernel_distance_is_the_unbiased_cubic_mmd() -> None:
    """One subset of all images would be Binkowski's estimator itself; the mean over subsets comes close to it."""
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (30, 4, 4, 3)).astype(np.uint8) for _ in range(2)]
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    features = fidelity.Features(classifier.Classifier(network, ("a", "b"), True, 4), images[0])
    found = fidelity.compare(features, {"x": images[1]}, images[0])["x"]
    drawn, real = (features(torch.from_numpy(part)).double() for part in reversed(images))

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a @ b.T / 48 + 1) ** 3

    def within(a: torch.Tensor) -> float:
        full = kernel(a, a)
        return float((full.sum() - full.diagonal().sum()) / (30 * 29))

    exact = within(drawn) + within(real) - 2 * float(kernel(drawn, real).mean())
    assert found.kid == pytest.approx(exact, abs=3 * found.kid_sd / 10 + 1e-3)


def test_the_frechet_distance_is_that_of_torchmetrics() -> None:
    """With more images than features and with fewer; theirs takes the root of a product of covariances."""

    class Flat(nn.Module):
        num_features = 48

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1).float() / 128

    for count in (200, 20):
        rng = np.random.default_rng(count)
        real = torch.from_numpy(rng.integers(0, 200, (count, 3, 4, 4)).astype(np.uint8))
        drawn = torch.from_numpy(rng.integers(40, 255, (count, 3, 4, 4)).astype(np.uint8))
        theirs = FrechetInceptionDistance(feature=Flat()).set_dtype(torch.float64)
        theirs.update(real, real=True)
        theirs.update(drawn, real=False)
        mine = fidelity.frechet_distance(Flat()(drawn), Flat()(real))
        assert mine == pytest.approx(float(theirs.compute()), rel=1e-4)
        assert fidelity.frechet_distance(Flat()(real), Flat()(real)) == pytest.approx(0, abs=1e-6)


def test_reach_is_the_distance_to_the_kth_neighbour() -> None:
    line = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    points = torch.tensor([[-1.9], [-2.1], [4.0], [18.9], [19.1]])
    assert fidelity.share_inside(points, line, neighbours=2) == pytest.approx(3 / 5)


def test_the_diversity_of_images_whose_features_do_not_differ_is_undefined() -> None:
    def constant(images: np.ndarray) -> torch.Tensor:
        return torch.ones(len(images), 3)

    real = blobs(12, 1)
    assert fidelity.compare(fidelity.Features(constant, real), {"x": blobs(12, 2)}, real)["x"].diversity is None
