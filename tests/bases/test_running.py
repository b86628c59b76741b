"""A course cut off anywhere ends where the uninterrupted one does; limits, the stop by held-out loss, the log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from embhub.diffusion.adaptation.base_training import running
from embhub.diffusion.training.precision import in_bfloat16
from embhub.diffusion.training.stopped import TrainingInterruptedError

ROOT = Path(__file__).parents[2]


class Walk:
    """A course whose every step depends on the last state and on the step's own randomness."""

    measure_every = 10

    def __init__(self, pause: float = 0.0, falls_until: int = 10**9) -> None:
        self.value, self.best, self.pause = torch.zeros(3, dtype=torch.float64), torch.zeros(3), pause
        self.falls_until, self.steps = falls_until, 0

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "best": self.best, "steps": self.steps}

    def load(self, state: Mapping[str, Any]) -> None:
        self.value, self.best, self.steps = state["value"], state["best"], state["steps"]

    def advance(self, number: int) -> dict[str, float]:
        noise = torch.randn(3, generator=running.randomness(4, number), dtype=torch.float64)
        self.value = 0.99 * self.value + noise
        self.steps += 1
        time.sleep(self.pause)
        return {"loss": float(self.value[0])}

    def measure(self) -> dict[str, float]:
        return {"held_out_loss": 1.0 / min(self.steps, self.falls_until)}

    def keep_best(self) -> None:
        self.best = self.value.clone()


def test_a_resumed_course_is_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, first, second = Walk(), Walk(), Walk()
    running.run(whole, tmp_path / "whole", running.Limits(steps=100))
    running.run(first, tmp_path / "parts", running.Limits(steps=37))
    progress = running.run(second, tmp_path / "parts", running.Limits(steps=100))
    assert torch.equal(second.value, whole.value)
    assert torch.equal(second.best, whole.best)
    assert (progress.step, progress.sessions) == (100, 2)
    assert progress == running.read_progress(tmp_path / "parts")


@pytest.mark.thorough
def test_kill_9_loses_no_more_than_the_time_between_two_saves(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests/bases')\n"
        "from embhub.diffusion.adaptation.base_training import running; from test_running import Walk\n"
        f"running.run(Walk(pause=0.01), Path({str(tmp_path)!r}), running.Limits(steps=10**6), save_every=0.2)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": "."})
    try:
        deadline = time.monotonic() + 120
        while (seen := running.read_progress(tmp_path)) is None or seen.step < 20:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = running.read_progress(tmp_path)
    assert left is not None and left.step >= seen.step
    resumed, whole = Walk(), Walk()
    running.run(resumed, tmp_path, running.Limits(steps=left.step + 30))
    running.run(whole, tmp_path / "whole", running.Limits(steps=left.step + 30))
    assert torch.equal(resumed.value, whole.value)


def test_sigterm_ends_after_the_step_with_everything_saved(tmp_path: Path) -> None:
    course = Walk()
    advance = course.advance

    def stopped(number: int) -> dict[str, float]:
        if number == 15:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(number)

    course.advance = stopped  # type: ignore[method-assign]
    with pytest.raises(TrainingInterruptedError, match="after step 16"):
        running.run(course, tmp_path, running.Limits(steps=100))
    again = Walk()
    again.load(running.read_course(tmp_path) or {})
    assert torch.equal(again.value, course.value)


def test_it_stops_when_the_held_out_loss_no_longer_falls_and_keeps_the_best(tmp_path: Path) -> None:
    course = Walk(falls_until=50)
    progress = running.run(course, tmp_path, running.Limits(patience=4))
    assert (progress.best_step, progress.step) == (50, 90)
    whole = Walk()
    running.run(whole, tmp_path / "to the best", running.Limits(steps=50))
    assert torch.equal(course.best, whole.value)


def test_time_limits_end_a_session(tmp_path: Path) -> None:
    began = time.monotonic()
    progress = running.run(Walk(pause=0.01), tmp_path, running.Limits(minutes=0.01))
    assert 0 < progress.step < 1000
    assert time.monotonic() - began < 30


def test_the_log_has_a_line_for_every_measurement(tmp_path: Path) -> None:
    running.run(Walk(), tmp_path, running.Limits(steps=30))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert all({"loss", "held_out_loss", "cpu_minutes"} <= line.keys() for line in lines)


def test_the_workshop_and_trainings_choose_the_same_precision() -> None:
    assert running.fast_precision("cpu", "auto") is in_bfloat16("cpu")
    assert running.fast_precision("cpu", "bfloat16") is True
    assert running.fast_precision("cuda", "float32") is False
