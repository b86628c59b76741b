"""Where an interrupted private training stood. Going on from it draws fresh noise, and pays for steps taken twice.

It holds coordinates and momentum, which are noisy already, the ledger's name of the run, and what the training is to be
recognised by (as in `embhub.diffusion.training.checkpoints`, whose place and rules it shares). No seed, no state of
random numbers, no loss, no patient.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from embhub.diffusion.training import checkpoints
from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.formats import strict_json

_AFRESH = "leave out --resume to start afresh; what was spent stays spent"
_SCHEMA = "embhub.private-checkpoint/1"
_RUN = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class PrivateCheckpoint:
    """A private training after `taken` whole steps, with `announced` to the ledger, where its name is `run`."""

    definition: Mapping[str, str]
    run: str
    announced: int
    taken: int
    state: Mapping[str, Tensor]


class PrivateCheckpointStore:
    """Keeps the stand of the training that writes `out`; with `out` None it keeps nothing.

    Raises:
        ConfigError: with `resume`, what was kept is damaged, or others can use it.
    """

    def __init__(self, out: Path | None, *, resume: bool) -> None:
        self.path = checkpoints.place(out).with_suffix(".private") if out is not None else None
        found = self.path is not None and self.path.exists()
        self.saved = decode(checkpoints.read_bytes(self.path), self.path) if self.path and found and resume else None
        self.replaces = found and not resume

    def check(self, definition: Mapping[str, str]) -> None:
        """Refuse to go on with the training of something else.

        Raises:
            UsageError: names what differs.
        """
        before = self.saved.definition if self.saved else definition
        if different := sorted(n for n in {*before, *definition} if before.get(n) != definition.get(n)):
            raise UsageError(
                f"the interrupted training had other settings: {', '.join(different)}",
                f"give the same command as then, or {_AFRESH}",
            )

    def keep(self, stand: PrivateCheckpoint) -> None:
        """Write a stand after a whole step.

        Raises:
            ConfigError: the state folder cannot be written.
        """
        if self.path is not None:
            write_atomic(self.path, encode(stand), mode=0o600)

    def remove(self) -> None:
        """Forget it: the training ended."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def encode(stand: PrivateCheckpoint) -> bytes:
    """A line with the digest of what follows, and a line of JSON."""
    state = {name: base64.b64encode(part.numpy().tobytes()).decode() for name, part in stand.state.items()}
    facts = {
        "definition": dict(stand.definition),
        "run": stand.run,
        "announced": stand.announced,
        "taken": stand.taken,
        "state": state,
    }
    body = json.dumps(facts, sort_keys=True).encode()
    return f"{_SCHEMA} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def decode(data: bytes, path: Path) -> PrivateCheckpoint:
    """The inverse of `encode`.

    Raises:
        ConfigError: not what `encode` wrote.
    """
    try:
        head, _, body = data.partition(b"\n")
        if head != f"{_SCHEMA} {hashlib.sha256(body).hexdigest()}".encode():
            raise ValueError("not a stand, or not a whole one")
        facts = strict_json.exact(
            strict_json.read_object(body, limit=len(body)),
            {"definition", "run", "announced", "taken", "state"},
            what="a stand",
        )
        state = {
            name: torch.from_numpy(np.frombuffer(base64.b64decode(facts["state"][name], validate=True)).copy())
            for name in ("coordinates", "momentum")
        }
        finite = all(bool(torch.isfinite(part).all()) for part in state.values())
        counts = [facts["taken"], facts["announced"]]
        whole = all(type(count) is int for count in counts) and 0 < counts[0] <= counts[1]
        if not (_RUN.fullmatch(facts["run"]) and isinstance(facts["definition"], dict) and whole and finite):
            raise ValueError("facts of another kind")
        return PrivateCheckpoint(facts["definition"], facts["run"], facts["announced"], facts["taken"], state)
    except (ValueError, KeyError, TypeError, AttributeError, strict_json.JsonError) as error:
        raise ConfigError(f"the checkpoint {path} is damaged", _AFRESH) from error
