"""What a card may say of modality, view and body part, proposed to a person from what is public anyway.

That is the caption and the base, which the embedding's file names. No header and no pixel is asked: people publish what
a draft proposes, so that no one patient may change it (docs/adr/0060-the-caption-chooses-the-base.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from embhub.builtin_bases import Generates
from embhub.cards import radlex
from embhub.cards.vocabulary import MODALITIES

_FILM, _MR, _SLIDE = ("CR", "DX"), ("MR",), ("SM",)
_MODALITIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: (code,) for code, name in MODALITIES.items() if code != "OT"}
    | dict.fromkeys(("x-ray", "x-rays", "xray", "x ray", "radiograph", "radiographs", "radiography", "cxr"), _FILM)
    | dict.fromkeys(("mri", "mr", "t1w", "t2w", "t1-weighted", "t2-weighted", "flair", "diffusion-weighted"), _MR)
    | dict.fromkeys(("histology", "histopathology", "whole slide", "h&e"), _SLIDE)
    | {"ct": ("CT",), "pet": ("PT",), "oct": ("OCT",), "sonography": ("US",), "mammogram": ("MG",)}
    | {"dermoscopic": ("DMS",), "endoscopic": ("ES",), "angiogram": ("XA",)}
)
"""DICOM's codes of images, by words of captions."""
_VIEWS: Mapping[str, str] = MappingProxyType(
    {word: word for word in ("frontal", "lateral", "axial", "coronal", "sagittal", "oblique")}
    | {"pa": "PA", "posteroanterior": "PA", "ap": "AP", "anteroposterior": "AP"}
    | {"cc": "CC", "craniocaudal": "CC", "mlo": "MLO", "mediolateral oblique": "MLO"}
)


def propose(caption: str, base: Generates | None = None) -> dict[str, Any]:
    """Values of `modality`, `view` and `anatomy` that the caption names, else the base's card.

    Args:
        caption: the training's prompt template, as the embedding's header has it.
        base: what the base generates, None where that is not known.

    Returns:
        Plain data of the card's fields, without fields of which neither says anything.
    """
    text, known = caption.replace("{}", " "), base or Generates("")
    views = radlex.mentioned(text, _VIEWS) or [known.view]
    named = dict.fromkeys(code for codes in radlex.mentioned(text, _MODALITIES) for code in codes)
    organs = radlex.mentioned_organs(text)
    organs = organs or [term for part in known.body_parts if (term := radlex.find("anatomy", part))][:1]
    found = {
        "modality": list(named or known.modalities),
        "view": views[0] if len(views) == 1 else "",
        "anatomy": [{"system": "RadLex", "code": term.code, "display": term.name} for term in organs],
    }
    return {name: value for name, value in found.items() if value}
