"""Which network learns: the small one, ResNet-18, a published one that stays as it is, or one of the site's own."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embhub.diffusion.evaluation import classifier, pretrained
from embhub.diffusion.evaluation.cells import Pictures
from embhub.diffusion.evaluation.classifier import Factory
from embhub.errors import UsageError

_HINT = "say small, resnet18, pretrained, or module:factory, a function from the number of classes to a torch.nn.Module"


@dataclass(frozen=True)
class Learner:
    """A network to be taught, and how: `steps` of `batch` images of `side` pixels at an AdamW `rate`.

    Without a `factory` it is the small network, or the published one, which is `frozen` and takes no steps.
    """

    name: str
    factory: Factory | None
    steps: int
    rate: float
    batch: int = 32
    side: int = 64

    @property
    def frozen(self) -> bool:
        """Whether it is the published network."""
        return self.name == pretrained.NAME

    def describe(self, side: int) -> dict[str, Any]:
        """Its name, with a digest of layers, code, first weights and two steps of training.

        A network that was edited has another digest, so that scores of the earlier one are not taken for its own.

        Raises:
            UsageError: it does not give two finite scores for each image of this side, or cannot be trained.
        """
        if self.frozen:
            return {"name": self.name, "layers": pretrained.network().digest[:16]}
        if self.factory is None:
            return {"name": self.name, "layers": ""}
        images = trial_images(side)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                network = self.factory(2)
                scores = _score(network, images)
            except Exception as error:  # a site's own code: whatever it raises is said in words
                raise UsageError(
                    f"{self.name} does not take images of {side} x {side} pixels: {type(error).__name__}: {error}",
                    _HINT,
                ) from error
        if scores.shape != (2, 2):
            raise UsageError(
                f"{self.name} gives scores of shape {tuple(scores.shape)} for two images and two classes", _HINT
            )
        if not bool(torch.isfinite(scores).all()):
            raise UsageError(f"{self.name} gives scores that are not finite numbers, before any training", _HINT)
        if not any(weights.requires_grad for weights in network.parameters()):
            raise UsageError(f"{self.name} has nothing that can be trained", _HINT)
        parts = [repr(network), *_sources(self.factory, network), *_weights(network), self._try_training(images)]
        return {"name": self.name, "layers": hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]}

    def _try_training(self, images: Pictures) -> str:
        """The scores after two steps on two images, to four digits: threads add up in another order."""
        try:
            learned = classifier.fit(
                images, np.arange(2), classes=("negative", "positive"), steps=2, batch=2, rate=self.rate,
                network=self.factory, side=images.shape[1],
            )  # fmt: skip
        except Exception as error:  # as above
            raise UsageError(f"{self.name} cannot be trained: {type(error).__name__}: {error}", _HINT) from error
        return " ".join(f"{value:.4g}" for value in _score(learned.network, images).flatten().tolist())


def find(name: str, *, steps: int | None = None) -> Learner:
    """The network of this name; `steps` in place of its own.

    Raises:
        UsageError: no such module or factory; the published network is not installed, or is to take steps.
    """
    if name == pretrained.NAME:
        if steps is not None:
            raise UsageError("the published network is not trained, so it takes no steps", "leave out --steps")
        pretrained.network()
        return Learner(name, None, 0, 0.0, 0, side=128)
    if name == "small":
        return Learner(name, None, steps or 200, 2e-3)
    factory = resnet18 if name == "resnet18" else _import(name)
    return Learner(name, factory, steps or 400, 5e-4)


def trial_images(side: int) -> Pictures:
    """A dark and a bright image of noise, uint8 (2, side, side, 3): what a site's own network is tried on."""
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 128, (2, side, side, 3))
    images: Pictures = (noise + np.array([0, 128]).reshape(2, 1, 1, 1)).astype(np.uint8)
    return images


def _sources(factory: Factory, network: nn.Module) -> list[str]:
    """The source text of the factory and of each class of layers that is not torch's, where there is one."""
    classes = {type(module) for module in network.modules() if type(module).__module__.partition(".")[0] != "torch"}
    parts: list[Any] = [factory, *sorted(classes, key=lambda kind: (kind.__module__, kind.__qualname__))]
    found = []
    for one in parts:
        try:
            found.append(inspect.getsource(one))
        except (OSError, TypeError):  # typed in by hand, or compiled
            found.append("")
    return found


def _weights(network: nn.Module) -> list[str]:
    """Each tensor's name, whether it is trained, and a digest of its numbers."""
    trained = {name for name, weights in network.named_parameters() if weights.requires_grad}
    return [
        f"{name} {name in trained} {hashlib.sha256(_to_bytes(tensor)).hexdigest()}"
        for name, tensor in network.state_dict().items()
        if isinstance(tensor, Tensor)
    ]


def _to_bytes(tensor: Tensor) -> bytes:
    about = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
    return about + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


@torch.no_grad()
def _score(network: nn.Module, images: Pictures) -> Tensor:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    scores: Tensor = network.eval()(pixels)
    return scores.detach()


def resnet18(classes: int) -> nn.Module:
    """ResNet-18 (He et al. 2015, arXiv 1512.03385), untrained: torchvision's, or transformers' where it is missing."""
    try:
        theirs = importlib.import_module("torchvision.models").resnet18
    except (ImportError, RuntimeError, OSError):  # a build for another torch is there and does not load
        return _ResNet18(classes)
    network: nn.Module = theirs(weights=None, num_classes=classes)
    return network


class _ResNet18(nn.Module):
    def __init__(self, classes: int) -> None:
        from transformers import ResNetConfig, ResNetForImageClassification

        super().__init__()
        shape = ResNetConfig(
            layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], num_labels=classes
        )
        self.network = ResNetForImageClassification(shape)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.network(pixel_values=images).logits
        return scores


def last_layer(network: nn.Module) -> nn.Linear:
    """The layer that gives the scores; what goes into it are the features.

    Raises:
        UsageError: the network has no linear layer.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise UsageError(
            "this network has no linear layer to take features from",
            "end it in torch.nn.Linear, or take features of another network: --features",
        )
    return layers[-1]


def _import(name: str) -> Factory:
    return _positional(import_factory(name, "classifier", _HINT))


def import_factory(name: str, what: str, hint: str) -> Callable[..., Any]:
    """What `module:attribute` names, from the working folder or what is installed.

    Raises:
        UsageError: there is no such module or function, or the module cannot be imported.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise UsageError(f"no {what} is called {name}", hint)
    here = str(Path.cwd())
    sys.path.insert(0, here)  # as for `python -m`: a file of the site beside its images
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot find the {what} {name}: {error}", hint) from error
    except Exception as error:  # whatever a site's own file does when it is imported
        raise UsageError(f"{module} cannot be imported: {type(error).__name__}: {error}", hint) from error
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise UsageError(f"{name} cannot be called", hint)
    imported: Callable[..., Any] = found
    return imported


def _positional(found: Callable[..., nn.Module]) -> Factory:
    """torchvision's factories, and those made like them, take `num_classes` by name alone."""
    kinds = {parameter.kind for parameter in inspect.signature(found).parameters.values()}
    by_name = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    if not (kinds and kinds <= by_name):
        return found

    @functools.wraps(found)  # its source is the one that counts
    def named(classes: int) -> nn.Module:
        return found(num_classes=classes)

    return named
