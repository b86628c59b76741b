"""Where an interrupted adaptation stood: one safetensors file beside what is to be written, mode 0600.

It holds the learning weights, AdamW's moments and the losses. Every random number of a step comes from seed and step:
nothing else is needed. Nothing in it is ever unpickled. It is written beside, synced and renamed: a kill leaves
the one before.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from embhub.durable import sync
from embhub.errors import ConfigError, UsageError

SECONDS = 60.0
"""Between two checkpoints: what a power cut may cost."""

_SCHEMA = "embhub.adaptation-checkpoint/1"
_MOMENTS = ("exp_avg", "exp_avg_sq")
_AFRESH = "leave out --resume to start afresh"


@dataclass(frozen=True)
class Standing:
    """After `len(losses)` whole steps: the loss of each, and the held-out losses as (step, loss)."""

    losses: tuple[float, ...]
    points: tuple[tuple[int, float], ...]


class Checkpoint:
    """The checkpoint of the adaptation that writes `out`; `definition` says what decides its result, in words."""

    def __init__(self, out: Path, definition: Mapping[str, str]) -> None:
        self.path = out.with_name(f".{out.name}.checkpoint")
        self._definition = dict(definition)
        self._due = time.monotonic() + SECONDS

    @property
    def due(self) -> bool:
        """Whether it is time to write it again."""
        return time.monotonic() >= self._due

    def write(self, weights: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, standing: Standing) -> None:
        """Replace it in one rename.

        Raises:
            ConfigError: the disk is full or cannot be written.
        """
        tensors = {f"weight.{name}": weight.detach().cpu().contiguous() for name, weight in weights.items()}
        for name, weight in weights.items():
            for moment in _MOMENTS:
                if weight in optimizer.state:
                    tensors[f"{moment}.{name}"] = optimizer.state[weight][moment].detach().cpu().contiguous()
        facts = {"definition": self._definition, "losses": standing.losses, "points": standing.points}
        partial = self.path.with_name(f"{self.path.name}.part")
        try:
            save_file(tensors, partial, metadata={"schema": _SCHEMA, "facts": json.dumps(facts)})
            partial.chmod(0o600)
            sync(partial)
            partial.replace(self.path)
            sync(self.path.parent)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise ConfigError(
                f"the checkpoint {self.path} cannot be written: {error}", "free space, then go on with --resume"
            ) from error
        self._due = time.monotonic() + SECONDS

    def read(self, weights: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> Standing:
        """Put weights and moments back to where they stood.

        Raises:
            ConfigError: it is damaged.
            UsageError: it is of another adaptation, named by what differs.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                told = file.metadata() or {}
                if told.get("schema") != _SCHEMA:
                    raise ValueError("another schema")
                facts = json.loads(told["facts"])
                self._compare(facts["definition"])
                standing = Standing(tuple(facts["losses"]), tuple((step, loss) for step, loss in facts["points"]))
                _restore(file.get_tensor, set(file.keys()), weights, optimizer, len(standing.losses))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ConfigError(f"the checkpoint {self.path} is damaged", _AFRESH) from error
        return standing

    def remove(self) -> None:
        """Forget the adaptation."""
        for path in (self.path, self.path.with_name(f"{self.path.name}.part")):
            path.unlink(missing_ok=True)

    def _compare(self, before: Mapping[str, str]) -> None:
        names = {*before, *self._definition}
        if different := sorted(name for name in names if before.get(name) != self._definition.get(name)):
            raise UsageError(
                f"the interrupted adaptation had other settings: {', '.join(different)}",
                f"give the same command as then, or {_AFRESH}",
            )


def _restore(
    get: Callable[[str], Tensor],
    names: Collection[str],
    weights: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    steps: int,
) -> None:
    """AdamW has no moments of a weight that never had a gradient, such as the last layer of a text encoder of which
    the last but one is read."""
    state = {}
    for number, (name, weight) in enumerate(weights.items()):
        with torch.no_grad():
            weight.copy_(get(f"weight.{name}"))
        if steps and f"{_MOMENTS[0]}.{name}" in names:
            moments = {moment: get(f"{moment}.{name}") for moment in _MOMENTS}
            state[number] = {"step": torch.tensor(float(steps)), **moments}
    known = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": known["param_groups"]})
