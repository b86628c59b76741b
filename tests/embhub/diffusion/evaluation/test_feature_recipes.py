"""The recipes for `--features` of the examples run as they are, on random weights of the same classes."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

from embhub.diffusion.evaluation import extractors
from embhub.errors import UsageError

EXAMPLE = Path(__file__).parents[4] / "examples/features.py"
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def load_or_skip(name: str) -> Any:
    """A module that is no dependency of ours. A build for another torch raises a RuntimeError."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"{name} is not installed, or does not load: {error}")


def save_clip() -> None:
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**TINY, image_size=32, patch_size=8, projection_dim=12))
    model.half().save_pretrained("clip-vit-base-patch32")  # published folders may hold half precision


def save_resnet() -> None:
    network = load_or_skip("torchvision.models").resnet18(weights=None)
    torch.save(network.state_dict(), "resnet18.pth")


def save_xray() -> None:
    network = load_or_skip("torchxrayvision.models").DenseNet(weights=None)
    torch.save(network.features.state_dict(), "xray-densenet121.pt")


def nothing_to_save() -> None:
    """The recipe has no weights."""


RECIPES = [
    pytest.param("clip", save_clip, 12, id="clip"),
    pytest.param("resnet", save_resnet, 512, id="resnet"),
    pytest.param("XRay", save_xray, 1024, id="xray"),
    pytest.param("small", nothing_to_save, 64, id="small"),
]


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`features.py` of the examples, in an empty working folder, with no network."""
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delitem(sys.modules, "features", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield importlib.import_module("features")
    sys.modules.pop("features", None)


@pytest.mark.parametrize(("name", "save", "width"), RECIPES)
def test_a_recipe_gives_features_that_do_not_depend_on_the_other_images(
    recipes: ModuleType, name: str, save: Callable[[], None], width: int
) -> None:
    save()
    extract = extractors.find(f"features:{name}", 16)
    images = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    found = extract(images)
    assert found.shape == (3, width)
    assert torch.allclose(extract(images[1:2])[0], found[1], rtol=1e-4, atol=1e-5)  # no statistics of a batch


@pytest.mark.parametrize(("name", "save", "width"), RECIPES[:-1])
def test_a_recipe_with_weights_moves_to_the_device_as_a_whole(
    recipes: ModuleType, name: str, save: Callable[[], None], width: int
) -> None:
    """On a GPU a constant that stays behind ends in an error; the device `meta` shows it anywhere."""
    save()
    network = getattr(recipes, name)().to("meta").eval()
    assert network(torch.zeros(2, 3, 16, 16, device="meta")).shape == (2, width)


def test_clip_sees_the_pixels_as_its_authors_prepared_them(recipes: ModuleType) -> None:
    """CLIP's constants, of a grey and a white image, against the model asked directly."""
    save_clip()
    found = extractors.find("features:clip", 32)(np.full((1, 32, 32, 3), 255, np.uint8))
    model = CLIPVisionModelWithProjection.from_pretrained("clip-vit-base-patch32", dtype=torch.float32).eval()
    white = (1 - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor([0.26862954, 0.26130258, 0.27577711])
    with torch.no_grad():
        expected = model(white.view(1, 3, 1, 1).expand(1, 3, 32, 32)).image_embeds
    assert torch.allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(("name", "needed"), [("resnet", "torchvision.models"), ("XRay", "torchxrayvision.models")])
def test_weights_that_are_missing_are_named(recipes: ModuleType, name: str, needed: str) -> None:
    load_or_skip(needed)
    with pytest.raises(UsageError, match=f"features:{name} failed: FileNotFoundError: .*(resnet18|xray-densenet121)"):
        extractors.find(f"features:{name}", 16)


@pytest.mark.parametrize(("name", "save"), [("resnet", save_resnet), ("XRay", save_xray)])
def test_weights_of_another_network_are_refused(recipes: ModuleType, name: str, save: Callable[[], None]) -> None:
    save()
    file = "resnet18.pth" if name == "resnet" else "xray-densenet121.pt"
    torch.save({"weight": torch.zeros(2, 2)}, file)
    with pytest.raises(UsageError, match=f"features:{name} failed: RuntimeError: Error.* in loading state_dict"):
        extractors.find(f"features:{name}", 16)


@pytest.mark.parametrize("name", ["resnet", "XRay"])
def test_a_pickle_that_runs_code_is_not_opened(recipes: ModuleType, name: str) -> None:
    """`weights_only`: a file of weights from elsewhere may not bring a program."""
    (save_resnet if name == "resnet" else save_xray)()
    torch.save(Intruder(), "resnet18.pth" if name == "resnet" else "xray-densenet121.pt")
    with pytest.raises(UsageError, match=f"features:{name} failed: UnpicklingError"):
        extractors.find(f"features:{name}", 16)
    assert not Path("intruded").exists()


class Intruder:
    """Pickled, it makes a folder where it is opened."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("intruded",)


def test_a_folder_that_is_missing_is_named_and_the_hub_is_not_asked(recipes: ModuleType) -> None:
    with pytest.raises(UsageError, match=r"features:clip failed: FileNotFoundError: .*clip-vit-base-patch32"):
        extractors.find("features:clip", 16)


def test_a_text_model_in_that_folder_is_refused(recipes: ModuleType) -> None:
    """transformers warns, and leaves every weight at a random value: features of nothing."""
    text = CLIPTextModelWithProjection(CLIPTextConfig(**TINY, vocab_size=50, projection_dim=12, eos_token_id=2))
    text.save_pretrained("clip-vit-base-patch32")
    with pytest.raises(UsageError, match=r"features:clip failed: ValueError: .* lacks 40 weights of a CLIP"):
        extractors.find("features:clip", 16)


def test_weights_that_are_not_numbers_are_refused(recipes: ModuleType) -> None:
    save_clip()
    model = CLIPVisionModelWithProjection.from_pretrained("clip-vit-base-patch32")
    torch.nn.init.constant_(model.visual_projection.weight, float("nan"))
    model.save_pretrained("clip-vit-base-patch32")
    with pytest.raises(UsageError, match="features:clip gives features that are not finite numbers"):
        extractors.find("features:clip", 16)


def test_features_of_every_patch_are_refused(recipes: ModuleType, tmp_path: Path) -> None:
    """What an edited recipe may return: (N, patches, d) in place of (N, d)."""
    save_clip()
    text = (tmp_path / "features.py").read_text()
    (tmp_path / "patches.py").write_text(text.replace("found.image_embeds", "found.last_hidden_state"))
    try:
        with pytest.raises(UsageError, match=r"patches:clip gives features of shape \(2, 17, 16\) for 2 images"):
            extractors.find("patches:clip", 16)
    finally:
        sys.modules.pop("patches", None)


@pytest.mark.parametrize(("name", "needed"), [("resnet", "torchvision"), ("XRay", "torchxrayvision")])
def test_a_library_that_is_missing_is_named(
    recipes: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, needed: str
) -> None:
    for loaded in [module for module in sys.modules if module.partition(".")[0] == needed]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, needed, None)
    with pytest.raises(UsageError, match=f"features:{name} failed: ModuleNotFoundError: .*{needed}"):
        extractors.find(f"features:{name}", 16)
