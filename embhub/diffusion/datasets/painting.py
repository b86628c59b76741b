"""Drawing the batches of a data set: in this process, or in several that each load the base for themselves.

An image comes from its own seed, and batches are the same whoever draws them: so are the images, up to the rounding
of a processor that computes with another number of threads.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from typing import Any

import torch

from embhub import own_process
from embhub.artifact.embedding import parse
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.bases.pipelines import choose_device
from embhub.diffusion.datasets.plan import Picture, PlannedClass
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation.generation import choose_side, draw_seeds
from embhub.diffusion.generation.image_files import Origin as ImageOrigin
from embhub.diffusion.generation.image_files import encode_picture
from embhub.diffusion.generation.loading import load_into
from embhub.diffusion.generation.sampling import load_for_sampling
from embhub.errors import ConfigError
from embhub.options.sampling import Sampling

AHEAD = 2
"""Batches of each process that are handed out before the first of them is back."""


@dataclass(frozen=True)
class Task:
    """Some images of the class of that number."""

    number: int
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Loaded:
    """The files of a class's embeddings, and of those that no image is to show.

    `origin` is what its images' metadata says; `mark` the key of the mark in their first noise, None for plain noise.
    """

    shown: tuple[bytes, ...]
    against: tuple[bytes, ...]
    origin: ImageOrigin
    mark: str | None

    @classmethod
    def of(cls, planned: PlannedClass, *, base: str, marked: bool) -> Loaded:
        """Of a class with its embeddings found; `base` is the digest of the base."""
        shown, against = (
            tuple(origin.embedding.data for origin in side) for side in (planned.origins, planned.against)
        )
        digests = tuple(origin.embedding.digest for origin in planned.origins)
        return cls(shown, against, ImageOrigin(digests, base), (digests[0] if digests else base) if marked else None)


@dataclass(frozen=True)
class Studio:
    """All that the images of a data set are drawn with, `classes` by number; it can travel to another process."""

    classes: Sequence[Loaded]
    drawing: Mapping[str, Any]
    base: FoundBase
    sampling: Sampling
    device: str


class Painter:
    """Draws with one pipeline at a time: a fresh one for each class, with its embeddings and no others."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._loaded: tuple[int, Pipeline, int] | None = None

    def draw(self, task: Task) -> list[bytes]:
        """The images as PNG files."""
        pipe, side = self._of(task.number)
        item = self._studio.classes[task.number]
        drawing, first = self._studio.drawing, task.pictures[0]
        images = draw_seeds(
            pipe, first.prompt, [picture.seed for picture in task.pictures], steps=drawing["steps"],
            guidance_scale=drawing["guidance"], side=side, negative=drawing.get("negative"),
            batch_size=len(task.pictures), mark=item.mark,
        )  # fmt: skip
        return [encode_picture(image, item.origin) for image in images]

    def _of(self, number: int) -> tuple[Pipeline, int]:
        if self._loaded is None or self._loaded[0] != number:
            self._loaded = None  # let go of one base before another is read
            studio, item = self._studio, self._studio.classes[number]
            pipe = load_for_sampling(studio.base, studio.sampling, device=studio.device)
            shown = [parse(data) for data in item.shown]
            for embedding in (*shown, *map(parse, item.against)):
                load_into(pipe, embedding)
            side = choose_side(pipe, shown, studio.drawing["resolution"])
            self._loaded = number, pipe, side
        return self._loaded[1:]


def paint(studio: Studio, tasks: Sequence[Task], *, processes: int = 1) -> Generator[tuple[Task, list[bytes]]]:
    """Each task with its images, in the order of the tasks.

    With several processes on a machine with several GPUs, and no device named by number, each process takes the next.

    Raises:
        ConfigError: a process died.
    """
    if processes == 1 or len(tasks) < 2:
        painter = Painter(studio)
        for task in tasks:
            yield task, painter.draw(task)
        return
    processes = min(processes, len(tasks))
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    devices: Queue[str] = context.Queue()
    for device in spread(studio.device, processes):
        devices.put(device)
    threads = max(1, (os.cpu_count() or 1) // processes)
    pool = ProcessPoolExecutor(processes, context, initializer=_settle, initargs=(studio, devices, threads))
    waiting: deque[tuple[Task, Future[list[bytes]]]] = deque()
    try:
        for task in tasks:
            waiting.append((task, pool.submit(_draw, task)))
            if len(waiting) >= AHEAD * processes:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _next(waiting: deque[tuple[Task, Future[list[bytes]]]]) -> tuple[Task, list[bytes]]:
    task, future = waiting.popleft()
    try:
        return task, future.result()
    except BrokenProcessPool as error:
        raise ConfigError(
            "a process that generates images died",
            "it may have run out of memory: use fewer --processes; the same command resumes where this one ended",
        ) from error


def spread(device: str, processes: int) -> list[str]:
    """A device for each process: GPUs in turn where none is named by its number."""
    place = choose_device(device)
    if place.type != "cuda" or place.index is not None:
        return [device] * processes
    return [f"cuda:{number % torch.cuda.device_count()}" for number in range(processes)]


_own: list[Painter] = []
"""The painter of a process that draws for another."""


def _settle(studio: Studio, devices: Queue[str], threads: int) -> None:
    own_process.settle()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    _own[:] = [Painter(replace(studio, device=devices.get()))]


def _draw(task: Task) -> list[bytes]:
    return _own[0].draw(task)
