"""A training that can be cut off at any moment: exact states on disk, a log, limits, and a stop by held-out loss.

A course is what is trained. All randomness of a step comes from its seed and number, so a resumed course is the
uninterrupted one, bit by bit on one machine. The state is replaced whole, every half a minute: kill -9 loses no more.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, cast

import torch

from embhub.diffusion.adaptation.base_training import checkpoint
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.stopped import TrainingInterruptedError
from embhub.options.precision import Precision

SAVE_EVERY_S = 30.0
_LOG = "log.jsonl"


class TrainingRun(Protocol):
    """What is trained: `advance` takes step `number` and gives its figures, `measure` gives figures on held-out
    images, of which `held_out_loss` decides when to stop."""

    measure_every: int

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""

    def advance(self, number: int) -> dict[str, float]:
        """Take a step."""

    def measure(self) -> dict[str, float]:
        """Figures on images that the course does not learn from."""

    def keep_best(self) -> None:
        """Remember the present averaged weights as the best so far."""


@dataclass(frozen=True)
class Limits:
    """When one session of a course ends: wall-clock minutes, steps counted from the
    course's start, and how many measurements in a row may bring no better held-out loss. `cool_from` is the step from
    which the learning rate falls to nothing, which it reaches at `steps`."""

    minutes: float = math.inf
    steps: float = math.inf
    patience: int = 20
    cool_from: int | None = None

    @property
    def cool(self) -> tuple[int, int] | None:
        """The steps between which the learning rate falls."""
        return None if self.cool_from is None else (self.cool_from, int(self.steps))


@dataclass
class Progress:
    """Where a course stands, over all its sessions."""

    step: int = 0
    cpu_seconds: float = 0.0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    sessions: int = 0


def run(course: TrainingRun, folder: Path, limits: Limits, *, save_every: float = SAVE_EVERY_S) -> Progress:
    """Train `course` from where `folder` says it stands until a limit; returns where it stands then.

    Writes the state to `folder`/checkpoint.pt and one JSON object a measurement to `folder`/log.jsonl; what was
    measured after the last save before a kill stands there twice.

    Raises:
        TrainingInterruptedError: SIGTERM or SIGINT, after a whole step and with its state written.
    """
    progress, started = _resumed(course, folder), _Watch()
    progress.sessions += 1
    progress.stale = 0  # who asks for more time gets it
    folder.mkdir(parents=True, exist_ok=True)
    before, saved, sums, count = progress.cpu_seconds, time.monotonic(), dict[str, float](), 0
    with _asked_to_stop() as stop:
        while not stop and not _ended(progress, limits, started):
            figures = course.advance(progress.step)
            progress.step += 1
            progress.cpu_seconds = before + started.cpu()
            sums = {name: sums.get(name, 0.0) + value for name, value in figures.items()}
            count += 1
            if progress.step % course.measure_every == 0:
                means = {name: value / count for name, value in sums.items()}
                _measured(course, folder, progress, means)
                sums, count = {}, 0
            if time.monotonic() - saved > save_every:
                write(course, folder, progress)
                saved = time.monotonic()
        write(course, folder, progress)
    if stop:  # what comes after this course must not begin on half of it
        raise TrainingInterruptedError(progress.step, folder / checkpoint.NAME)
    return progress


def read_progress(folder: Path) -> Progress | None:
    """Where the course in `folder` stands, None where there is none."""
    state = checkpoint.load(folder)
    return Progress(**state["progress"]) if state else None


def read_course(folder: Path) -> dict[str, Any] | None:
    """The state of the course in `folder`, None where there is none."""
    state = checkpoint.load(folder)
    return state["course"] if state else None


def copy_log(folder: Path, target: Path) -> None:
    """Copy the log of the course in `folder`, where there is one."""
    if (folder / _LOG).exists():
        shutil.copyfile(folder / _LOG, target)


def write(course: TrainingRun, folder: Path, progress: Progress) -> None:
    """Make the present state of `course` the one to go on from."""
    checkpoint.save(folder, {"course": course.state(), "progress": vars(progress)})


def _resumed(course: TrainingRun, folder: Path) -> Progress:
    state = checkpoint.load(folder)
    if state is None:
        return Progress()
    course.load(state["course"])
    return Progress(**state["progress"])


def _ended(progress: Progress, limits: Limits, started: _Watch) -> bool:
    return started.wall() > limits.minutes * 60 or progress.step >= limits.steps or progress.stale >= limits.patience


def _measured(course: TrainingRun, folder: Path, progress: Progress, means: Mapping[str, float]) -> None:
    figures = course.measure()
    if figures["held_out_loss"] < progress.best:
        progress.best, progress.best_step, progress.stale = figures["held_out_loss"], progress.step, 0
        course.keep_best()
    else:
        progress.stale += 1
    line = {"step": progress.step, "cpu_minutes": progress.cpu_seconds / 60, **means, **figures}
    rounded = {name: float(f"{value:.5g}") for name, value in line.items()}
    with (folder / _LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(rounded) + "\n")


class _Watch:
    """Wall-clock and processor seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def wall(self) -> float:
        return time.monotonic() - self._wall

    def cpu(self) -> float:
        return time.process_time() - self._cpu


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """A list that is no longer empty once SIGTERM or SIGINT came."""
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def learning_rate(step: int, peak: float, *, cool: tuple[int, int] | None = None) -> float:
    """Warm-up, flat, then falling with the root of the steps: no end has to be known (Karras et al. 2024, arXiv
    2312.02696). Where an end is known, `cool` says between which steps it falls to nothing in a straight line."""
    rate = peak * min(1.0, (step + 1) / 60) / math.sqrt(max(1.0, step / 2000))
    if cool is None:
        return rate
    first, last = cool
    return rate * min(1.0, max(0.0, (last - step) / (last - first)))


def randomness(seed: int, step: int) -> torch.Generator:
    """The generator of one step."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def fast_precision(device: str, wanted: str) -> bool:
    """Whether steps compute in bfloat16: `wanted` is auto, float32 or bfloat16. embhub's trainings choose alike."""
    return in_bfloat16(device, cast("Precision", wanted))
