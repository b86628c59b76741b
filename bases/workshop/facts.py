"""What is known of each built-in base before anything is measured: licence, attribution, taught prompts, what was
left out."""

from __future__ import annotations

from typing import Any

from embhub.diffusion.adaptation.base_training.from_images import describe

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
_KERMANY = (
    "Kermany, Zhang, Goldbaum 2018, Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for "
    "Classification, Mendeley Data V2, doi:10.17632/rscbjbr9sj.2, CC BY 4.0"
)
_NIH = (
    "chest X-rays provided by the NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC (Wang, Peng, Lu, "
    "Lu, Bagheri, Summers, ChestX-ray8, CVPR 2017)"
)
_BUSI = (
    "breast ultrasound images of Al-Dhabyani, Gomaa, Khaled, Fahmy 2020, Dataset of breast ultrasound images, Data in "
    "Brief 28:104863"
)
_LGG = (
    "FLAIR slices of TCGA-LGG (Pedano et al. 2016, doi:10.7937/K9/TCIA.2016.L4LTD3TK, CC BY 3.0; slices by Buda, Saha, "
    "Mazurowski 2019, for non-commercial use)"
)
_KVASIR = "crops of colonoscopy images of Kvasir-SEG (Jha et al. 2020), for research and education"
_LC25000 = "tiles of LC25000 (Borkowski et al. 2019, arXiv 1912.12142)"


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
    "builtin-xray": describe(
        "builtin-xray",
        "CC-BY-4.0",
        f"chest X-rays of {_KERMANY}, and {_NIH}",
        {"normal": "frontal chest x-ray, child, normal", "normal, adult": "frontal chest x-ray, adult, normal"},
        ["bacterial pneumonia", "viral pneumonia"],
    ),
    "builtin-ultrasound": describe(
        "builtin-ultrasound",
        "CC-BY-4.0",
        _BUSI,
        {"normal": "breast ultrasound, normal"},
        ["benign mass", "malignant mass"],
    ),
    "brain-mri": describe(
        "brain-mri",
        "CC-BY-NC-SA-4.0",
        _LGG,
        {"normal": "axial flair mri of the brain, normal"},
        ["glioma"],
    ),
    "colonoscopy": describe("colonoscopy", "other", _KVASIR, {"normal": "colonoscopy, normal"}, ["polyp"]),
    "histology": describe(
        "histology", "other", _LC25000, {"normal": "colon histology, normal"}, ["colon adenocarcinoma"]
    ),
}


def facts(name: str) -> dict[str, Any]:
    """A fresh copy of the facts of a built-in base, with no figures yet. Raises KeyError."""
    known = _FACTS[name]
    return {key: dict(value) if isinstance(value, dict) else value for key, value in known.items()}
