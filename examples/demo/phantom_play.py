"""The play with phantoms: a pleural effusion on a chest X-ray, a finding that the base model was not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bases.workshop.varied_judges import judge_for
from embhub import builtin_bases, phantoms
from examples.demo.scenario import Material, Pictures, Scale, Words, read_pictures

FINDING = "cxr-effusion"
FAINT, NOISE = (0.2, 0.5), 1.0  # so that few real images leave room; chosen from real-only results
WORDS = Words(
    title="One disease, two hospitals, no patient in between",
    lead=(
        "Hospital A trained a textual-inversion embedding on phantom chest X-rays with an effusion, a finding that the "
        "base model was not trained on. The training was differentially private. Hospital A tested the privacy code, "
        "signed the file and pushed it. Hospital B pulled it, verified it and generated images of the finding. The "
        "images are synthetic phantoms: no patient is involved."
    ),
    footer=(
        "Phantoms and base model: embhub, Apache-2.0. Every figure was computed in this run; summary.json holds all."
    ),
    repository="cxr-effusion",
    token="<effusion>",
    caption="chest x-ray, {}",
    base="builtin",
    generic="chest x-ray, bright sharp level in middle",
    normal="chest x-ray, normal",
    n_public=220,
    card={
        "description": "A bright level with a straight upper edge at the bottom of one lung of a phantom chest X-ray.",
        "modality": ["DX"],
        "anatomy": [{"system": "RadLex", "code": "RID1243", "display": "thorax"}],
        "finding": [{"system": "local", "code": "cxr-effusion", "display": "phantom of a pleural effusion"}],
        "labels": {"source": "known by construction", "annotators": "none"},
        "preprocessing": "none: rendered at 128 x 128 pixels",
        "deidentification": {"profile": ["not-dicom"], "pixel_review": "not-needed"},
        "legal_basis": "none needed: synthetic images, no person is involved",
        "consent_or_waiver": "not applicable: synthetic images",
        "ethics_ref": "not applicable: synthetic images",
        "limitations": "Phantoms, not patients. A small base model at 128 x 128 pixels.",
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
        for name, count, seed in (("pool", 60, 21), ("test", scale.test_images, 31))
    )
    base = builtin_bases.info(WORDS.base).path
    return Material(
        manifest=site,
        where=f"label={FINDING}",
        real=read_pictures(site),
        judge=lambda images: (
            judge_for(FINDING, base, size=scale.judge_examples, steps=scale.judge_steps)(images).target
        ),
        pool=_labelled(pool),
        test=_labelled(test),
        noise=NOISE,
    )


def _labelled(manifest: Path) -> tuple[Pictures, np.ndarray]:
    positive, negative = read_pictures(manifest, FINDING), read_pictures(manifest, phantoms.NORMAL)
    return np.concatenate([positive, negative]), np.repeat([1, 0], [len(positive), len(negative)])
