"""Whose images an evaluation used, by class: what its own site compares before it publishes figures of them."""

from __future__ import annotations

import hashlib

from embhub.cards.published_evaluation import Cohort, Group, Images
from embhub.diffusion.evaluation.material import Source
from embhub.site.memory.patients import key_patient


def gather(real: Source, test: Source, positive: str) -> Cohort | None:
    """The patients of both sides under the site's key; None where the images name no patients.

    Args:
        real: Images to train on.
        test: Images to test on.
        positive: The label of those with the finding.
    """
    if not (real.has_patients and test.has_patients):
        return None
    return Cohort(_by_class(real, positive), _by_class(test, positive))


def _by_class(source: Source, positive: str) -> tuple[Group, Group]:
    held: tuple[dict[str, list[bytes]], dict[str, list[bytes]]] = ({}, {})
    for name, label, digest in zip(source.names, source.labels, source.digests, strict=True):
        held[label != positive].setdefault(key_patient(name), []).append(digest)
    return _named(held[0]), _named(held[1])


def _named(held: dict[str, list[bytes]]) -> Group:
    return {
        patient: Images(len(digests), hashlib.sha256(b"".join(sorted(digests))).hexdigest())
        for patient, digests in held.items()
    }
