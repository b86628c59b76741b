"""Whose images an evaluation used, by class: what its own site compares before it publishes figures of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from embhub.cards.published_evaluation import Cohort, Group, Images
from embhub.diffusion.evaluation.cells import choose
from embhub.diffusion.evaluation.material import Source
from embhub.site.memory.patients import key_patient


def gather(real: Source, test: Source, positive: str, *, count: int, seeds: int) -> Cohort | None:
    """The patients of both sides under the site's key; None where the images name no patients.

    Args:
        real: Images to train on.
        test: Images to test on.
        positive: The label of those with the finding.
        count: How many real images each repetition learned from: figures of these are published, and of no others.
        seeds: How many repetitions there were.
    """
    if not (real.has_patients and test.has_patients):
        return None
    pool = real.labelled(positive)
    trained = [choose(pool, count, seed).tolist() for seed in range(seeds)]
    each = [_by_class(real, positive, places) for places in trained]
    fewest = min((_evenly(group) for groups in each for group in groups), default=0)
    return Cohort(
        _by_class(real, positive, sorted({place for places in trained for place in places})),
        _by_class(test, positive, range(len(test.names))),
        fewest,
    )


def _evenly(group: Group) -> int:
    """How many patients there would be if each had as many images as the one with most."""
    counts = [images.count for images in group.values()]
    return sum(counts) // max(counts) if counts else 0


def _by_class(source: Source, positive: str, places: Iterable[int]) -> tuple[Group, Group]:
    held: tuple[dict[str, list[bytes]], dict[str, list[bytes]]] = ({}, {})
    for place in places:
        of_class = held[source.labels[place] != positive]
        of_class.setdefault(key_patient(source.names[place]), []).append(source.digests[place])
    return _named(held[0]), _named(held[1])


def _named(held: dict[str, list[bytes]]) -> Group:
    return {
        patient: Images(len(digests), hashlib.sha256(b"".join(sorted(digests))).hexdigest())
        for patient, digests in held.items()
    }
