"""What the demo counts: how often a judge sees the finding, and whether drawn images help a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from examples.demo.scenario import Material, Pictures


def recognise(material: Material, drawn: Mapping[str, Pictures]) -> dict[str, Any]:
    """Shares of images in which the judge sees the finding: real ones, and each set of drawn ones."""
    shares = {name: round(float(material.judge(images).mean()), 3) for name, images in drawn.items()}
    real = round(float(material.judge(material.real).mean()), 3)
    count = len(drawn["after"])
    words = (
        f"The judge is a classifier trained on other images. It sees the finding in {real:.0%} of the real images, in "
        f"{shares['before']:.0%} of {count} drawn without the embedding, in {shares['generic']:.0%} drawn from the nearest "
        f"taught words, and in {shares['after']:.0%} drawn with the embedding."
    )
    if shares["after"] < 0.6:
        words += " That falls short of 60 %: this base model draws the finding only in part. Look at the pictures."
    return {**shares, "real": real, "n": count, "words": words}
