"""Steps of five sites that stop where a test takes over."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from embhub.study import wire
from embhub.study.coordinator import CoordinatorStep
from tests.support.studies import Play, keys_of, step_of, vectors_of

KEYS = keys_of(5)
NAMES = list(KEYS)


def play(sites: int = 5, dropouts: int = 1, **changes: object) -> Play:
    keys = {site: KEYS[site] for site in NAMES[:sites]}
    return Play(step_of(keys, dropouts=dropouts), keys, vectors_of(keys), **changes)  # type: ignore[arg-type]


def reach(stage: str, sites: int = 5, dropouts: int = 1) -> tuple[Play, dict[str, bytes]]:
    """A step that stands before `stage` at the first site, and the message that each site waits for."""
    held: dict[str, bytes] = {}

    def hold(name: str, site: str, data: bytes) -> bytes:
        if name == stage:
            held[site] = data
            if len(held) == sites:
                raise InterruptedError
        return data

    found = play(sites, dropouts, to_site=hold)
    answer = found.answer
    found.answer = lambda name, site, data: b"{}" if name == stage else answer(name, site, data)  # type: ignore[method-assign]
    found.coordinator = _Deaf(found.step, stage)
    with pytest.raises(InterruptedError):
        found.run()
    found.answer = answer  # type: ignore[method-assign]
    return found, held


class _Deaf(CoordinatorStep):
    """Takes no message of one round, so that a test can play it."""

    def __init__(self, step: wire.Step, stage: str) -> None:
        super().__init__(step)
        name = {"begin": "keys", "share": "boxes", "mask": "masked", "agree": "agreement", "show": "shown"}[stage]
        setattr(self, f"take_{name}", lambda _site, _data: None)


def edit(data: bytes, change: Callable[[Any], object]) -> bytes:
    value = json.loads(data)
    change(value)
    return json.dumps(value).encode()
