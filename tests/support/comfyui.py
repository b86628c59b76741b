"""ComfyUI's rules for `embedding:NAME` in a prompt, restated from comfy/sd1_clip.py @ b55c22476544.

Nothing here imports embhub: these are another program's rules. How a file is read, `foreign_loaders` restates.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from tests.support.foreign_loaders import comfyui_rows

ENCODERS = {
    "sd1": {"clip_l": ("clip_l", 768)},
    "sd2": {"clip_h": ("clip_l", 1024)},
    "sdxl": {"clip_l": ("clip_l", 768), "clip_g": ("clip_g", 1280)},
    "sd3": {"clip_l": ("clip_l", 768), "clip_g": ("clip_g", 1280), "t5xxl": ("t5xxl", 4096)},
    "flux": {"clip_l": ("clip_l", 768), "t5xxl": ("t5xxl", 4096)},
}
"""The tokenizers of each base's CLIP by attribute, with the key that each asks for and the width of its encoder."""


class Tokenizer:
    """SDTokenizer: numbers of words, and the rows of embeddings, each with its weight."""

    def __init__(self, folder: Path, key: str, width: int) -> None:
        self.embedding_directory, self.embedding_key, self.embedding_size = [str(folder)], key, width

    def tokenize_with_weights(self, text: str) -> list[list[tuple[Any, float]]]:
        """One batch: an embedding begins a word, and ends where the next blank is."""
        first, *others = re.split(" embedding:|\nembedding:", text)
        found: list[tuple[Any, float]] = []
        for word in [first, *(f"embedding:{other}" for other in others)]:
            if word.startswith("embedding:"):
                name, *rest = word.removeprefix("embedding:").strip("\n").split()
                rows = self._load_embed(name)
                rows = self._load_embed(name.strip(",")) if rows is None else rows
                found += [] if rows is None else [(row, 1.0) for row in torch.atleast_2d(rows)]
                word = " ".join(rest)
            found += [(len(part), 1.0) for part in word.split()]
        return [[(49406, 1.0), *found, (49407, 1.0)]]

    def _load_embed(self, name: str) -> Any:
        for top in self.embedding_directory:
            for folder in {top, *(root for root, _, _ in os.walk(top, followlinks=True))}:
                path = os.path.abspath(os.path.join(folder, name))  # noqa: PTH100, PTH118  # as ComfyUI does
                if os.path.commonpath((os.path.abspath(folder), path)) != os.path.abspath(folder):  # noqa: PTH100
                    continue
                for ending in ("", ".safetensors", ".pt", ".bin"):
                    if Path(path + ending).is_file():
                        return comfyui_rows(Path(path + ending), self.embedding_key, self.embedding_size)
        return None


class Clip:
    """comfy.sd.CLIP of a base, as far as it tokenizes."""

    def __init__(self, base: str, folder: Path) -> None:
        parts = {name: Tokenizer(folder, key, width) for name, (key, width) in ENCODERS[base].items()}
        self.tokenizer = SimpleNamespace(**parts)

    def tokenize(self, text: str) -> dict[str, list[list[tuple[Any, float]]]]:
        """The batches of each text encoder, by its short name."""
        return {
            name.removeprefix("clip_"): part.tokenize_with_weights(text) for name, part in vars(self.tokenizer).items()
        }
