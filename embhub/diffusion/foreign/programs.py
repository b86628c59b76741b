"""What other programs want of an embedding's file: which layouts they load, and how a prompt calls it.

Read from their sources (tests/support/foreign_loaders.py restates their rules and cites them): most take a file of
ours as it is, so most exports are a copy under the right name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Form = Literal["same", "pt", "by token"]
"""same: our file as it is. pt: AUTOMATIC1111's pickle of one matrix. by token: {token: rows}, one file an encoder."""


@dataclass(frozen=True)
class Program:
    """`forms` by layout; `prompt` and `stem` with {word} for the token without brackets and {token} for it whole."""

    title: str
    forms: Mapping[str, Form]
    prompt: str
    put: str
    clip_widths: tuple[int, ...] = ()
    """Widths of a single encoder that it knows; any, where empty."""


_BOTH: Mapping[str, Form] = {"sd": "same", "sdxl": "same"}
_SD = (768, 1024)

PROGRAMS: Mapping[str, Program] = {
    "diffusers": Program(
        "diffusers",
        {"sd": "by token", "sdxl": "by token", "flux": "by token"},
        "{token}",
        "give it to load_textual_inversion; of several files, each with the text encoder in its name",
    ),
    "a1111": Program(
        "AUTOMATIC1111's web UI", {"sd": "pt", "sdxl": "same"}, "{word}", "put it into embeddings/", clip_widths=_SD
    ),
    "forge": Program("Forge", _BOTH, "{word}", "put it into embeddings/", clip_widths=_SD),
    "comfyui": Program(
        "ComfyUI",
        {**_BOTH, "sd3": "same", "flux": "same"},
        "embedding:{word}",
        "put it into models/embeddings/",
        clip_widths=_SD,
    ),
    "invokeai": Program("InvokeAI", _BOTH, "<{word}>", "add it in the model manager, under this name", clip_widths=_SD),
    "kohya": Program("kohya's sd-scripts", _BOTH, "{word}", "pass it with --weights, to train on", clip_widths=_SD),
}
