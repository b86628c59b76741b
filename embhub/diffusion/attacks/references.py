"""Attacks on losses beside those of reference embeddings, of which it is known whom each was trained on.

No attack sees who is a member of the audited file. So if nothing leaks, every assignment of the members is equally
likely given the scores, and the rank test of the report is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from embhub.diffusion.attacks.evidence import Evidence
from embhub.diffusion.attacks.losses import score_by_difference, score_by_loss

_LEAST = 1e-12
RIDGE = 0.1
"""Penalty of the linear scorer, in shares of the number of examples."""
GAMMA = 1.0
"""By which factor an image must be more likely than another one to dominate it."""


def score_by_relative_likelihood(evidence: Evidence) -> Tensor:
    """RMIA: how many other images does this one dominate, by what the embedding added to its likelihood?

    Zarifzadeh, Liu and Shokri 2024, arXiv 2312.03262. The likelihood ratio of an image is its likelihood with the
    audited embedding over that with the references, half with its patient and half without; its score is the share of
    the other images whose ratio is at most 1 / GAMMA of its own. Log-likelihoods are minus losses; each draw is
    compared for itself, since losses at different timesteps are on different scales, and the shares are averaged.

    Raises:
        ValueError: no references.
    """
    losses, unseen = _references(evidence)
    sides = [_mean(losses, chosen) for chosen in (unseen, ~unseen)]
    # A side without a reference is left out, so that one reference is enough.
    expected = torch.stack([mean for mean, _ in sides]).nansum(0) / sum((count > 0).double() for _, count in sides)
    ratio = (expected - evidence.with_rows).T.contiguous()
    threshold = ratio - torch.log(torch.tensor(GAMMA, dtype=ratio.dtype))
    dominated = torch.searchsorted(ratio.sort(1).values, threshold, right=True)
    return ((dominated - 1).double() / max(1, len(evidence.with_rows) - 1)).mean(0)


def score_by_online_lira(evidence: Evidence) -> Tensor:
    """Online LiRA: is the loss likelier among references with the image or among those without it?

    Carlini et al. 2022, arXiv 2112.03570: log-likelihood ratio of two normal distributions, averaged over the draws.
    Their variance is pooled over images, as section VI advises for few references. For the same reason the distance
    of the two means is drawn towards that of all images, the more, the less the image's own references tell of it. A
    file that draws everything a little better shifts all losses; the mean shift is taken off.

    Raises:
        ValueError: no references, or no image that some references saw and others did not.
    """
    expected = _expect(evidence)
    gain = expected.outside - evidence.with_rows
    gain = gain - gain.mean(0) + expected.gap.mean(0) / 2
    return (expected.gap * (gain - expected.gap / 2) / expected.variance).mean(1)


def score_by_dataset_inference(evidence: Evidence) -> Tensor:
    """Dataset inference: a linear scorer of several attacks and of the loss at every timestep, tested on the whole set.

    After CDI, Dubiński et al. 2025, arXiv 2411.12858. The scorer learns from the references, each taken in turn for
    the audited file with the others as its references: whom they were trained on is known. It never sees a label of
    the audited file, so no part of its members is spent on fitting, and the rank test of its scores is the set's.

    Raises:
        ValueError: fewer than three references, or none that the others can be compared with.
    """
    losses, unseen = _references(evidence)
    if len(losses) < 3:
        raise ValueError("dataset inference needs three reference embeddings or more")
    features, labels = [], []
    for number in range(len(losses)):
        others = torch.arange(len(losses)) != number
        if not bool(_seen_by_some(unseen[others]).any()):
            continue  # of few references and few patients, those left may have seen all of an image or nothing of it
        posed = replace(evidence, with_rows=losses[number], references=losses[others], unseen=unseen[others])
        features.append(_describe(posed))
        labels.append((~unseen[number]).double() * 2 - 1)
    if not features:
        raise ValueError("dataset inference needs images that some references saw and others did not")
    known = torch.cat(features)
    target = torch.cat([label - label.mean() for label in labels])
    gram = known.T @ known + RIDGE * len(known) * torch.eye(known.shape[1], dtype=known.dtype)
    weights: Tensor = torch.linalg.solve(gram, known.T @ target)
    return _describe(evidence) @ weights


@dataclass(frozen=True)
class _Expected:
    """Loss `outside` (N, D) by references without the image, by how much those with it are better (`gap`, (N, D)), and
    the `variance` (D,) about either."""

    outside: Tensor
    gap: Tensor
    variance: Tensor


def _expect(evidence: Evidence) -> _Expected:
    losses, unseen = _references(evidence)
    (outside, without), (inside, having) = _mean(losses, unseen), _mean(losses, ~unseen)
    both = _seen_by_some(unseen)
    if not bool(both.any()):
        raise ValueError("online LiRA needs images that some references saw and others did not")
    own = outside - inside
    shared = own[both].mean(0)
    near = torch.where(unseen[..., None], outside, inside)
    spare = float((len(losses) - (without > 0).double() - (having > 0).double()).sum())
    variance = ((losses - near) ** 2).sum((0, 1)) / max(spare, 1.0)
    if spare < 1:  # one reference of each kind: what gaps differ by is all that is known of the noise
        variance = own[both].var(0, unbiased=False) / 2
    variance = variance.clamp(min=_LEAST)
    noise = variance * (1 / without.clamp(min=1) + 1 / having.clamp(min=1))
    true = (((own[both] - shared) ** 2).mean(0) - noise[both].mean(0)).clamp(min=0)
    weight = torch.where(both[:, None], true / (true + noise), torch.zeros_like(noise))
    gap = shared + weight * (own.nan_to_num() - shared)
    # Both kinds of reference say where the image lies: those that saw it, a gap lower.
    level = (outside.nan_to_num() * without + (inside.nan_to_num() + gap) * having) / len(losses)
    return _Expected(level, gap, variance)


def _describe(evidence: Evidence) -> Tensor:
    """Features (N, F) of each image, comparable between files: each has mean 0 and deviation 1 in each file."""
    expected = _expect(evidence)
    gains = (expected.outside - evidence.with_rows) / expected.variance.sqrt()
    attacks = (score_by_loss, score_by_difference, score_by_relative_likelihood, score_by_online_lira)
    scores = torch.stack([attack(evidence) for attack in attacks] + [gains.mean(1)], dim=1)
    found = torch.cat([scores, gains], dim=1)
    return (found - found.mean(0)) / found.std(0, unbiased=False).clamp(min=_LEAST)


def _references(evidence: Evidence) -> tuple[Tensor, Tensor]:
    if evidence.references is None or evidence.unseen is None:
        raise ValueError("this attack needs reference embeddings")
    return evidence.references, evidence.unseen


def _seen_by_some(unseen: Tensor) -> Tensor:
    """Which images (N,) some references saw and others did not."""
    return unseen.any(0) & ~unseen.all(0)


def _mean(losses: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss (N, D) over the references chosen for each image (R, N), else nan; their number (N, 1)."""
    weight = chosen.double()[..., None]
    count = weight.sum(0)
    return (losses * weight).sum(0) / count, count
