"""The built-in bases, and what is known of any base: names, folders, facts. Imports no torch.

`builtin` draws phantoms of three modalities, `builtin-xray` frontal chest X-rays, both at 128 x 128 pixels. They are
Stable Diffusion pipelines of about 15 MB. Their weights come with the distribution `embhub-bases`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embhub.errors import ConfigError, UsageError
from embhub.project import how_to_install

NAMES = ("builtin", "builtin-xray")


@dataclass(frozen=True)
class Generates:
    """What a base generates, by its card, for people (`what`) and for comparing it with images and captions.

    `modalities` and `body_parts` are DICOM's codes of the images that it generates (PS3.3 C.7.3.1.1.1, PS3.16 Annex L);
    empty where no scanner makes such images. `view` is the view of all of them, if they have one. `words` are groups: a
    caption that holds a word of each group names such images, unless it holds one of `other_words`.
    """

    what: str
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    view: str = ""
    words: tuple[tuple[str, ...], ...] = ()
    other_words: tuple[str, ...] = ()


GENERATES = {
    "builtin": Generates("phantoms, drawn by a program (chest films, prostate slices, stained tissue); no patients"),
    "builtin-xray": Generates(
        "frontal chest X-rays of children and adults",
        modalities=("CR", "DX", "RG"),
        body_parts=("CHEST", "THORAX", "LUNG"),
        view="frontal",
        words=(
            ("x-ray", "xray", "x ray", "radiograph", "radiographs", "radiography", "röntgen", "cxr"),
            ("chest", "thorax", "thoracic", "lung", "lungs", "cxr"),
        ),
        other_words=("lateral", "phantom", "phantoms"),
    ),
}
"""What the built-in bases generate, by name."""


@dataclass(frozen=True)
class BaseInfo:
    """What a base's `base.json` says.

    `prompts` maps a label to the prompt it was taught with, `left_out` names what it never saw, `resolution` is in
    pixels, `recommended` holds guidance and sampling steps, `figures` what a judge counted, each with its `n`.
    `generates` is None where the base is none of ours.
    """

    name: str
    path: Path
    family: str
    licence: str
    attribution: str
    prompts: dict[str, str]
    left_out: tuple[str, ...]
    resolution: int
    recommended: dict[str, float]
    generates: Generates | None = None
    figures: dict[str, Any] = field(default_factory=dict)


def resolve(name_or_path: str | Path) -> Path | None:
    """The pipeline folder of a built-in name or of a path; None for anything else (a Hub id, say).

    A name wins over a folder of the same name: write `./builtin` for the folder. Raises ConfigError where a built-in
    base is missing from the installation.
    """
    if name_or_path in NAMES:
        return _weights(str(name_or_path))
    path = Path(name_or_path)
    return path if path.is_dir() else None


def _weights(name: str) -> Path:
    try:
        import embhub_bases
    except ImportError:
        raise ConfigError(f"the base {name!r} is not installed", how_to_install("diffusion")) from None
    return embhub_bases.folder(name)


def info(name_or_path: str | Path) -> BaseInfo:
    """Facts of a built-in base, or of a folder that holds a `base.json`. Raises UsageError: none to read."""
    folder = resolve(name_or_path)
    if folder is None or not (folder / "base.json").exists():
        raise UsageError(f"nothing is known of the base {name_or_path}", f"choose one of {', '.join(NAMES)}")
    try:
        facts = json.loads((folder / "base.json").read_text(encoding="utf-8"))
        return BaseInfo(
            name=str(facts["name"]),
            path=folder,
            family=facts["family"],
            licence=facts["licence"],
            attribution=facts["attribution"],
            prompts=facts["prompts"],
            left_out=tuple(facts["left_out"]),
            resolution=facts["resolution"],
            recommended=facts["recommended"],
            generates=GENERATES.get(str(facts["name"])),
            figures=facts["figures"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"the base's base.json cannot be read: {error}", "install the base again") from error


def shipped() -> list[BaseInfo]:
    """Facts of every base in the package."""
    return [info(name) for name in NAMES]


def browser_graphs() -> dict[str, Path]:
    """Folders of ONNX graphs by the name of the built-in base. Empty where `embhub-bases` is not installed."""
    try:
        import embhub_bases
    except ImportError:
        return {}
    found = {name: embhub_bases.browser_graphs(name) for name in NAMES}
    return {name: path for name, path in found.items() if path is not None}


__all__ = ["GENERATES", "NAMES", "BaseInfo", "Generates", "browser_graphs", "info", "resolve", "shipped"]
