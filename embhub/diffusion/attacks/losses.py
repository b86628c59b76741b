"""Attacks on losses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from embhub.diffusion.attacks.evidence import Evidence, Suspect, measure_losses


def score_by_loss(evidence: Evidence) -> Tensor:
    """Members are fitted better: minus the loss (Yeom et al. 2018, arXiv 1709.01604; Matsumoto et al. 2302.03262)."""
    return -evidence.with_rows.mean(1)


def score_by_difference(evidence: Evidence) -> Tensor:
    """Members gain more from the embedding: loss without minus loss with it, so an image's difficulty cancels."""
    return (evidence.without - evidence.with_rows).mean(1)


def score_by_lira(evidence: Evidence) -> Tensor:
    """Offline LiRA (Carlini et al. 2022, arXiv 2112.03570): how far is the loss below that of models without the image?

    In standard deviations, one for each draw, pooled over images as its section VI advises for few references. An image
    that every reference has seen is compared with all of them, and the gain of those that saw an image is taken off, as
    it is on average over the images that some saw and others did not.

    Raises:
        ValueError: no references, or none that any image could be compared with.
    """
    if evidence.references is None or evidence.unseen is None:
        raise ValueError("LiRA needs reference embeddings")
    weight = evidence.unseen.double()[..., None]
    count = weight.sum(0)
    if not bool(count.any()):
        raise ValueError("every image was seen by every reference embedding")
    mean = (evidence.references * weight).sum(0) / count
    known = count[:, 0] > 0
    if not bool(known.all()):
        seen = (evidence.references * (1 - weight)).sum(0) / (len(weight) - count)
        both = known & (count[:, 0] < len(weight))
        gain = (mean - seen)[both].mean(0) if bool(both.any()) else torch.zeros_like(seen[0])
        mean = torch.where(known[:, None], mean, seen + gain)
    spare = float((count - 1).clamp(min=0).sum())
    spread = (((evidence.references - mean) ** 2 * weight).sum((0, 1)) / max(spare, 1.0)).sqrt()
    return ((mean - evidence.with_rows) / spread.clamp(min=1e-12)).mean(1)


def score_by_discrepancy(evidence: Evidence) -> Tensor:
    """CLiD: members gain more from the whole condition than from a part of it, and are fitted better as well.

    Zhai et al. 2024, arXiv 2405.14800, who shorten an image's text; here the condition is shortened to nothing, to the
    caption's other words, and to each half of the rows. The gain and minus the loss, each scaled by its median and
    quartiles, weigh the same: the paper fits the weight on a shadow model, and none is fitted here.

    Raises:
        ValueError: no embedding to ask.
    """
    suspect = evidence.interrogate()
    count = min(len(rows) for rows in suspect.rows.values())
    parts = [{name: rows[: -(-count // 2)] for name, rows in suspect.rows.items()}]
    parts += [{name: rows[count // 2 :] for name, rows in suspect.rows.items()}]
    reduced = [
        evidence.without,
        _losses(suspect, "", None),
        *(_losses(suspect, suspect.caption, part) for part in parts),
    ]
    gain = torch.stack([losses - evidence.with_rows for losses in reduced]).mean((0, 2))
    return (_scale(gain) + _scale(-evidence.with_rows.mean(1))) / 2


def _losses(suspect: Suspect, caption: str, rows: Mapping[str, Tensor] | None) -> Tensor:
    return measure_losses(
        suspect.pipe, suspect.latents, suspect.draws, caption=caption, token=suspect.token, rows=rows,
        prompts=suspect.prompts if caption else None,
    )  # fmt: skip


def _scale(values: Tensor) -> Tensor:
    """Centred on the median, in interquartile ranges."""
    quartiles = torch.quantile(values, torch.tensor([0.25, 0.5, 0.75], dtype=values.dtype))
    low, median, high = (float(part) for part in quartiles)
    return (values - median) / max(high - low, 1e-12)
