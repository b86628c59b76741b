"""Readers of taught words: which words a phantom shows. `python -m bases.workshop.readers --help` trains them.

A reader gives `normal` alone, or the likeliest tone, shape, place and side, and `misfit` for what is too large or for
two findings. It reads whole images of 128 pixels: at 64, small ovals and small spots are often the same pixels. A
third of its phantoms are blurred and a third go through the base's autoencoder. The weights are in `reader_weights/`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file

from bases.workshop.judge import Images, blurred, reconstructed
from bases.workshop.varied_judges import GROUPS, WORDS, pictures, single_or_misfit, told
from embhub.builtin_bases import info
from embhub.diffusion.evaluation import classifier
from embhub.errors import EmbhubError, UsageError
from embhub.phantoms.findings import MODALITIES

FOLDER = Path(__file__).with_name("reader_weights")
SIDE, _CHUNK = 128, 100
Reader = Callable[[Images], list[frozenset[str]]]


@dataclass(frozen=True)
class Plan:
    """Phantoms of a modality, and steps of `batch` images on a network of this width."""

    phantoms: int = 24_000
    steps: int = 8_000
    batch: int = 128
    width: int = 40
    seed: int = 11


@lru_cache(maxsize=4)
def reader_for(modality: str, base: Path, folder: Path = FOLDER) -> Reader:
    """The trained reader of uint8 images (N, 128, 128, 3) of a modality.

    Raises:
        UsageError: no reader was trained for this modality, or it was for another autoencoder.
    """
    return reading(load(modality, base, folder))


def reading(model: classifier.Classifier) -> Reader:
    """What a classifier of `WORDS` says, as words."""

    def read(seen: Images) -> list[frozenset[str]]:
        return [_likeliest(row) for row in model.probabilities(seen)]

    return read


def _likeliest(row: NDArray[np.float64]) -> frozenset[str]:
    chance = dict(zip(WORDS, row, strict=True))
    if chance["normal"] > 0.5:
        return frozenset({"normal"})
    words = frozenset(max(group, key=chance.__getitem__) for group in GROUPS)
    return words | {"misfit"} if chance["misfit"] > 0.5 else words


def train(modality: str, base: Path, plan: Plan, *, workers: int = 0, device: str = "cpu") -> classifier.Classifier:
    """A classifier of `WORDS`, of phantoms rendered by so many processes (0: this one)."""
    images, marks = render(modality, plan, workers)
    plain, soft, through = (images[third::3] for third in range(3))
    seen = np.concatenate([plain, blurred(soft, 1.2), reconstructed(through, base, device)])
    return classifier.fit(
        seen, np.concatenate([marks[third::3] for third in range(3)]), classes=WORDS, steps=plan.steps,
        seed=plan.seed, batch=plan.batch, width=plan.width, mirror=False, side=SIDE, device=device,
    )  # fmt: skip


def render(modality: str, plan: Plan, workers: int) -> tuple[Images, NDArray[np.int64]]:
    """Phantoms, and 0 or 1 (N, words) for each of `WORDS`."""
    firsts = range(0, plan.phantoms, _CHUNK)
    chunk = partial(_chunk, modality, plan)
    if workers:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            parts = pool.map(chunk, firsts, chunksize=1)
    else:
        parts = [chunk(first) for first in firsts]
    images, marks = (np.concatenate(some) for some in zip(*parts, strict=True))
    return images, marks


def _chunk(modality: str, plan: Plan, first: int) -> tuple[Images, NDArray[np.int64]]:
    rng = np.random.default_rng([plan.seed, 6, first])
    numbers = range(first, min(first + _CHUNK, plan.phantoms))
    shown = [single_or_misfit(number, modality, rng) for number in numbers]
    marks = np.array([[word in told(findings) for word in WORDS] for findings in shown], np.int64)
    return pictures(modality, shown, rng), marks


def write(model: classifier.Classifier, modality: str, base: Path, folder: Path = FOLDER) -> Path:
    """Write a reader's weights in half precision, with the digest of the autoencoder that it was trained for."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{modality}.safetensors"
    values = {name: _halved(value) for name, value in model.network.state_dict().items()}
    save_file(values, path, {"autoencoder": _autoencoder(base), "words": " ".join(WORDS)})
    return path


def _halved(value: torch.Tensor) -> torch.Tensor:
    plain = value.detach().cpu().contiguous()
    return plain.half() if plain.is_floating_point() else plain


def load(modality: str, base: Path, folder: Path = FOLDER) -> classifier.Classifier:
    """A reader's classifier, on the processor. Raises UsageError as `reader_for` does."""
    path = folder / f"{modality}.safetensors"
    again = "train one by python -m bases.workshop.readers"
    if not path.exists():
        raise UsageError(f"no reader of {modality}", again)
    with safe_open(path, "pt") as file:
        said = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    if said["autoencoder"] != _autoencoder(base) or said["words"] != " ".join(WORDS):
        raise UsageError(f"the reader of {modality} was trained for another autoencoder or other words", again)
    network = classifier.small_network(len(WORDS), len(weights["0.weight"]), SIDE)
    network.load_state_dict(
        {name: part.float() if part.is_floating_point() else part for name, part in weights.items()}
    )
    return classifier.Classifier(network.eval(), WORDS, exclusive=False, side=SIDE)


def _autoencoder(base: Path) -> str:
    return sha256((base / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()).hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Train readers and write their weights."""
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.readers", description=__doc__)
    parser.add_argument("--modality", action="append", choices=MODALITIES, help="one alone")
    parser.add_argument("--base", default="builtin", help="base whose autoencoder a third of the phantoms goes through")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--phantoms", type=int, default=usual.phantoms)
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--width", type=int, default=usual.width)
    parser.add_argument("--workers", type=int, default=0, help="processes that render")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    asked = parser.parse_args(argv)
    plan = Plan(asked.phantoms, asked.steps, width=asked.width)
    try:
        base = info(asked.base).path
        for modality in asked.modality or MODALITIES:
            made = train(modality, base, plan, workers=asked.workers, device=asked.device)
            print(write(made, modality, base, asked.out), flush=True)
    except EmbhubError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
