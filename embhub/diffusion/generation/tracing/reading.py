"""Looking for marks in image files: each base is loaded once, each image inverted once for each base."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from embhub.artifact import fingerprint
from embhub.builtin_bases import NAMES
from embhub.client.pulling.known_releases import Known
from embhub.diffusion.bases import live_fingerprint
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.families import resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation.noise_mark import why_unmarked
from embhub.diffusion.generation.tracing.inverting import invert
from embhub.diffusion.generation.tracing.matching import match
from embhub.diffusion.generation.tracing.views import GROUPS, views
from embhub.errors import EmbhubError
from embhub.images.pixels import read_pixels


@dataclass(frozen=True)
class _Loaded:
    """A base, its fingerprint's digest, and the keys to look for in its noise."""

    name: str
    digest: str
    pipe: Pipeline
    keys: tuple[str, ...]


class MarkReader:
    """Finds marks of known releases, and of bases alone. `notes` says what could not be looked for.

    A base that is neither built in nor a folder in `bases` is not fetched.
    """

    def __init__(self, known: Sequence[Known], bases: Sequence[str], *, device: str = "auto") -> None:
        self.notes: list[str] = []
        self._bases: list[_Loaded] = []
        of_base: dict[str, list[str]] = defaultdict(list)
        for one in known:
            of_base[one.base or ""].append(one.digest)
        wanted = [*bases, *sorted({one.base_name for one in known} & set(NAMES))]
        for name in dict.fromkeys(wanted):
            self._load(name, of_base, device)
        at_hand = {loaded.digest for loaded in self._bases}
        missing = sum(len(digests) for base, digests in of_base.items() if base not in at_hand)
        if missing:
            self.notes.append(f"marks of {missing} releases were not looked for: their bases are not here (--base)")

    def _load(self, name: str, of_base: dict[str, list[str]], device: str) -> None:
        try:
            pipe = load_pipeline(find_base(name), device=device)
        except EmbhubError as error:
            self.notes.append(f"the base {name} was not looked for: {error.message}")
            return
        if (why := why_unmarked(pipe)) and "scheduler" not in why:
            self.notes.append(f"the base {name} was not looked for: {why}")
            return
        digest = fingerprint.digest(live_fingerprint.take(pipe))
        self._bases.append(_Loaded(name, digest, pipe, (*of_base.get(digest, ()), digest)))

    def read(self, file: Path) -> Iterator[dict[str, Any]]:
        """What is found in a file, as the fields of a `Hit`.

        Raises:
            UsageError: a file whose pixels cannot be read, or has too many of them.
        """
        if not self._bases:
            return
        image = read_pixels(file, "the image").convert("RGB")
        for base in self._bases:
            found = self._look(image, base)
            if found is not None:
                yield found
                return

    def _look(self, image: Image.Image, base: _Loaded) -> dict[str, Any] | None:
        for group in views(image, resolution(base.pipe)):
            batch = torch.from_numpy(np.stack(group))
            found = match(invert(base.pipe, batch).cpu().numpy(), base.keys, tries=GROUPS * len(self._bases))
            if found is not None:
                named = () if found.key == base.digest else (found.key,)
                return {
                    "says": "the noise that it started from has the mark of "
                    + ("this embedding" if named else f"the base {base.name}, without an embedding"),
                    "embeddings": named, "base": base.digest, "chance": 10.0**found.log10_chance, "seed": found.index,
                }  # fmt: skip
        return None
