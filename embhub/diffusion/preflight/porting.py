"""What `port` is asked for."""

from __future__ import annotations

from pathlib import Path

from embhub import destinations
from embhub.artifact import embedding
from embhub.diffusion.bases.naming import check_base
from embhub.diffusion.training.captions import check_caption, check_words
from embhub.options.training import Recipe
from embhub.release import files as release_files


def check_port(
    source: Path, *, to: str, base: str | None, caption: str | None, recipe: Recipe, device: str, out: Path,
    overwrite: bool,
) -> None:  # fmt: skip
    """Refuse a port that cannot begin.

    Raises:
        UsageError: no embedding, base or device of that name; a malformed prompt template; `out` exists.
        ArtifactError: not an embedding.
        PrivacyError: words that look like a person's.
        ConfigError: `out` cannot be written.
    """
    destinations.check_embedding(out, overwrite=overwrite)
    made = embedding.read(source / release_files.EMBEDDING if source.is_dir() else source)
    if caption is not None:
        check_caption(caption, made.token)
    check_words("initializer text", recipe.initializer_text or "")
    check_base(to, device)
    if base is not None:
        check_base(base, device)
