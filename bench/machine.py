"""The machine that measured, as far as figures depend on it: no name, no path, nothing of who owns it."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

from embhub.diffusion.training.instructions import bfloat16_instructions

LIBRARIES = ("embhub", "torch", "diffusers", "transformers", "safetensors", "huggingface_hub", "cryptography")


def describe() -> dict[str, str]:
    """Facts by name, in the order of the table."""
    busy = os.getloadavg()[0]
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "busy before the run": f"load {busy:.1f} of {os.cpu_count()} cores",
    }


def table() -> str:
    """The day and the facts as Markdown, above what was measured."""
    rows = {"measured on": f"{date.today():%Y-%m-%d}", **describe()}
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{model} ({' and '.join(bfloat16_instructions()) or 'no instructions for bfloat16'})"
