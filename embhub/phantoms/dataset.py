"""A folder of phantoms with a manifest, as a site would hold images: patients, labels, neutral file names."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from embhub.phantoms import varied
from embhub.phantoms.findings import HELD_OUT, Finding, target_finding

NORMAL = "normal"
OTHER = "other"


def write_dataset(
    folder: str | Path,
    finding_name: str,
    *,
    images: int,
    patients: int,
    seed: int,
    normals: int = 0,
    others: int = 0,
    strength: tuple[float, float] = (0.7, 1.0),
) -> Path:
    """Write PNGs (128 x 128 RGB) and `manifest.csv` (`path,patient_id,label`) into `folder`; return the manifest's
    path.

    `images` of the held-out finding (label: `finding_name`) are shared out over `patients`, each of one to three
    correlated images as far as the numbers allow; `normals` (label `normal`) and `others` (label `other`, look-
    alikes) come from further patients at the same rate. Names say nothing of a label, and rows are shuffled by
    patient. `strength` is the opacity of the finding: lower is harder to see. Raises KeyError on an unknown finding,
    ValueError on numbers that do not fit.
    """
    held = HELD_OUT[finding_name]
    if not 1 <= patients <= images:
        raise ValueError(f"{images} images cannot come from {patients} patients: need 1 to {images}")
    root = Path(folder)
    (root / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rate = patients / images
    groups = [(finding_name, images, patients)]
    groups += [
        (label, count, max(1, round(count * rate))) for label, count in ((NORMAL, normals), (OTHER, others)) if count
    ]
    people = [(label, number) for label, count, people in groups for number in _share(count, people, rng)]
    ids = rng.permutation(len(people))
    rows: list[tuple[str, str, str]] = []
    for order, which in enumerate(ids):
        label, number = people[int(which)]
        anatomy = int(rng.integers(2**31))
        findings: tuple[Finding, ...] = ()
        if label == finding_name:
            findings = (target_finding(finding_name, rng, strength),)
        elif label == OTHER:
            findings = varied.near_misses(finding_name, rng)
        for _ in range(number):
            picture = varied.draw(held.modality, findings, rng, patient=anatomy)
            name = f"images/{len(rows):05d}.png"
            Image.fromarray(picture.image).save(root / name)
            rows.append((name, f"P{order:04d}", label))
    manifest = root / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "patient_id", "label"))
        writer.writerows(rows)
    return manifest


def _share(images: int, patients: int, rng: np.random.Generator) -> list[int]:
    """How many images each patient has: at least one, three at most where that is enough, adding up to `images`."""
    most = max(3, -(-images // patients))
    shares = np.ones(patients, int)
    for _ in range(images - patients):
        open_ = np.flatnonzero(shares < most)
        shares[rng.choice(open_)] += 1
    return [int(share) for share in shares]
