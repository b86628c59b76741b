"""Share what a disease looks like, never the patients.

    import embhub
    result = embhub.train("images", token="<pneumonia>", caption="frontal chest x-ray, {}")
    got = embhub.pull("radboud/prostate-cspca")
    embhub.load_into(pipe, got)

Every name below is imported on first use: `import embhub` loads neither torch nor a network client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from embhub.version import __version__ as __version__

if TYPE_CHECKING:
    from embhub.artifact.embedding import Embedding as Embedding
    from embhub.cards.card import Card as Card
    from embhub.client.publishing.push import push as push
    from embhub.client.publishing.push import sign as sign
    from embhub.client.pulling.overview import show as show
    from embhub.client.pulling.pull import pull as pull
    from embhub.client.pulling.pull import search as search
    from embhub.client.pulling.pull import verify_path as verify
    from embhub.client.trusted.roots import trust_registry as trust_registry
    from embhub.client.wire.hub import Hub as Hub
    from embhub.diffusion.adaptation.compact import train_adapter as adapt
    from embhub.diffusion.adaptation.porting import port as port
    from embhub.diffusion.attacks.auditing import audit as audit
    from embhub.diffusion.copying.checking import check_copies as copy_check
    from embhub.diffusion.datasets.making import make_dataset as dataset
    from embhub.diffusion.evaluation.evaluating import evaluate as evaluate
    from embhub.diffusion.foreign.importing import import_file as import_file
    from embhub.diffusion.generation.generation import generate as generate
    from embhub.diffusion.generation.generation import load_into as load_into
    from embhub.diffusion.generation.interpolation import interpolate as interpolate
    from embhub.diffusion.generation.redrawing import redraw as redraw
    from embhub.diffusion.generation.tracing.detecting import detect as detect
    from embhub.diffusion.train import train as train
    from embhub.errors import EmbhubError as EmbhubError
    from embhub.images.inspections.inspection import inspect as inspect
    from embhub.options.adapter import AdapterRecipe as AdapterRecipe
    from embhub.options.preprocessing import Preprocessing as Preprocessing
    from embhub.options.training import Preview as Preview
    from embhub.options.training import PrivacySettings as PrivacySettings
    from embhub.options.training import Recipe as Recipe
    from embhub.options.training import Selection as Selection
    from embhub.release.files import Release as Release
    from embhub.release.verification import Verified as Verified

_PLACES = {
    "AdapterRecipe": "embhub.options.adapter:AdapterRecipe",
    "Card": "embhub.cards.card:Card",
    "Embedding": "embhub.artifact.embedding:Embedding",
    "EmbhubError": "embhub.errors:EmbhubError",
    "Hub": "embhub.client.wire.hub:Hub",
    "Preprocessing": "embhub.options.preprocessing:Preprocessing",
    "Preview": "embhub.options.training:Preview",
    "PrivacySettings": "embhub.options.training:PrivacySettings",
    "Recipe": "embhub.options.training:Recipe",
    "Release": "embhub.release.files:Release",
    "Selection": "embhub.options.training:Selection",
    "Verified": "embhub.release.verification:Verified",
    "adapt": "embhub.diffusion.adaptation.compact:train_adapter",
    "audit": "embhub.diffusion.attacks.auditing:audit",
    "copy_check": "embhub.diffusion.copying.checking:check_copies",
    "dataset": "embhub.diffusion.datasets.making:make_dataset",
    "detect": "embhub.diffusion.generation.tracing.detecting:detect",
    "evaluate": "embhub.diffusion.evaluation.evaluating:evaluate",
    "generate": "embhub.diffusion.generation.generation:generate",
    "import_file": "embhub.diffusion.foreign.importing:import_file",
    "inspect": "embhub.images.inspections.inspection:inspect",
    "interpolate": "embhub.diffusion.generation.interpolation:interpolate",
    "load_into": "embhub.diffusion.generation.generation:load_into",
    "port": "embhub.diffusion.adaptation.porting:port",
    "pull": "embhub.client.pulling.pull:pull",
    "push": "embhub.client.publishing.push:push",
    "redraw": "embhub.diffusion.generation.redrawing:redraw",
    "search": "embhub.client.pulling.pull:search",
    "show": "embhub.client.pulling.overview:show",
    "sign": "embhub.client.publishing.push:sign",
    "train": "embhub.diffusion.train:train",
    "trust_registry": "embhub.client.trusted.roots:trust_registry",
    "verify": "embhub.client.pulling.pull:verify_path",
}

__all__ = [
    "AdapterRecipe", "Card", "Embedding", "EmbhubError", "Hub", "Preprocessing", "Preview", "PrivacySettings", "Recipe",
    "Release", "Selection", "Verified",
    "adapt", "audit", "copy_check", "dataset", "detect", "evaluate", "generate", "import_file", "inspect",
    "interpolate", "load_into", "port", "pull", "push", "redraw", "search", "show", "sign", "train", "trust_registry",
    "verify",
]  # fmt: skip


def _load(name: str) -> Any:
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'embhub' has no attribute {name!r}")
    return _load(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
