"""Share what a disease looks like, never the patients.

    import embhub
    result = embhub.train("images", token="<cspca>", caption="axial t2 prostate mri, {}")
    got = embhub.pull("radboud/prostate-cspca")
    embhub.load_into(pipe, got)

Every name below is imported on first use: `import embhub` loads neither torch nor a network client.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embhub.card import Card as Card
    from embhub.diffusion.auditing import audit as audit
    from embhub.diffusion.evaluation.evaluating import evaluate as evaluate
    from embhub.diffusion.generation import generate as generate
    from embhub.diffusion.generation import load_into as load_into
    from embhub.diffusion.importing import import_file as import_file
    from embhub.diffusion.inpainting import inpaint as inpaint
    from embhub.diffusion.inspection import inspect as inspect
    from embhub.diffusion.interpolation import interpolate as interpolate
    from embhub.diffusion.training import train as train
    from embhub.diffusion.training_options import Preview as Preview
    from embhub.diffusion.training_options import PrivacySettings as PrivacySettings
    from embhub.diffusion.training_options import Recipe as Recipe
    from embhub.diffusion.training_options import Selection as Selection
    from embhub.embedding import Embedding as Embedding
    from embhub.errors import EmbhubError as EmbhubError
    from embhub.hub import Hub as Hub
    from embhub.publishing import push as push
    from embhub.publishing import sign as sign
    from embhub.pulling import pull as pull
    from embhub.pulling import verify_path as verify
    from embhub.release import Release as Release
    from embhub.verification import Verified as Verified

__version__ = "0.1.0"

_PLACES = {
    "Card": "embhub.card:Card",
    "Embedding": "embhub.embedding:Embedding",
    "EmbhubError": "embhub.errors:EmbhubError",
    "Hub": "embhub.hub:Hub",
    "Preview": "embhub.diffusion.training_options:Preview",
    "PrivacySettings": "embhub.diffusion.training_options:PrivacySettings",
    "Recipe": "embhub.diffusion.training_options:Recipe",
    "Release": "embhub.release:Release",
    "Selection": "embhub.diffusion.training_options:Selection",
    "Verified": "embhub.verification:Verified",
    "audit": "embhub.diffusion.auditing:audit",
    "evaluate": "embhub.diffusion.evaluation.evaluating:evaluate",
    "generate": "embhub.diffusion.generation:generate",
    "import_file": "embhub.diffusion.importing:import_file",
    "inpaint": "embhub.diffusion.inpainting:inpaint",
    "inspect": "embhub.diffusion.inspection:inspect",
    "interpolate": "embhub.diffusion.interpolation:interpolate",
    "load_into": "embhub.diffusion.generation:load_into",
    "pull": "embhub.pulling:pull",
    "push": "embhub.publishing:push",
    "sign": "embhub.publishing:sign",
    "train": "embhub.diffusion.training:train",
    "verify": "embhub.pulling:verify_path",
}

__all__ = [
    "Card", "Embedding", "EmbhubError", "Hub", "Preview", "PrivacySettings", "Recipe", "Release", "Selection",
    "Verified",
    "audit", "evaluate", "generate", "import_file", "inpaint", "inspect", "interpolate", "load_into", "pull", "push",
    "sign", "train", "verify",
]  # fmt: skip


def _load(name: str) -> Any:
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'embhub' has no attribute {name!r}")
    return _load(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])


class _Package(ModuleType):
    """Keeps `embhub.audit` the verb: importing the module embhub/audit.py would otherwise put itself in its place.

    The module's own names are reached by `from embhub.audit import …`, as everywhere in this package.
    """

    @property
    def audit(self) -> Any:
        return _load("audit")

    @audit.setter
    def audit(self, module: ModuleType) -> None:
        """What the import system does after loading embhub/audit.py; there is nothing to keep."""


sys.modules[__name__].__class__ = _Package
