"""What the demo counts: how often a judge sees the finding, and whether drawn images help a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from bases.workshop import utility as classifiers
from embhub.progress import Progress
from examples.demo.scenario import Material, Pictures


def recognise(material: Material, drawn: Mapping[str, Pictures]) -> dict[str, Any]:
    """Shares of images in which the judge sees the finding: real ones, and each set of drawn ones."""
    shares = {name: round(float(material.judge(images).mean()), 3) for name, images in drawn.items()}
    real = round(float(material.judge(material.real).mean()), 3)
    count = len(drawn["after"])
    words = (
        f"The judge is a classifier trained on other images. It sees the finding in {real:.0%} of the real images; of "
        f"{count} drawn ones, in {shares['before']:.0%} without it, in {shares['generic']:.0%} from the "
        f"nearest taught words, in {shares['after']:.0%} with the embedding."
    )
    if shares["after"] < 0.6 * real:
        words += " That falls short of 60 % of the real share: this base draws the finding only in part. Look at it."
    return {**shares, "real": real, "n": count, "words": words}


ARMS = {
    classifiers.REAL: "real images only",
    classifiers.SYNTHETIC: "real, drawn with the embedding, drawn normals",
    classifiers.NORMALS: "real, drawn normals (what more negatives alone do)",
    classifiers.TAUGHT: "real, drawn from the nearest taught words, drawn normals",
}


def utility(material: Material, drawn: Mapping[str, Pictures], *, seeds: int, steps: int) -> dict[str, Any]:
    """Test AUC of a small classifier in every arm, with paired intervals over draws of the few real images."""
    with tqdm(desc="teaching classifiers", total=seeds * len(ARMS)) as bar:

        def advance(progress: Progress) -> None:
            bar.update(progress.done - bar.n)

        found = classifiers.compare(
            material.pool,
            material.test,
            positives=drawn["after"],
            normals=drawn["normal"],
            taught=drawn["generic"],
            seeds=seeds,
            steps=steps,
            noise=material.noise,
            on_progress=advance,
        )
    return {**found.to_dict(), "arms": [_arm(found, name) for name in ARMS]}


def _arm(found: classifiers.Utility, name: str) -> dict[str, Any]:
    aucs = [round(value, 6) for value in found.aucs[name]]
    row: dict[str, Any] = {"name": ARMS[name], "auc": round(sum(aucs) / len(aucs), 6), "each_seed": aucs}
    if name != classifiers.REAL:
        gain = found.gain(name)
        row |= {"gain": round(gain.mean, 6), "interval": [round(gain.low, 6), round(gain.high, 6)]}
    return row
