"""A base on this machine, and fetching parts of one from the Hub without remarks on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import diffusers
import huggingface_hub
import transformers

from embhub.diffusion.bases.replacements import HUB_ID
from embhub.errors import UsageError

ADAPTED = "adaptation.json"
"""The file that marks a base, or a part, as learned from a site's images; see `embhub.diffusion.bases.adapted`."""


@dataclass(frozen=True)
class FoundBase:
    """A base on this machine: the name to publish (never a path), its folder, and what its makers recommend."""

    name: str
    folder: Path
    recommended: Mapping[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The class of its pipeline, as its folder says; empty where the folder does not say it."""
        try:
            return str(json.loads((self.folder / "model_index.json").read_bytes())["_class_name"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def download_part(source: str, files: Sequence[str]) -> Path:
    """The `files` (patterns) of a repository `owner/name[@revision]` that is a part of a pipeline, or holds one.

    Raises:
        UsageError: no folder and no such name, or the Hub cannot deliver it.
    """
    if not (hub_id := HUB_ID.fullmatch(source)):
        raise UsageError(f"there is no {source}", "name a folder, or owner/name[@revision] of the Hub")
    try:
        with quiet():
            return Path(huggingface_hub.snapshot_download(hub_id[1], revision=hub_id[2], allow_patterns=list(files)))
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{source} cannot be fetched from the Hub", "check name and network, or name a local folder"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the progress bars and remarks of diffusers and transformers off the terminal while open."""
    logs = [(library.utils.logging, library.utils.logging.get_verbosity()) for library in (diffusers, transformers)]
    bars = [log for log, _ in logs if log.is_progress_bar_enabled()]
    try:
        for log, _ in logs:
            log.set_verbosity_error()
            log.disable_progress_bar()
        yield
    finally:
        for log, level in logs:
            log.set_verbosity(level)
        for log in bars:
            log.enable_progress_bar()
