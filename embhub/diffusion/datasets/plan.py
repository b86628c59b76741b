"""The plan of a data set, `dataset.json`: everything that decides its bytes, written before the first image.

An image depends on its class, its number and the data set's seed alone: not on how many there are, on the order of the
classes, or on where an earlier call was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch

from embhub.diffusion.datasets.sources import Origin
from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.options.preprocessing import recorded
from embhub.version import __version__

PLAN = "dataset.json"
SCHEMA = "embhub.dataset/1"
_LIMIT = 10_000_000


@dataclass(frozen=True)
class Picture:
    """One image to draw: its path in the folder, whose label it is, and its own seed."""

    path: str
    label: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class PlannedClass:
    """A class with its embeddings found: `prompt` has the tokens of `origins`, the negative prompt those `against`."""

    label: str
    folder: str
    prompt: str
    origins: tuple[Origin, ...]
    against: tuple[Origin, ...] = ()

    def pictures(self, count: int, seed: int) -> Iterator[Picture]:
        """Its images in order; the same number gives the same image, however many there are."""
        for number in range(count):
            yield Picture(
                f"{self.folder}/{number:05d}.png", self.label, self.prompt, draw_seed(seed, self.label, number)
            )


def draw_seed(seed: int, label: str, number: int) -> int:
    """The seed of one image, 48 bits: `embhub generate PROMPT --seed` takes it. No two classes share their noise."""
    text = json.dumps([seed, label, number]).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big")


def describe(
    classes: Sequence[PlannedClass], *, base: Mapping[str, str], drawing: Mapping[str, Any], device: str
) -> dict[str, Any]:
    """The plan as JSON. `base` has name and fingerprint; `drawing` are the settings of all classes."""
    return {
        "schema": SCHEMA,
        "base": dict(base),
        **drawing,
        "classes": [
            {"label": c.label, "prompt": c.prompt, "embeddings": [_origin(origin) for origin in c.origins]}
            for c in classes
        ],
        **({"negative_embeddings": [_origin(origin) for origin in classes[0].against]} if classes[0].against else {}),
        # Another version, or another kind of processor, may round a last bit differently.
        "made_with": {
            "embhub": __version__, "torch": torch.__version__, "diffusers": diffusers.__version__, "device": device,
        },
    }  # fmt: skip


def _origin(origin: Origin) -> dict[str, Any]:
    return {
        "name": origin.name,
        "token": origin.embedding.token,
        "sha256": origin.embedding.digest,
        "signed": origin.signed,
        "fit": recorded(origin.embedding.training).fit,
        "audit": origin.verdict,
        "licence": origin.card.licence if origin.card else None,
        "conditions": list(origin.conditions),
        "declared": list(origin.declared),
    }


def begin(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write the plan into a new folder, or find the same one in a folder that was begun.

    Raises:
        UsageError: the folder holds another data set; says what differs.
        ConfigError: it holds something else, or cannot be written.
    """
    path = folder / PLAN
    if not path.exists():
        if folder.exists() and any(item for item in folder.iterdir() if not item.name.startswith(f".{PLAN}")):
            raise ConfigError(f"{folder} is there, and holds no data set", "choose another --out")
        write_atomic(path, json.dumps(plan, indent=1, ensure_ascii=False).encode() + b"\n")
        return
    before = _read(path)
    differing = sorted(name for name in {*before, *plan} if before.get(name) != plan.get(name))
    if differing:
        raise UsageError(
            f"{folder} was begun as another data set: {', '.join(differing)} differ",
            "say the same again to go on with it, or choose another --out",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read", "choose another --out") from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise ConfigError(f"{path} is no plan of a data set", "choose another --out")
    return values
