"""Which network learns: the small one, ResNet-18, or one of the site's own."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from embhub.diffusion.evaluation.classifier import Factory
from embhub.errors import UsageError

_HINT = "say small, resnet18, or module:factory, a function from the number of classes to a torch.nn.Module"


@dataclass(frozen=True)
class Learner:
    """A network to be taught, and how: `steps` of `batch` images at an AdamW `rate`. None is the small network."""

    name: str
    factory: Factory | None
    steps: int
    rate: float
    batch: int = 32

    def describe(self, side: int) -> dict[str, Any]:
        """What a report says of it, with a digest of its layers, so that another network is not taken for it.

        Raises:
            UsageError: it does not give two scores for each image of this side.
        """
        if self.factory is None:
            return {"name": self.name, "layers": ""}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            try:
                network = self.factory(2).eval()
                shape = tuple(network(torch.zeros(2, 3, side, side)).shape)
            except (RuntimeError, TypeError, AttributeError, ValueError) as error:
                raise UsageError(
                    f"{self.name} does not take images of {side} x {side} pixels: {error}", _HINT
                ) from error
        if shape != (2, 2):
            raise UsageError(f"{self.name} gives scores of shape {shape} for two images and two classes", _HINT)
        return {"name": self.name, "layers": hashlib.sha256(repr(network).encode()).hexdigest()[:16]}


def find(name: str, *, steps: int | None = None) -> Learner:
    """The network of this name; `steps` in place of its own.

    Raises:
        UsageError: no such module or factory.
    """
    if name == "small":
        return Learner(name, None, steps or 200, 2e-3)
    factory = resnet18 if name == "resnet18" else _import(name)
    return Learner(name, factory, steps or 400, 5e-4)


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
        raise UsageError("this network has no linear layer to take features from", "end it in torch.nn.Linear")
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
    return (lambda classes: found(num_classes=classes)) if kinds and kinds <= by_name else found
