"""The sheet that shows what an embedding changes: without and with it, each row from one seed."""

from __future__ import annotations

import shlex
from pathlib import Path

from embhub.cli.output import remark

ROWS = "4"


def words(without: str, prompt: str, file: str) -> list[str]:
    """The words of the command that generates the sheet beside `file`, from two prompts."""
    drawing = ["generate", without, "--interpolate-to", prompt, "--series", "2", "-n", ROWS]
    return [*drawing, "--embedding", file, "--out", f"{file.removesuffix('.safetensors')}-sheet"]


def name_it(caption: str, token: str, file: Path) -> None:
    """Say how to see what was learned; `caption` has {} where the placeholder token belongs."""
    prompt = caption.replace("{}", token)
    without = ", ".join(part for one in caption.split(",") if (part := one.replace("{}", "").strip()))
    if without:
        remark(f" see it: {shlex.join(['embhub', *words(without, prompt, str(file))])}")
