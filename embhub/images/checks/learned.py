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
    if (run := runs.find(embedding, otherwise="restore it from a backup")) is None:
        return None
    pictures = {_picture(sample) for sample in recall(run.members)}
    named = not any(PLACE.fullmatch(one.patient_id) for one in run.members)
    return Learned(
        frozenset(key_patient(one.patient_id) for one in run.members),
        frozenset(picture for picture in pictures if picture is not None),
        named and None not in pictures,
    )


def units_of(images: ImageSet, known: Iterable[Learned]) -> frozenset[str]:
    """The units of `images` whose patient, or an identical picture, is among those trained on."""
    found = list(known)
    return frozenset(
        images.unit(place)
        for place, (sample, digest) in enumerate(zip(images.samples, images.digests, strict=True))
        for one in found
        if digest in one.pictures or (sample.patient_id is not None and key_patient(sample.patient_id) in one.people)
    )


def _picture(sample: Sample) -> bytes | None:
    try:
        return pixels.digest(read_sample(sample))
    except UsageError:
        return None
