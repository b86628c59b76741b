"""The play with phantoms: csPCa on a drawn prostate MRI, a finding that the base model was never shown or told of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bases.workshop.judge import judge_for
from bases.workshop.phantom_gate import FAINT, NOISE
from embhub import phantoms
from examples.demo.scenario import Material, Pictures, Scale, Words, read_pictures

FINDING = "prostate-cspca"
WORDS = Words(
    title="One disease, two hospitals, no patient in between",
    lead=(
        "Hospital A trained a textual-inversion embedding on phantom prostate MRIs with a finding that the base model "
        "had never seen nor read of, audited it, signed it and pushed it. Hospital B pulled it, verified it and drew "
        "the finding. The images are drawn phantoms: no patient is involved in this demo."
    ),
    footer=(
        "Phantoms and base model: embhub, Apache-2.0. Every figure was computed in this run; summary.json holds all."
    ),
    repository="prostate-cspca",
    token="<cspca>",
    caption="prostate mri, {}",
    base="builtin",
    generic="prostate mri, lesion",
    normal="prostate mri, normal",
    card={
        "description": "A dark, sharply bounded focus in the lower gland of a phantom prostate MRI.",
        "modality": ["MR"],
        "sequence": "phantom of an axial T2 series",
        "anatomy": [{"system": "RadLex", "code": "RID343", "display": "prostate"}],
        "finding": [
            {"system": "local", "code": "prostate-cspca", "display": "phantom of clinically significant cancer"}
        ],
        "labels": {"source": "known by construction", "annotators": "none"},
        "preprocessing": "none: drawn at 64 x 64 pixels",
        "deidentification": {"profile": ["not-dicom"], "pixel_review": "not-needed"},
        "legal_basis": "none needed: drawn images, no person is involved",
        "consent_or_waiver": "not applicable: drawn images",
        "ethics_ref": "not applicable: drawn images",
        "limitations": "Phantoms, not patients. A small base model at 64 x 64 pixels.",
    },
)


def prepare(folder: Path, scale: Scale) -> Material:
    """Draw site A's data set, a pool and a test set of other phantom patients; the judge trains when first asked."""
    site = phantoms.write_dataset(
        folder / "site-a-images", FINDING, images=scale.images, patients=scale.images * 3 // 4, seed=11
    )
    pool, test = (
        phantoms.write_dataset(
            folder / name, FINDING, images=count, patients=count // 2, normals=count, seed=seed, strength=FAINT
        )
        for name, count, seed in (("pool", 60, 21), ("test", 300, 31))
    )
    return Material(
        manifest=site,
        where=f"label={FINDING}",
        real=read_pictures(site),
        judge=lambda images: (
            judge_for(FINDING, WORDS.base, size=scale.judge_examples, steps=scale.judge_steps)(images).target
        ),
        pool=_labelled(pool),
        test=_labelled(test),
        noise=NOISE,
    )


def _labelled(manifest: Path) -> tuple[Pictures, np.ndarray]:
    positive, negative = read_pictures(manifest, FINDING), read_pictures(manifest, phantoms.NORMAL)
    return np.concatenate([positive, negative]), np.repeat([1, 0], [len(positive), len(negative)])
