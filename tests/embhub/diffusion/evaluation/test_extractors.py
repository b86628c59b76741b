"""Features of a site's own function: found, used, and refused in words where they are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embhub.diffusion.evaluation import extractors, networks
from embhub.errors import UsageError

FACTORIES = """
import torch
from torch import nn
def means(): return lambda images: images.mean((2, 3))
def network(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
def arrays(): return lambda images: images.mean((2, 3)).numpy()
def flat(): return lambda images: images.mean()
def maps(): return lambda images: images
def endless(): return lambda images: images.mean((2, 3)) / 0
def words(): return lambda images: "many"
def hungry(): return nn.Linear(7, 2)
def broken(): raise OSError("no weights in that folder")
def nothing(): return None
def needy(classes): return None
def constant(): return lambda images: torch.ones(len(images), 3)
def convolutions(classes): return nn.Sequential(nn.Conv2d(3, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
def line(classes): return nn.Sequential(nn.Flatten(), nn.Linear(768, classes))
class Aside(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.scores, self.aside = nn.Conv2d(3, classes, 16), nn.Linear(3, 3)
    def forward(self, images): return self.scores(images).flatten(1)
def aside(classes): return Aside(classes)
class Twice(nn.Module):
    def __init__(self, classes): super().__init__(); self.last = nn.Linear(3, classes)
    def forward(self, images): return self.last(images.mean((2, 3))) + self.last(images.amax((2, 3)))
def twice(classes): return Twice(classes)
number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site_features.py").write_text(FACTORIES)
    (tmp_path / "site_broken.py").write_text("raise RuntimeError('no GPU here')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "width"), [("means", 3), ("network", 4), ("arrays", 3)])
def test_a_function_or_a_network_of_the_site_gives_features(here: Path, name: str, width: int) -> None:
    extract = extractors.find(f"site_features:{name}", 16)
    images = np.random.default_rng(0).integers(0, 255, (70, 16, 16, 3), dtype=np.uint8)
    found = extract(images)
    assert found.shape == (70, width)
    if name == "means":  # in [-1, 1], colours first
        assert np.allclose(found.numpy(), images.astype(float).mean((1, 2)) / 127.5 - 1, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("means", "no feature extractor is called means"),
        ("nowhere:means", "cannot find the feature extractor"),
        ("site_features:absent", "cannot find the feature extractor"),
        ("site_features:number", "cannot be called"),
        ("site_features:flat", r"features of shape \(\) for 2 images"),
        ("site_features:maps", r"features of shape \(2, 3, 16, 16\)"),
        ("site_features:endless", "not finite"),
        ("site_features:constant", "the same features for different images"),
        ("site_features:words", r"does not take images of \(16, 16\) pixels"),
        ("site_features:hungry", r"does not take images of \(16, 16\) pixels"),
        ("site_features:broken", "no weights in that folder"),
        ("site_features:nothing", "returned NoneType"),
        ("site_features:needy", "missing 1 required"),
        ("site_broken:means", "cannot be imported: RuntimeError: no GPU here"),
    ],
)
def test_anything_else_is_refused_in_words(here: Path, name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        extractors.find(name, 16)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("convolutions", "no linear layer"), ("aside", "last linear layer"), ("twice", "last linear layer")],
)
def test_a_classifier_without_features_is_refused_before_anything_is_taught(here: Path, name: str, reason: str) -> None:
    learner = networks.find(f"site_features:{name}")
    assert learner.describe(16)
    with pytest.raises(UsageError, match=reason) as refused:
        extractors.check_classifier(learner, 16)
    assert "--features" in refused.value.hint


@pytest.mark.parametrize("name", ["small", "resnet18", "site_features:line"])
def test_features_of_these_classifiers_can_be_taken(here: Path, name: str) -> None:
    extractors.check_classifier(networks.find(name), 16)
