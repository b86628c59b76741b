"""What an adaptation did, for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embhub.diffusion.bases.adapted import NO_CLAIM, Adaptation


def describe(done: Adaptation, out: Path) -> dict[str, Any]:
    """Names and values, in the order shown."""
    people = "unknown patients" if done.patients is None else f"{done.patients} patients"
    loss = done.held_out_loss
    return {
        "wrote": str(out),
        "use": f"--base {done.base} --replace lora={out}" if done.lora_rank else f"--base {out}",
        "adapted": f"{', '.join(done.parts)} of {done.base}, {done.weights:,} weights",
        "trained on": f"{done.images} images of {people}",
        "held-out loss": f"{loss[0]:.4f} before, {loss[1]:.4f} after" if loss else "no images were held out",
        "privacy": f"none. {NO_CLAIM}",
    }
