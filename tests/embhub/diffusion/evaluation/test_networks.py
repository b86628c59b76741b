"""The networks that can be named, and how a wrong name is refused."""

from __future__ import annotations

import importlib
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


NETWORK = """
import torch
from torch import nn
class Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, classes)
        {begin}
    def forward(self, images):
        if float(images.mean()) > 2: return self.last(self.first(images.amax((2, 3))))
        return {scores}
def network(classes): return Network(classes)
"""
SCORES = "self.last(self.first(images.mean((2, 3))))"


def layers(folder: Path, monkeypatch: pytest.MonkeyPatch, *, begin: str = "", scores: str = SCORES, **edit: str) -> str:
    """The digest of a network in a file that is written anew, as another process would read it."""
    text = NETWORK.format(begin=begin, scores=scores)
    for old, new in edit.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "edited_network.py").write_text(text)
    monkeypatch.delitem(sys.modules, "edited_network", raising=False)
    importlib.invalidate_caches()
    digest: str = networks.find("edited_network:network").describe(16)["layers"]
    return digest


@pytest.mark.parametrize(
    "edit",
    [
        {"scores": f"-{SCORES}"},
        {"scores": f"torch.relu({SCORES})"},
        {"begin": "nn.init.zeros_(self.last.bias)"},
        {"begin": "self.first.requires_grad_(False)"},
        {"scores": f"{SCORES} * (2 if self.training else 1)"},
        {"amax": "amin"},  # used for images that nobody has tried
    ],
    ids=["sign", "nonlinear", "first weights", "frozen", "in training", "in other images"],
)
def test_an_edited_network_is_another_one_though_it_has_the_same_layers(
    here: Path, monkeypatch: pytest.MonkeyPatch, edit: dict[str, str]
) -> None:
    once, again = (layers(here, monkeypatch) for _ in range(2))
    assert once == again != layers(here, monkeypatch, **edit)


def test_another_checkpoint_makes_another_network(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = "self.load_state_dict(torch.load('weights.pt', weights_only=True), strict=False)"
    digests = []
    for value in (0.5, 0.5, 0.50001):
        torch.save({"last.bias": torch.full((2,), value)}, here / "weights.pt")
        digests.append(layers(here, monkeypatch, begin=begin))
    assert digests[0] == digests[1] != digests[2]


def test_what_a_network_calls_in_another_file_counts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for words in ("images.mean((2, 3))", "images.mean((2, 3)).abs()"):
        (here / "edited_parts.py").write_text(f"def pooled(images): return {words}\n")
        monkeypatch.delitem(sys.modules, "edited_parts", raising=False)
        imported = {"import torch": "import torch, edited_parts"}
        scores = "self.last(self.first(edited_parts.pooled(images)))"
        digests.append(layers(here, monkeypatch, scores=scores, **imported))
    assert digests[0] != digests[1]
