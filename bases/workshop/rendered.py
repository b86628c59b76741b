"""Phantoms rendered all the time by worker processes, and the parts of batches that are composed of them."""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

from bases.workshop import phantom_material
from embhub.diffusion.adaptation.base_training.latent_pictures import encode
from embhub.diffusion.adaptation.base_training.text_encoder import CaptionEncoder, make_encoder
from embhub.phantoms import varied

MERGED, PART, CHUNK, FIRST = 0.3, 256, 32, 1024
"""Share of captions with merged words; images of a part of a batch; phantoms rendered at once, and before the first
part."""
_ODDS = (0.6, 1.0, 0.3)  # of phantoms with no, one, two findings
_GROW_EVERY, _PATIENCE_S = 4, 0.002
Part = tuple[NDArray[np.float16], NDArray[np.int16], NDArray[np.float16]]
Batch = tuple[Tensor, Tensor, Tensor]
"""Latents (B, 8, 16, 16), pieces of captions (B, 48, 16) and weights of places (B, 1, 16, 16)."""


def chunk_of(seed: int, worker: int, number: int) -> list[varied.VariedPhantom]:
    """Chunk `number` of the phantoms that a worker renders, `CHUNK` of them."""
    return varied.draw_many(CHUNK, _seed(seed, worker, number), first=number)


def first_seen(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """The first `count` phantoms of the first worker, (N, 128, 128, 3): those that a denoiser saw most often."""
    chunks = [chunk_of(seed, 0, number) for number in range(-(-count // CHUNK))]
    return np.stack([one.image for chunk in chunks for one in chunk][:count])


def _seed(seed: int, worker: int, number: int) -> int:
    return int(np.random.default_rng([seed, 4, worker, number]).integers(2**62))


class Rendered:
    """Everything that one worker has rendered: latents, words and odds."""

    def __init__(self, seed: int, worker: int, folder: Path, device: str) -> None:
        self.seed, self.worker, self.device, self.chunks = seed, worker, device, 0
        tokenizer = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"))
        self.encoder = CaptionEncoder(tokenizer, make_encoder(tokenizer, seed))
        loaded = AutoencoderKL.from_pretrained(str(folder), subfolder="vae", torch_dtype=torch.float32)
        self.autoencoder = loaded.eval().to(device)
        self.latents: list[NDArray[np.float16]] = []
        self.shown: list[varied.VariedPhantom] = []
        self.odds: list[float] = []
        self.rng = np.random.default_rng([seed, 5, worker])
        first = [chunk_of(seed, worker, number) for number in range(FIRST // CHUNK)]
        self.weights = phantom_material.NamedPlaces([one for chunk in first for one in chunk])
        for chunk in first:
            self._keep(chunk)

    def grow(self) -> None:
        """Render the next chunk."""
        self._keep(chunk_of(self.seed, self.worker, self.chunks))

    def _keep(self, chunk: list[varied.VariedPhantom]) -> None:
        pictures = torch.from_numpy(np.stack([one.image for one in chunk])).permute(0, 3, 1, 2).float() / 127.5 - 1
        self.latents += list(encode(self.autoencoder, pictures).half().numpy())
        nothing = np.zeros((0, 0), np.float32)
        self.shown += [varied.VariedPhantom(chunk[0].image[:0], nothing, one.modality, one.findings) for one in chunk]
        self.odds += [_ODDS[len(one.findings)] for one in chunk]
        self.chunks += 1

    def part(self) -> Part:
        """A part of a batch."""
        odds = np.asarray(self.odds)
        places = self.rng.choice(len(odds), PART, p=odds / odds.sum())
        captions = [phantom_material.varied_caption(self.shown[place], self.rng) for place in places]
        weights = np.stack([self.weights(caption).half().numpy() for caption in captions])
        return (
            np.stack([self.latents[place] for place in places]),
            self.encoder.bags(captions, self.rng, MERGED),
            weights,
        )


def work(seed: int, worker: int, folder: Path, device: str, parts: Any) -> None:
    """Put parts of batches into `parts`; render while it is full, and a little in any case."""
    torch.set_num_threads(1)
    rendered = Rendered(seed, worker, folder, device)
    for number in range(10**12):
        part = rendered.part()
        if number % _GROW_EVERY == 0:
            rendered.grow()
        while True:
            try:
                parts.put((part, worker, rendered.chunks), timeout=_PATIENCE_S)
                break
            except queue.Full:
                rendered.grow()


class CountedBatches(Protocol):
    """Batches, and how many images each worker or pool had rendered."""

    rendered: dict[int, int]

    def __iter__(self) -> Iterator[Batch]: ...


class Batches:
    """Batches of `size` images on `device`, from `workers` processes; `folder` is the pipeline whose autoencoder and
    tokenizer they use."""

    def __init__(self, size: int, workers: int, folder: Path, device: str, seed: int = 0) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._parts = spawn.Queue(maxsize=4 * workers)
        self._device, self._count = device, max(1, size // PART)
        self.rendered: dict[int, int] = {}
        """Phantoms that each worker had rendered when its last part came."""
        self._ready: queue.Queue[Batch] = queue.Queue(maxsize=4)
        self._processes = [
            spawn.Process(target=work, args=(seed, worker, folder, device, self._parts), daemon=True)
            for worker in range(workers)
        ]
        for process in self._processes:
            process.start()
        threading.Thread(target=self._gather, daemon=True).start()

    def _gather(self) -> None:
        while True:
            got = [self._parts.get() for _ in range(self._count)]
            self.rendered |= {worker: chunks * CHUNK for _, worker, chunks in got}
            stacked = [torch.from_numpy(np.concatenate(some)) for some in zip(*(one[0] for one in got), strict=True)]
            if self._device == "cuda":
                stacked = [one.pin_memory().to(self._device, non_blocking=True) for one in stacked]
            self._ready.put((stacked[0], stacked[1], stacked[2]))

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self._ready.get()

    def stop(self) -> None:
        """End the workers."""
        for process in self._processes:
            process.terminate()
