"""Whom an audit compares: images trained on and images kept back, by patient, with nobody on both sides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embhub.audits.report import Group, Unit
from embhub.errors import PrivacyError, UsageError
from embhub.images import pixels
from embhub.images.images import ImageSet, Pixels, read_images, read_sample, recall
from embhub.options.preprocessing import Fit
from embhub.site.memory import runs
from embhub.site.memory.patients import key_patient

PLACE = re.compile(r"image \d+")
"""What `ImageSet.unit` calls an image whose source names no patients."""

Source = str | Path | ImageSet | Sequence[runs.Sample]


@dataclass(frozen=True)
class Side:
    """Images of one side; `units` says whose each is, `digests` tells equal pictures apart and stays in memory.

    Without `has_patients` each image is a unit of its own.
    """

    images: ImageSet
    units: tuple[str, ...]
    digests: tuple[bytes, ...]
    has_patients: bool

    @property
    def group(self) -> Group:
        """The counts to publish."""
        return Group(units=len(set(self.units)), images=len(self.units))


@dataclass(frozen=True)
class Comparison:
    """Members, then non-members, in one order throughout: `units` and `inside` have one entry an image."""

    members: Side
    nonmembers: Side
    unit: Unit

    @property
    def units(self) -> tuple[str, ...]:
        """Whose each image is."""
        return self.members.units + self.nonmembers.units

    @property
    def inside(self) -> tuple[bool, ...]:
        """Which images were trained on."""
        return (True,) * len(self.members.units) + (False,) * len(self.nonmembers.units)

    def load(self, resolution: int, fit: Fit = "crop") -> Pixels:
        """All images (N, 3, resolution, resolution) in [-1, 1]."""
        return np.concatenate([side.images.load(resolution, fit) for side in (self.members, self.nonmembers)])

    def name(self, unit: str) -> str:
        """What the site calls a unit: the patient's id, or the file's name where images are units of their own."""
        if self.unit == "patient":
            return unit
        for side in (self.members, self.nonmembers):
            if unit in side.units:
                return str(side.images.samples[side.units.index(unit)].path.name)
        return unit

    def facts(self) -> dict[str, list[list[str]]]:
        """What the report's commitment seals: patient and picture of every image, each side sorted."""
        return {
            name: sorted([unit, digest.hex()] for unit, digest in zip(side.units, side.digests, strict=True))
            for name, side in (("members", self.members), ("nonmembers", self.nonmembers))
        }


def choose_sides(run: runs.Run | None, members: Source | None, nonmembers: Source | None) -> tuple[Source, Source]:
    """Images trained on and kept back: those named, else those remembered. Raises UsageError where there are none."""
    if run is None and (members is None or nonmembers is None):
        raise UsageError(
            "this site has no record of training this embedding",
            "name the images: --members for those trained on, --nonmembers for others of the same kind",
        )
    remembered: tuple[Source, Source] = ((), ()) if run is None else (run.members, run.holdout)
    chosen = (
        remembered[0] if members is None else members,
        remembered[1] if nonmembers is None else nonmembers,
    )
    if isinstance(chosen[1], tuple) and not chosen[1]:
        private = run is not None and "protection" in run.settings  # another training would spend epsilon again
        raise UsageError(
            "no patient was held out when this embedding was trained",
            "`embhub audit --suite mechanism` needs none; for an attack inside the site, name others: --nonmembers"
            if private
            else "train again with --holdout 0.3, or name --nonmembers",
        )
    return chosen


def compare(members: Source, nonmembers: Source) -> Comparison:
    """Read both sides and refuse what would make the comparison meaningless.

    Where either side names no patients, images are counted as units of their own.

    Raises:
        UsageError: an empty side, an image that is gone or unreadable.
        PrivacyError: a patient, or a picture, on both sides.
    """
    inside, outside = _read(members, "members"), _read(nonmembers, "non-members")
    if both := len(_people(inside) & _people(outside)):
        raise PrivacyError(
            f"{both} patients are among the members and among the non-members", "give each patient to one side"
        )
    if both := len(set(inside.digests) & set(outside.digests)):
        raise PrivacyError(
            f"{both} pictures are among the members and among the non-members", "take them out of the non-members"
        )
    if inside.has_patients and outside.has_patients:
        return Comparison(inside, outside, "patient")
    return Comparison(_by_image(inside, "member"), _by_image(outside, "non-member"), "image")


def _read(source: Source, name: str) -> Side:
    if isinstance(source, str | Path):
        source = read_images(source)
    if isinstance(source, ImageSet):
        samples, units = source.samples, [source.unit(index) for index in range(len(source))]
        has_patients = source.has_patients
    else:
        samples = recall(source)
        units = [sample.patient_id for sample in source]
        has_patients = not any(PLACE.fullmatch(unit) for unit in units)
    if not samples:
        raise UsageError(f"there are no {name} to compare", "keep patients back with `--holdout`, or name their images")
    sizes, digests = [], []
    for row, sample in enumerate(samples, start=1):
        if not all(path.is_file() for path in sample.paths):
            raise UsageError(f"image {row} of the {name} is no longer there", "restore it, or name the images")
        image = read_sample(sample, f"of the {name}, image")
        sizes.append(image.size)
        digests.append(pixels.digest(image))
    return Side(ImageSet(tuple(samples), tuple(sizes)), tuple(units), tuple(digests), has_patients)


def _people(side: Side) -> set[str]:
    """Those who are named, under the site's key: one side may name them in a manifest, the other in headers."""
    return {key_patient(unit) for unit in side.units if not PLACE.fullmatch(unit)}


def _by_image(side: Side, name: str) -> Side:
    units = tuple(f"{name} {index}" for index in range(len(side.units)))
    return Side(side.images, units, side.digests, has_patients=False)
