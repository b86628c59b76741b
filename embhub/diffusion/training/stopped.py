"""A training that was interrupted, and what it left on disk. Imports no torch."""

from __future__ import annotations

from pathlib import Path


class TrainingInterruptedError(KeyboardInterrupt):
    """A training was interrupted after `step` whole steps; `--resume` continues from `checkpoint`, the file it left."""

    def __init__(self, step: int, checkpoint: Path | None = None) -> None:
        super().__init__(f"interrupted after step {step}")
        self.step, self.checkpoint = step, checkpoint
