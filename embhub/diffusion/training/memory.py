"""How much memory a training needs, computed before it runs, and what to change where it is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from embhub.diffusion.families import denoiser
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.inversion import Inversion, ResolvedRecipe
from embhub.errors import UsageError

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
_PIECES = (
    "ResnetBlock2D",
    "BasicTransformerBlock",
    "JointTransformerBlock",
    "FluxTransformerBlock",
    "FluxSingleTransformerBlock",
    "SanaTransformerBlock",
    "ZImageTransformerBlock",
    "Flux2TransformerBlock",
    "Flux2SingleTransformerBlock",
    "QwenImageTransformerBlock",
)
"""What diffusers computes again as one with gradient checkpointing."""


class OutOfMemoryError(UsageError):
    """The training does not fit into the memory of its device."""


@dataclass(frozen=True)
class Need:
    """Bytes of a training, by computation: the base's `weights`, the cached `latents`, and what autograd keeps of
    `images` images at a time. Working space of single operations comes on top."""

    weights: int
    latents: int
    activations: int
    images: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.latents + self.activations

    def __str__(self) -> str:
        return (
            f"{_size(self.total)} by computation: {_size(self.weights)} for the base, {_size(self.latents)} for"
            f" latents, about {_size(self.activations)} for {self.images} images at a time"
        )


class Forecast:
    """Says once, before the first step, what a training needs."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said = say, False

    def watch(self, training: Inversion) -> None:
        """Tell the need, where it was not told yet."""
        if not self._said:
            self._said = True
            for sentence in describe(estimate(training), training.pipe.device, training.recipe):
                self._say(sentence)


def estimate(training: Inversion) -> Need:
    """What the step of an active training needs: autograd's own tensors are counted for one and two images.

    Draws no random numbers and changes nothing.
    """
    images, latents = training.recipe.at_once, training.latents
    one = _count_saved(training, latents[:1])
    each = _count_saved(training, latents[:2]) - one if images > 1 and len(latents) > 1 else 0
    weights = sum(part.numel() * part.element_size() for part in _weights(training.pipe))
    return Need(weights, latents.numel() * latents.element_size(), one + (images - 1) * each, images)


def free(device: torch.device) -> int | None:
    """Bytes that a training may still take on a device; None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    report = Path("/proc/meminfo")
    lines = report.read_text().splitlines() if device.type == "cpu" and report.exists() else []
    system = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    return min([*system, *(_container() if system else [])], default=None)


def _container(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Bytes left under a container's limit (Linux control groups, version 2); nothing where there is none."""
    try:
        limit, used = ((root / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return [] if limit == "max" else [max(0, int(limit) - int(used))]
    except (OSError, ValueError):
        return []


def describe(need: Need, device: torch.device, recipe: ResolvedRecipe) -> list[str]:
    """Sentences for a person: the need, and a warning where more is needed than is free."""
    said = [f"memory on {device.type}: {need}"]
    room = free(device)
    # The weights are there already.
    if room is not None and need.total - need.weights > room:
        said.append(f"that is more than the {_size(room)} free on {device.type}: {advise(recipe)}")
    return said


def advise(recipe: ResolvedRecipe | None) -> str:
    """What to change when memory runs out, the cheapest first; without a recipe the base alone is too large."""
    if recipe and recipe.at_once > 1:
        return f"give --micro-batch-size {recipe.at_once // 2}, which learns the same a little slower"
    if recipe and not recipe.gradient_checkpointing:
        return "give --gradient-checkpointing, which learns the same in about a third more time"
    return "close other programs, use --device cpu, or a smaller base"


@contextmanager
def explain_out_of_memory(recipe: ResolvedRecipe | None) -> Iterator[None]:
    """While open, an error for want of memory becomes one that says what to change.

    Raises:
        OutOfMemoryError: the device's memory is full.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(w in str(error).lower() for w in _WORDS)
        if not told:
            raise
        what = f"{recipe.at_once} images at a time" if recipe else "the base"
        raise OutOfMemoryError(f"not enough memory for {what}", advise(recipe)) from error


def _count_saved(training: Inversion, latents: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass of these images, weights not counted."""
    tally = _Tally(training.pipe)
    times = torch.zeros(len(latents), dtype=torch.long, device=training.pipe.device)
    latents = latents.to(training.pipe.device)
    with tally.counting(pieces=training.recipe.gradient_checkpointing):
        training.errors(latents, torch.zeros_like(latents), times, training.condition())
    return tally.kept + tally.largest


class _Tally:
    """Sums what autograd saves. With gradient checkpointing each piece is computed again alone: the largest counts."""

    def __init__(self, pipe: Pipeline) -> None:
        self._denoiser = denoiser(pipe)
        self._seen = {part.untyped_storage()._cdata for part in _weights(pipe)}
        self._held: list[Tensor] = []
        self._open: list[saved_tensors_hooks] = []
        self._piece = 0
        self.kept = self.largest = 0

    @contextmanager
    def counting(self, *, pieces: bool) -> Iterator[None]:
        with ExitStack() as stack:
            for module in self._denoiser.modules() if pieces else ():
                if type(module).__name__ in _PIECES:
                    stack.callback(module.register_forward_pre_hook(self._enter).remove)
                    stack.callback(module.register_forward_hook(self._leave).remove)
            stack.enter_context(saved_tensors_hooks(self._keep, _same))
            yield
        self._held.clear()

    def _enter(self, *_: Any) -> None:
        self._piece = 0
        hooks = saved_tensors_hooks(self._keep_piece, _same)
        hooks.__enter__()
        self._open.append(hooks)

    def _leave(self, *_: Any) -> None:
        self._open.pop().__exit__(None, None, None)
        self.largest = max(self.largest, self._piece)

    def _keep(self, tensor: Tensor) -> Tensor:
        self.kept += self._bytes(tensor)
        return tensor

    def _keep_piece(self, tensor: Tensor) -> Tensor:
        self._piece += self._bytes(tensor)
        return tensor

    def _bytes(self, tensor: Tensor) -> int:
        """Of a storage that was not counted yet; it is held, so that its identity is not used again."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._seen:
            return 0
        self._seen.add(storage._cdata)
        self._held.append(tensor)
        return storage.nbytes()


def _weights(pipe: Pipeline) -> list[Tensor]:
    parts = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    return [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _size(count: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6)):
        if count >= scale:
            return f"{count / scale:.2g} {unit}" if count < 10 * scale else f"{count // scale} {unit}"
    return f"{count // 1000} kB"
