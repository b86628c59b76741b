"""What `train` and `base train-component` are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from embhub import destinations
from embhub.artifact.header import check_token
from embhub.diffusion.adaptation.naming import check_name
from embhub.diffusion.bases.naming import check_base
from embhub.diffusion.bases.sizes import check_resolution
from embhub.diffusion.training.captions import check_caption, check_words
from embhub.errors import UsageError
from embhub.images.checks.base_fit import choose_base, say_chosen, shown_by
from embhub.images.inspections.early_check import check_source
from embhub.images.manifests.listing import list_images
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Preview, Recipe, Selection


def check_training(
    images: Path, *, token: str, caption: str, base: str | None, recipe: Recipe, selection: Selection, preview: Preview,
    preprocessing: Preprocessing, device: str, out: Path, overwrite: bool, on_note: Callable[[str], None],
) -> str:  # fmt: skip
    """Refuse a training that cannot begin; returns the base, chosen by the caption and said where none was named.

    Raises:
        UsageError: no images, base or device of that name; no base named, and none that fits; a resolution that the
            base does not allow; a malformed prompt template or manifest; `out` exists.
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
    check_source(images, selection.manifest, selection.where)
    if base is None:
        listing = list_images(images, Path(selection.manifest) if selection.manifest else None, selection.where)
        base = choose_base(caption, shown_by(listing.headers), listing.kind)
        on_note(say_chosen(base))
    check_resolution(base, preprocessing.resolution)
    return base


def check_component(
    base: str, images: Path, *, caption: str, selection: Selection, out: Path, overwrite: bool
) -> None:  # fmt: skip
    """Refuse a fine-tuning that cannot begin. Raises as `check_training`."""
    check_base(base)
    check_name(out, overwrite=overwrite, base=base)
    check_words("caption", caption)
    check_source(images, selection.manifest, selection.where)
