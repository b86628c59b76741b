"""What is known of an adapted base: `base.json` for machines, `README.md` for people, a mark beside every changed part.

All of it says in plain words that no audit and no privacy claim covers the base.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from embhub.diffusion.bases.found import ADAPTED, FoundBase
from embhub.errors import PrivacyError
from embhub.formats import safe_yaml

MARK = ADAPTED
"""The file that marks a part as learned from a site's images without privacy, wherever the part is copied to."""

UNKNOWN = "unknown"
NO_CLAIM = (
    "No differential-privacy claim covers these weights, and no embhub audit does: an audit attacks embeddings, and "
    "this is a base. Millions of weights can keep far more of single images than the few rows of an embedding."
)
_SCHEMA = "embhub.adaptation/1"
_IN_LORA = "embhub.adaptation"


@dataclass(frozen=True)
class Adaptation:
    """What was done: the base, the parts and how many of their weights learned, from how many images of how many
    patients (None where the source names none), the settings, and the loss on patients kept back, before and after."""

    base: str
    base_fingerprint: str
    parts: tuple[str, ...]
    lora_rank: int | None
    weights: int
    images: int
    patients: int | None
    captions: tuple[str, ...]
    settings: Mapping[str, str | int | float | None]
    held_out_loss: tuple[float, float] | None

    def to_json(self) -> str:
        """The mark's text."""
        told = {"schema": _SCHEMA, "privacy": "none", "statement": NO_CLAIM, **asdict(self)}
        return json.dumps(told, indent=2) + "\n"


def is_adapted(folder: Path) -> bool:
    """Whether a part of this pipeline folder was learned from a site's images without privacy, as its mark says, or the
    base's own facts."""
    return any(folder.glob(f"*/{MARK}")) or (folder / MARK).is_file() or bool(_own_facts(folder).get("adaptation"))


def mark_lora(path: Path, mark: str) -> None:
    """Write the mark into a LoRA's file as well: it is often passed on alone.

    Raises:
        OSError, SafetensorError: the disk is full.
    """
    with safe_open(path, framework="pt") as file:
        said, tensors = file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={**said, _IN_LORA: mark})


def read_lora_mark(path: Path) -> str | None:
    """The mark of a LoRA that learned from a site's images, from its file or from beside it; None where there is none.

    Raises:
        OSError, SafetensorError: no file of safetensors.
    """
    with safe_open(path, framework="pt") as file:
        inside: str | None = (file.metadata() or {}).get(_IN_LORA)
    beside = path.parent / MARK
    return inside or (beside.read_text(encoding="utf-8") if beside.is_file() else None)


def refuse_claim(found: FoundBase) -> None:
    """Refuse to train with a privacy claim on an adapted base: its weights may tell of the very same patients.

    Raises:
        PrivacyError: the base is marked as learned from a site's images.
    """
    if is_adapted(found.folder):
        raise PrivacyError(
            f"{found.name} was fine-tuned without privacy on a site's images, and no claim would cover what it learned",
            "use the base as it was before, or train without --epsilon",
        )


def find_licence(found: FoundBase) -> tuple[str, str]:
    """Licence and attribution of a base, from its `base.json` or the front matter of its README; else unknown."""
    if told := _own_facts(found.folder):
        return str(told.get("licence", UNKNOWN)), str(told.get("attribution", ""))
    readme = found.folder / "README.md"
    front = (
        re.match(r"---\n(.*?)\n---\n", readme.read_text(encoding="utf-8")[:20_000], re.S) if readme.is_file() else None
    )
    try:
        told = safe_yaml.load(front[1].encode()) if front else {}
    except safe_yaml.YamlError:
        told = {}
    return str(told.get("license", UNKNOWN)) if isinstance(told, dict) else UNKNOWN, f"Adapted from {found.name}."


def base_facts(name: str, found: FoundBase, resolution: int, family: str, done: Adaptation) -> dict[str, Any]:
    """`base.json` of the adapted base: its own name, the licence of the base it came from, what it learned."""
    licence, attribution = find_licence(found)
    return {
        "name": name,
        "family": family,
        "licence": licence,
        "attribution": f"{attribution} {_in_words(done)}".strip(),
        "prompts": {caption: caption for caption in done.captions[:20]},
        "left_out": [],
        "resolution": resolution,
        "recommended": dict(found.recommended),
        "figures": {},
        "adaptation": json.loads(done.to_json()),
    }


def render_card(name: str, found: FoundBase, done: Adaptation) -> str:
    """The card as Markdown with front matter."""
    licence, attribution = find_licence(found)
    settings = "\n".join(
        f"| {key.replace('_', ' ')} | {value} |" for key, value in done.settings.items() if value is not None
    )
    loss = (
        f"Loss on held-out patients: {done.held_out_loss[0]:.4f} before, {done.held_out_loss[1]:.4f} after."
        if done.held_out_loss
        else "No patients were held out, so nothing shows whether it learned or copied."
    )
    shown = "\n".join(f"- `{caption}`" for caption in done.captions[:20])
    known = licence if re.fullmatch(r"[A-Za-z0-9.+-]{1,40}", licence) and licence != UNKNOWN else "other"
    tags = "\ntags:\n- lora" if done.lora_rank else ""
    use = f"--base BASE --replace lora={name}" if done.lora_rank else f"--base {name}"
    return f"""---
license: {known.lower()}
library_name: diffusers
pipeline_tag: text-to-image{tags}
---

# {name}

{_in_words(done)}

**Privacy: none.** {NO_CLAIM} Whoever has the weights can attack them. Treat them as you treat the images, unless
whoever answers for the images decides otherwise.

Use: `embhub generate "…" {use}`. An embedding trained on such a base carries no privacy claim of the patients above.

## Licence

{licence if licence != UNKNOWN else "The licence of the base is not known here: read its own terms before sharing."}
The licence of the base still applies. {attribution}

## Training

| | |
|---|---|
| base | {done.base} (fingerprint `{done.base_fingerprint}`) |
| parts | {", ".join(done.parts)} |
| weights learned | {done.weights:,} |
{settings}

{loss}

Captions:

{shown}

Not for diagnosis. An image that it generates is no evidence of anything in a patient.
"""


def _own_facts(folder: Path) -> dict[str, Any]:
    """What a base's `base.json` tells; nothing where it has none."""
    path = folder / "base.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return told if isinstance(told, dict) else {}


def _in_words(done: Adaptation) -> str:
    people = "of unknown patients" if done.patients is None else f"of {done.patients} patients"
    what = (
        f"a LoRA of rank {done.lora_rank} for {' and '.join(done.parts)}"
        if done.lora_rank
        else " and ".join(done.parts)
    )
    seen = f"trained on {done.images} images {people} of a site, without privacy."
    return f"{what[0].upper()}{what[1:]} of {done.base}, {seen}"
