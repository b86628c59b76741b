"""The networks that can be named, and how a wrong name is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from embhub.diffusion.evaluation import classifier, networks
from embhub.errors import UsageError


def test_resnet18_is_the_known_one() -> None:
    network = networks.resnet18(1000).eval()
    assert sum(part.numel() for part in network.parameters()) == 11_689_512  # He et al., as in torchvision
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    assert networks.last_layer(network).in_features == 512


@pytest.mark.thorough
def test_resnet18_learns_what_the_small_one_does() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(60, 100, (24, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(24) % 2
    images[labels == 1, :, :16] += 100
    learned = classifier.fit(
        images,
        labels,
        classes=("a", "b"),
        steps=40,
        batch=8,
        mirror=False,
        network=networks.resnet18,
        side=32,
        rate=1e-3,
    )
    assert learned.side == 32
    assert (learned.probabilities(images).argmax(1) == labels).mean() == 1


FACTORIES = """
import torch
from torch import nn
def line(classes): return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, classes))
def vision(*, weights=None, **more): return line(more['num_classes'])
def wide(classes): return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, classes + 1))
def none(*, classes): return None
class Fixed(nn.Module):
    def forward(self, images): return images.mean((2, 3))[:, :2]
def fixed(classes): return Fixed()
def frozen(classes): return line(classes).requires_grad_(False)
class Undefined(nn.Module):
    def __init__(self): super().__init__(); self.last = nn.Linear(3, 2)
    def forward(self, images): return self.last(images.mean((2, 3))) / 0
def undefined(classes): return Undefined()
class Named(nn.Module):
    def __init__(self): super().__init__(); self.last = nn.Linear(3, 2)
    def forward(self, images):
        scores = self.last(images.mean((2, 3)))
        return {'scores': scores} if self.training else scores
def named(classes): return Named()
def absent(classes): return open('no weights here')
number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site_networks.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_factory_of_the_site_is_found_beside_its_images(here: Path) -> None:
    learner = networks.find("site_networks:line", steps=7)
    assert learner.steps == 7 and learner.factory is not None
    about = learner.describe(16)
    assert about["name"] == "site_networks:line" and len(about["layers"]) == 16
    assert about["layers"] != networks.Learner("x", networks.resnet18, 1, 1.0).describe(32)["layers"]
    assert "site_networks" not in sys.path


def test_a_factory_like_torchvisions_takes_the_number_of_classes_by_name(here: Path) -> None:
    assert networks.find("site_networks:vision").describe(16)["name"] == "site_networks:vision"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet50", "no classifier is called resnet50"),
        ("nowhere:line", "cannot find the classifier"),
        ("site_networks:round", "cannot find the classifier"),
        ("site_networks:number", "cannot be called"),
    ],
)
def test_wrong_names_are_refused(here: Path, name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        networks.find(name)


@pytest.mark.parametrize(
    ("name", "side", "reason"),
    [
        ("wide", 16, "scores of shape"),
        ("line", 32, "does not take"),
        ("none", 16, "does not take"),
        ("fixed", 16, "nothing that can be trained"),
        ("frozen", 16, "nothing that can be trained"),
        ("undefined", 16, "scores that are not finite numbers"),
        ("named", 16, "cannot be trained"),
        ("absent", 16, "does not take"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_before_anything_is_taught(
    here: Path, name: str, side: int, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        networks.find(f"site_networks:{name}").describe(side)


def test_features_need_a_linear_layer() -> None:
    with pytest.raises(UsageError, match="no linear layer"):
        networks.last_layer(nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
