"""What an import is asked for, checked before a file is read. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embhub.artifact.header import check_token
from embhub.diffusion.bases.replacements import find_folder, parse_base
from embhub.errors import UsageError


def check(
    paths: Sequence[str | Path], *, token: str, family: str | None, base: str | Path | None, out: Path | None,
    overwrite: bool,
) -> None:  # fmt: skip
    """Refuse what cannot be imported.

    Raises:
        UsageError: no such file or base, both or neither of family and base, or `out` exists.
        ArtifactError: a placeholder token that breaks the rules of the format.
    """
    check_token(token)
    if out is not None and out.exists() and not overwrite:
        raise UsageError(f"{out} exists", "choose another name, or pass --overwrite")
    if (family is None) == (base is None):
        raise UsageError("one of --base-family and --base is needed", "name what the embedding was trained on")
    if base is not None:
        find_folder(parse_base(str(base))[0])
    for path in map(Path, paths):
        if not path.exists():
            raise UsageError(f"cannot read {path}: No such file or directory", "check the path")
        if not path.is_file():
            raise UsageError(f"{path} is not a file", "name the embedding's file itself")
