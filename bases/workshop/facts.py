"""What is known of each built-in base before anything is measured: licence, attribution, taught prompts, what was
left out."""

from __future__ import annotations

from typing import Any

_PHANTOM_PROMPTS = {
    "chest x-ray, normal": "chest x-ray, normal",
    "chest x-ray, bright spot": "chest x-ray, bright small sharp spot in upper left",
    "chest x-ray, dark level": "chest x-ray, dark large sharp level in lower right",
    "chest x-ray, bright ring": "chest x-ray, bright large sharp ring in middle right",
    "prostate mri, normal": "prostate mri, normal",
    "prostate mri, dark oval": "prostate mri, dark small sharp oval in upper left",
    "prostate mri, bright oval": "prostate mri, bright small sharp oval in lower right",
    "prostate mri, dark ring": "prostate mri, dark large sharp ring in middle left",
    "histology, normal": "histology, normal",
    "histology, dark spot": "histology, dark large sharp spot in middle left",
}
_XRAY_PROMPTS = {"normal": "frontal chest x-ray, normal"}

_FACTS: dict[str, dict[str, Any]] = {
    "builtin": {
        "name": "builtin",
        "family": "sd",
        "licence": "Apache-2.0",
        "attribution": "Trained from nothing on phantoms that embhub draws; no image of a person was used.",
        "prompts": _PHANTOM_PROMPTS,
        "left_out": ["prostate-cspca", "cxr-effusion"],
        "resolution": 128,
        "recommended": {"guidance": 2.5, "steps": 20},
        "figures": {},
    },
    "builtin-xray": {
        "name": "builtin-xray",
        "family": "sd",
        "licence": "CC-BY-4.0",
        "attribution": (
            "Trained on chest X-rays of Kermany, Zhang, Goldbaum 2018, Labeled Optical Coherence Tomography (OCT) "
            "and Chest X-Ray Images for Classification, Mendeley Data V2, doi:10.17632/rscbjbr9sj.2, CC BY 4.0; "
            "images were resized."
        ),
        "prompts": _XRAY_PROMPTS,
        "left_out": ["bacterial pneumonia", "viral pneumonia"],
        "resolution": 128,
        "recommended": {"guidance": 1.5, "steps": 20},
        "figures": {},
    },
}


def facts(name: str) -> dict[str, Any]:
    """A fresh copy of the facts of a built-in base, with no figures yet. Raises KeyError."""
    known = _FACTS[name]
    return {key: dict(value) if isinstance(value, dict) else value for key, value in known.items()}
