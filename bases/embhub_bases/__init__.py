"""Weights of embhub's built-in base models, as pipeline folders that diffusers loads.

`builtin` generates phantoms of three modalities, `builtin-xray` frontal chest X-rays. Each folder holds a README.md
(licence, attribution, measured figures) and a base.json with the same facts for programs.
"""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"
__all__ = ["NAMES", "browser_graphs", "folder"]

NAMES = ("builtin", "builtin-xray")


def folder(name: str) -> Path:
    """The pipeline folder of a base.

    Args:
        name: One of `NAMES`.

    Returns:
        A folder that `diffusers.StableDiffusionPipeline.from_pretrained` loads.

    Raises:
        KeyError: If there is no base of that name.
    """
    if name not in NAMES:
        raise KeyError(name)
    return Path(__file__).parent / name


def browser_graphs(name: str) -> Path | None:
    """The ONNX graphs of a base, by which a page generates images in a browser.

    Args:
        name: One of `NAMES`.

    Returns:
        A folder of graphs and their `sampling.json`. None where the base has none.
    """
    path = Path(__file__).parent / "browser" / name
    return path if path.is_dir() else None
