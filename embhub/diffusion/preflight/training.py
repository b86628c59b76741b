"""What `train` and `base train-component` are asked for."""

from __future__ import annotations

from pathlib import Path

from embhub import destinations
from embhub.artifact.header import check_token
from embhub.diffusion.adaptation.naming import check_name
from embhub.diffusion.bases.naming import check_base
from embhub.diffusion.bases.sizes import check_resolution
from embhub.diffusion.training.captions import check_caption, check_words
from embhub.errors import UsageError
from embhub.images.early_check import check_source
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Preview, Recipe, Selection


def check_training(
    images: Path, *, token: str, caption: str, base: str, recipe: Recipe, selection: Selection, preview: Preview,
    preprocessing: Preprocessing, device: str, out: Path, overwrite: bool,
) -> None:  # fmt: skip
    """Refuse a training that cannot begin.

    Raises:
        UsageError: no images, base or device of that name; a resolution that the base does not allow; a malformed
            prompt template or manifest; `out` exists.
        ArtifactError: a placeholder token that breaks the rules of the format.
        PrivacyError: words or file names that look like a person's.
        ConfigError: `out` cannot be written.
    """
    check_token(token)
    check_caption(caption, token)
    check_words("initializer text", recipe.initializer_text or "")
    destinations.check_embedding(out, overwrite=overwrite)
    if preview.folder is not None and preview.every is None:
        raise UsageError("a folder for previews, and no previews", "say how often: --preview 50")
    check_base(base, device)
    check_resolution(base, preprocessing.resolution)
    check_source(images, selection.manifest, selection.where)


def check_component(
    base: str, images: Path, *, caption: str, selection: Selection, out: Path, overwrite: bool
) -> None:  # fmt: skip
    """Refuse a fine-tuning that cannot begin. Raises as `check_training`."""
    check_base(base)
    check_name(out, overwrite=overwrite, base=base)
    check_words("caption", caption)
    check_source(images, selection.manifest, selection.where)
