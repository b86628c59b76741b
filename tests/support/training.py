"""`train` and `train_component` with their options named one by one, whichever dataclass they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embhub.diffusion import train as training
from embhub.diffusion.adaptation import component_training
from embhub.diffusion.bases.adapted import Adaptation
from embhub.diffusion.train import TrainResult
from embhub.images.images import ImageSet
from embhub.options.component import ComponentRecipe
from embhub.options.fields import options_of
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Preview, PrivacySettings, Recipe, Selection, choose_privacy

_PREVIEW = {"preview": "every", "preview_dir": "folder"}


def train(images: str | Path | ImageSet, **options: Any) -> TrainResult:
    """`embhub.train`; an option belongs to the group that has a field of its name."""
    groups = (Recipe, PrivacySettings, Selection, Preprocessing)
    recipe, privacy, selection, preprocessing = (_take(options, cls) for cls in groups)
    preview = {_PREVIEW[name]: options.pop(name) for name in _PREVIEW if name in options}
    return training.train(
        images,
        recipe=Recipe(**recipe),
        privacy=choose_privacy(**privacy),
        selection=Selection(**selection),
        preprocessing=Preprocessing(**preprocessing),
        preview=Preview(**preview),
        **options,
    )


def train_component(base: str | Path, images: str | Path | ImageSet, **options: Any) -> Adaptation | None:
    """`component_training.train_component`, likewise; 0.1 of the patients are held out by default."""
    recipe, selection = (_take(options, cls) for cls in (ComponentRecipe, Selection))
    return component_training.train_component(
        base,
        images,
        recipe=ComponentRecipe(**recipe),
        selection=Selection(**{"holdout": 0.1, **selection}),
        **options,
    )


def _take(options: dict[str, Any], cls: type[Any]) -> dict[str, Any]:
    """Take the options of a group out of `options`."""
    return {name: options.pop(name) for name in options_of(cls) if name in options}
