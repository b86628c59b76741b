"""Whom an embedding was trained on, as far as this site's record of the training says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embhub.errors import UsageError
from embhub.images import pixels
from embhub.images.images import ImageSet, read_sample, recall
from embhub.images.manifests.sample import Sample
from embhub.images.member_split import PLACE
from embhub.site.memory import runs
from embhub.site.memory.patients import key_patient


@dataclass(frozen=True)
class Learned:
    """Training patients under the site's key, and digests of the training images: one person may go by two ids.

    `complete`: every image names its patient, and is still where it was.
    """

    people: frozenset[str]
    pictures: frozenset[bytes]
    complete: bool


def find(embedding: str) -> Learned | None:
    """Whom the embedding with this SHA-256 was trained on; None where this site has no record of it."""
    if (run := runs.find(embedding)) is None:
        return None
    pictures = {_picture(sample) for sample in recall(run.members)}
    named = not any(PLACE.fullmatch(one.patient_id) for one in run.members)
    return Learned(
        frozenset(key_patient(one.patient_id) for one in run.members),
        frozenset(picture for picture in pictures if picture is not None),
        named and None not in pictures,
    )


def units_of(images: ImageSet, embeddings: Iterable[str]) -> frozenset[str]:
    """The units of `images` that one of the embeddings was trained on, by patient or by an identical picture."""
    known = [found for digest in embeddings if (found := find(digest)) is not None]
    if not known:
        return frozenset()
    people = frozenset[str]().union(*(one.people for one in known))
    pictures = frozenset[bytes]().union(*(one.pictures for one in known))
    return frozenset(
        images.unit(place)
        for place, sample in enumerate(images.samples)
        if (sample.patient_id is not None and key_patient(sample.patient_id) in people)
        or pixels.digest(read_sample(sample, images.kind)) in pictures
    )


def _picture(sample: Sample) -> bytes | None:
    try:
        return pixels.digest(read_sample(sample))
    except UsageError:
        return None
