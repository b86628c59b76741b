"""The play with real chest X-rays: bacterial pneumonia, a label that the base model was never shown or told of."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bases.workshop import xray
from bases.workshop.public_images import is_held_out
from bases.workshop.xray_judge import colour, xray_judge_for
from embhub.errors import UsageError
from examples.demo.scenario import Material, Pictures, Scale, Words

FINDING = "bacterial pneumonia"
NORMAL = "normal"
IMAGES = 144  # at most, of each hospital
NOISE = (
    1.0  # standard deviation in half ranges; without it real images alone saturate (docs/explanation/base-models.md)
)
ATTRIBUTION = (
    "Images: Kermany, Zhang, Goldbaum 2018, Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for "
    "Classification, Mendeley Data V2, doi:10.17632/rscbjbr9sj.2, CC BY 4.0; resized."
)
WORDS = Words(
    title="Bacterial pneumonia, learned from real chest X-rays",
    lead=(
        "The base model was trained on normal chest X-rays alone. Hospital A trained a textual-inversion embedding on "
        f"{IMAGES} public X-rays of children with bacterial pneumonia, with differential privacy. It tested the "
        "privacy code, signed the file and pushed it. Hospital B pulled it, verified it and drew from it."
    ),
    footer=(
        f"{ATTRIBUTION} The few real images of the classifier comparison and its test images are of patients that "
        "hospital A does not have. Every figure was computed in this run; summary.json holds all."
    ),
    attribution=ATTRIBUTION,
    repository="cxr-bacterial-pneumonia",
    token="<bacterial>",
    caption="frontal chest x-ray, child, {}",
    base="builtin-xray",
    generic="frontal chest x-ray, child, foxtrot",
    normal="frontal chest x-ray, child, normal",
    n_public=80,
    card={
        "description": "Bacterial pneumonia on paediatric frontal chest X-rays.",
        "modality": ["DX"],
        "view": "frontal",
        "anatomy": [{"system": "RadLex", "code": "RID1243", "display": "thorax"}],
        "finding": [{"system": "local", "code": "bacterial-pneumonia", "display": "bacterial pneumonia"}],
        "labels": {"source": "the data set, doi:10.17632/rscbjbr9sj.2", "annotators": "as the source describes them"},
        "preprocessing": "centre crop, 128 x 128 pixels",
        "deidentification": {"profile": ["not-dicom"], "pixel_review": "none"},
        "legal_basis": "public data set under CC BY 4.0",
        "consent_or_waiver": "as the source describes them",
        "ethics_ref": "as the source describes it: doi 10.17632/rscbjbr9sj.2",
        "limitations": "Children of one centre; 128 x 128 pixels; bacterial and viral pneumonia overlap.",
    },
)


def prepare(folder: Path, data: Path, scale: Scale) -> Material:
    """Site A's manifest from `site` patients; judge and test from others. Raises UsageError without the data."""
    wanted = xray.LABELS.index(FINDING)
    images = min(IMAGES, scale.images)
    site = manifest(folder, data, images)
    pool, test = xray.other_hospital(data, FINDING, images), xray.read(data, "test", (NORMAL, FINDING))
    return Material(
        manifest=site,
        where=f"label={FINDING}",
        real=colour(xray.read(data, "site", (FINDING,)).images),
        judge=lambda images: xray_judge_for(data, WORDS.base, steps=scale.judge_steps)(images).argmax(1) == wanted,
        pool=_labelled(pool),
        test=_labelled(test),
        noise=NOISE,
    )


def manifest(folder: Path, data: Path, most: int, parts: Sequence[str] = ("site",)) -> Path:
    """Patients of `parts` with the finding, at most `most` images, as site A holds them: files and a manifest.

    None of them decided when the base's training stopped.
    """
    index = data / "chest-xray" / "index.csv"
    if not index.exists():
        raise UsageError(
            f"no {index}", "say where the images are: make demo-xray DATA=folder (it holds chest-xray/index.csv)"
        )
    part_of = xray.split()
    with index.open(newline="", encoding="utf-8") as file:
        sick = [row for row in csv.DictReader(file) if row["label"] == FINDING]
    mine = [row for row in sick if part_of[row["patient_id"]] in parts]
    rows = [row for row in mine if part_of[row["patient_id"]] == "site" or not is_held_out(row["patient_id"])][:most]
    images = folder / "site-a-images"
    images.mkdir(parents=True)
    with (images / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "patient_id", "label"))
        for number, row in enumerate(rows):
            name = f"{number:05d}.png"
            Image.open(index.parent / row["path"]).convert("L").save(images / name)
            writer.writerow((name, row["patient_id"], row["label"]))
    return images / "manifest.csv"


def _labelled(films: xray.Films) -> tuple[Pictures, np.ndarray]:
    return colour(films.images), (films.labels == xray.LABELS.index(FINDING)).astype(np.int64)
