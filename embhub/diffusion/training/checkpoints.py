"""Where an interrupted training stood: one private file, from which `--resume` ends in the very same bytes.

It holds rows, AdamW's moments, the state of the random numbers, the losses, the seed, and digests of what defines the
training; no pixel, path, patient or name. It lies in the site's state under a hash of the file to be written, and goes
when that file is there. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from embhub.diffusion.training.inversion import DivergedError, Inversion, State
from embhub.diffusion.training.seeding import draw_seed
from embhub.diffusion.training.stopped import TrainingInterruptedError as TrainingInterruptedError
from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.formats import strict_json
from embhub.site import config

SECONDS = 10.0
"""Between two checkpoints: what a power cut may cost. The first is written after the first step."""

_MAGIC = b"embhub.checkpoint/1"
_AFRESH = "leave out --resume to start afresh"
_PARTS = ("rows", "means", "squares")
_MOST_BYTES = 100_000_000
"""A million losses and 64 rows are a tenth of it."""
_RANDOM = torch.Generator().get_state()


@dataclass(frozen=True)
class Checkpoint:
    """A state, its seed, and the `definition` of the training: each thing that decides the result, by the name that a
    person is shown. Images and base as digests, words and settings as they are."""

    definition: Mapping[str, str]
    seed: int
    state: State


class CheckpointStore:
    """Keeps the checkpoint of the training that writes `out`; with `out` None it keeps nothing.

    With `resume` it takes up what an earlier process left there, if anything.

    Raises:
        ConfigError: the checkpoint is damaged, or others can read it.
    """

    def __init__(self, out: Path | None, *, resume: bool) -> None:
        self._path = place(out) if out is not None else None
        found = self._path is not None and self._path.exists()
        self.saved = read(self._path) if self._path and found and resume else None
        self.replaces = found and not resume
        self._definition: Mapping[str, str] = {}
        self._seed = 0
        self._last: State | None = None
        self._due = 0.0

    def choose_seed(self, given: int | None) -> int:
        """The seed that was said, that of the training to go on with, or a new one.

        Raises:
            UsageError: no generator takes it.
        """
        if given is not None:
            if not 0 <= given < 2**63:
                raise UsageError(f"a seed of {given}", "choose a whole number from 0 to 2^63 - 1")
            return given
        return self.saved.seed if self.saved else draw_seed()

    def define(self, definition: Mapping[str, str], *, seed: int) -> State | None:
        """Say what defines this training; returns the state to go on from, if there is one.

        Raises:
            UsageError: the checkpoint is of another training, named by what differs.
        """
        self._definition, self._seed = definition, seed
        if self.saved is None:
            return None
        before = {**self.saved.definition, "seed": str(self.saved.seed)}
        now = {**definition, "seed": str(seed)}
        if different := sorted(name for name in {*before, *now} if before.get(name) != now.get(name)):
            raise UsageError(
                f"the interrupted training had other settings: {', '.join(different)}",
                f"give the same command as then, or {_AFRESH}",
            )
        return self.saved.state

    def watch(self, training: Inversion) -> None:
        """Take a copy of the state after a step, and write it when it is time."""
        if self._path is None or not training.losses:
            return
        self._last = training.state()
        if time.monotonic() >= self._due:
            self._write()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While open, an interrupt leaves the last whole step on disk; a loss that is no number leaves nothing."""
        try:
            yield
        except DivergedError:
            self.remove()
            raise
        except KeyboardInterrupt as error:
            self._write()
            stands = self._last or (self.saved.state if self.saved else None)
            if self._path is None or stands is None:
                raise
            raise TrainingInterruptedError(len(stands.losses), self._path) from error

    def remove(self) -> None:
        """Forget the training: its file is there."""
        if self._path is not None:
            for path in (self._path, *self._path.parent.glob(f".{self._path.name}.*")):  # and what a kill left
                path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._path is not None and self._last is not None:
            write(self._path, Checkpoint(self._definition, self._seed, self._last))
            self._due = time.monotonic() + SECONDS


def place(out: Path) -> Path:
    """Where the checkpoint of the training that writes `out` lies, on this site."""
    name = hashlib.sha256(str(out.absolute()).encode()).hexdigest()
    return config.paths().state / "trainings" / f"{name}.checkpoint"


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Replace a checkpoint in one rename, mode 0600 in a folder of mode 0700.

    Raises:
        ConfigError: the state folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"cannot write in {path.parent}: {error.strerror}", "check EMBHUB_HOME") from error
    write_atomic(path, encode(checkpoint), mode=0o600)


def read(path: Path) -> Checkpoint:
    """The checkpoint in a file.

    Raises:
        ConfigError: it is damaged, was written by something else, is a link, or can be used by others.
    """
    data = read_bytes(path)
    try:
        return decode(data)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ConfigError(f"the checkpoint {path} is damaged", _AFRESH) from error


def read_bytes(path: Path) -> bytes:
    """The bytes of a private file of one's own.

    Raises:
        ConfigError: it cannot be read, is a link, somebody else's, or can be used by others.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
                raise ConfigError(f"{path} is no file of yours", f"remove it, or {_AFRESH}")
            if facts.st_mode & 0o077:
                raise ConfigError(f"others can read or change {path}, which is private", f"chmod 600 {path}")
            return file.read(_MOST_BYTES + 1)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(f"{path} is no file of yours, but a link", f"remove it, or {_AFRESH}") from error
        raise ConfigError(f"cannot read {path}: {error.strerror}", _AFRESH) from error


def encode(checkpoint: Checkpoint) -> bytes:
    """A line with the digest of all that follows, a line of JSON, and the tensors as safetensors."""
    state = checkpoint.state
    tensors = {f"{part}.{name}": value for part in _PARTS for name, value in getattr(state, part).items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    tensors["generator"] = state.generator
    tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
    facts = {"definition": dict(checkpoint.definition), "seed": checkpoint.seed}
    body: bytes = json.dumps(facts, sort_keys=True).encode() + b"\n" + safetensors.torch.save(tensors)
    return _MAGIC + b" " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def decode(data: bytes) -> Checkpoint:
    """The inverse of `encode`.

    Raises:
        ValueError, KeyError, TypeError, SafetensorError: not what `encode` wrote.
    """
    head, _, body = data.partition(b"\n")
    if len(data) > _MOST_BYTES or head != _MAGIC + b" " + hashlib.sha256(body).hexdigest().encode():
        raise ValueError("not a checkpoint, or not a whole one")
    line, _, rest = body.partition(b"\n")
    facts = strict_json.read_object(line, limit=100_000)
    definition, seed = facts["definition"], facts["seed"]
    words = isinstance(definition, dict) and all(isinstance(value, str) for value in definition.values())
    if not words or type(seed) is not int or not 0 <= seed < 2**63:
        raise TypeError("facts of another type")
    return Checkpoint(definition, seed, _read_state(safetensors.torch.load(rest)))


def _read_state(tensors: dict[str, Tensor]) -> State:
    generator, losses = tensors.pop("generator"), tensors.pop("losses")
    if (generator.shape, generator.dtype) != (_RANDOM.shape, _RANDOM.dtype):
        raise ValueError("random numbers of another generator")
    if losses.dim() != 1 or losses.dtype != torch.float64:
        raise ValueError("losses of another shape or type")
    parts: dict[str, Any] = {
        part: {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{part}.")}
        for part in _PARTS
    }
    shapes = [{name: (value.shape, value.dtype) for name, value in parts[part].items()} for part in _PARTS]
    if not shapes[0] or any(shape != shapes[0] for shape in shapes) or len(tensors) != len(_PARTS) * len(shapes[0]):
        raise ValueError("rows and moments differ in shape, or there is more")
    return State(**parts, generator=generator, losses=tuple(losses.tolist()))
