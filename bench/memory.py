"""Peak memory of one training arm in a process of its own, on top of the loaded base: `python -m bench.memory`."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from bench.arms import Side, Task, draw_images, first_word, started
from embhub.diffusion.bases.pipelines import load_pipeline

STEPS = 3
"""The second step is the first with AdamW's moments in place; one more for good measure."""


def measure(side: Side, base: str, *, batch_size: int, images: int) -> int:
    """Bytes that training takes at its peak, beyond what the process held before, base and images included.

    Raises RuntimeError where the child ends in an error.
    """
    words = [sys.executable, "-m", "bench.memory", side, base, str(batch_size), str(images)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError(f"the memory of {side} could not be measured: {done.stderr[-1000:]}")
    return int(done.stdout.split()[-1])


def _peak() -> int:
    """Largest resident memory so far, in bytes.

    On Linux of this program alone: getrusage there remembers the parent that it was started from, which is larger.
    """
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _forget_peak() -> None:
    """Start the peak anew where the system can: loading a base may take more than it holds afterwards."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Train a few steps and print the bytes."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("side", choices=("embhub", "peer"))
    parser.add_argument("base")
    parser.add_argument("batch_size", type=int)
    parser.add_argument("images", type=int)
    asked = parser.parse_args()
    pipe = load_pipeline(asked.base, device="cpu")
    task = Task(draw_images(pipe, asked.images, seed=0), first_word(pipe), asked.batch_size)
    _forget_peak()
    before = _peak()
    with started(asked.side, pipe, task) as arm:
        for _ in range(STEPS):
            arm.step()
    print(_peak() - before)


if __name__ == "__main__":
    main()
