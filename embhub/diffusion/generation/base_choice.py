"""Which base to load for embeddings, where the caller names none: the one they were made for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embhub.artifact.embedding import Embedding
from embhub.builtin_bases import NAMES, resolve
from embhub.diffusion.bases.replacements import HUB_ID, parse_base
from embhub.errors import UsageError
from embhub.site.memory import runs

DEFAULT = NAMES[0]
"""The base of a prompt without any embedding."""


def choose_base(base: str | Path | None, embeddings: Sequence[Embedding]) -> str | Path:
    """The base that was named; else the one that this site trained the embeddings on, or that their files name.

    A name in a file comes from its publisher: it is a built-in base, a folder here, or a repository of the Hub, whose
    weights are read as safetensors only. What is loaded is compared with the file's fingerprint afterwards.

    Raises:
        UsageError: the embeddings were made for different bases, or for one that is not on this machine.
    """
    if base is not None:
        return base
    made_for = {find_made_for(embedding): embedding for embedding in embeddings}
    if len(made_for) > 1:
        (first, one), (second, other) = list(made_for.items())[:2]
        raise UsageError(
            f"{one.token} was made for {first}, {other.token} for {second}",
            f"pass --base {first} or another base that fits all of them",
        )
    for name, embedding in made_for.items():
        _check_at_hand(name, embedding)
        return name
    return DEFAULT


def find_made_for(embedding: Embedding) -> str:
    """The base that this site trained it on, which can be a folder; else the name in the file."""
    run = runs.find(embedding.digest)
    return run.base if run else embedding.base_name


def _check_at_hand(name: str, embedding: Embedding) -> None:
    first, _ = parse_base(name)
    if resolve(first) is None and not HUB_ID.fullmatch(first):
        raise UsageError(
            f"{embedding.token} was made for {name}, which is no built-in base and no folder here",
            "pass --base DIR with the folder of that base",
        )
