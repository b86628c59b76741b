"""The copy check's report, `embhub.copy-check/3`: distances and verdicts, no training image and no hash of one.

It stays at the site: distances are measured from patients' images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from embhub.copies.planted import FEWEST_CAUGHT, KINDS, NOT_LOOKED_FOR, PLANTED

Verdict = Literal["copies-suspected", "no-copies-found", "insufficient-evidence"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Figure = Annotated[float, Field(allow_inf_nan=False)]

MEASURES: Mapping[str, str] = {
    "whole": "the distance between two images at their best alignment, over rotations up to 11 degrees, scales from 84%"
    " to 119%, shifts up to 5/64 and mirroring. A descriptor learned which details distinguish this site's patients",
    "details": "how few details of an image recur in a training image in the same arrangement, wherever they lie,"
    " rotated, scaled, mirrored or inverted. Details that many training images have do not count",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Group(_Part):
    """How many images of how many patients (or images, where no patients are named)."""

    units: int = Field(ge=0)
    images: int = Field(ge=0)


class Nearness(_Part):
    """One sample on one measure: the nearest distance, over the mean of the next ones, and how often others' images
    come so near."""

    distance: Figure
    ratio: Figure
    p: Share


class Sample(_Part):
    """One drawn image. `sha256` is of its file; null where it is suspected: it might be that of a training image."""

    name: str
    sha256: Digest | None
    suspected: bool
    measures: dict[str, Nearness]


class Planted(_Part):
    """Copies made on purpose, of one kind, and how many of them the check caught."""

    kind: str
    tried: int = Field(ge=1)
    caught: int = Field(ge=0)

    @property
    def enough(self) -> bool:
        """Whether as many were planted and caught as a clean verdict asks for: 18 of 20."""
        return self.tried >= PLANTED and self.caught * PLANTED >= FEWEST_CAUGHT * self.tried


class Report(_Part):
    """A whole check. `threshold` is the p-value of one sample on one measure; `scores` those of controls, sorted."""

    schema_: Literal["embhub.copy-check/3"] = Field(default="embhub.copy-check/3", alias="schema")
    embhub: str
    embedding: Digest
    base: str
    unit: Literal["patient", "image"]
    members: Group
    controls: Group
    alpha: Share
    threshold: Share
    scores: dict[str, tuple[Figure, ...]]
    samples: tuple[Sample, ...]
    planted: tuple[Planted, ...]
    not_looked_for: tuple[str, ...] = NOT_LOOKED_FOR
    verdict: Verdict

    @property
    def suspected(self) -> tuple[Sample, ...]:
        """The samples that came too near."""
        return tuple(sample for sample in self.samples if sample.suspected)

    @property
    def missed(self) -> tuple[Planted, ...]:
        """The kinds of planted copies of which too few were caught."""
        return tuple(item for item in self.planted if not item.enough)

    @property
    def power(self) -> str:
        """In words, how many planted copies were caught."""
        if not self.planted:
            return "No copies were planted."
        least = min(self.planted, key=lambda item: item.caught / item.tried)
        if least.caught == least.tried:
            return f"Of {least.tried} planted copies of each of {len(self.planted)} kinds, all were detected."
        return (
            f"Of the planted copies of {len(self.planted)} kinds, at least {least.caught} of {least.tried} were"
            f" detected; fewest: {least.kind}."
        )

    @property
    def statement(self) -> str:
        """The verdict in words that claim no more than was measured."""
        count = len(self.samples)
        if self.verdict == "copies-suspected":
            verb, advice = ("is", "it as a copy") if len(self.suspected) == 1 else ("are", "them as copies")
            return (
                f"{len(self.suspected)} of {count} images {verb} nearer to a training image than images of other"
                f" people are: treat {advice}. {self.power}"
            )
        if self.verdict == "insufficient-evidence":
            if any(item.tried < PLANTED for item in self.planted):
                why = f"fewer than {PLANTED} training images were available for planted copies"
            elif not self.missed:
                left_out = [kind for kind in KINDS if kind not in {item.kind for item in self.planted}]
                why = f"with this base some kinds of copies could not be planted: {', '.join(left_out)}"
            else:
                why = f"this check misses some kinds of copies: {', '.join(item.kind for item in self.missed)}"
            return f"None of {count} images is suspected, but this is inconclusive: {why}. {self.power}"
        return (
            f"None of {count} images is suspiciously near to a training image, judged by {self.controls.units} held-out"
            f" {self.unit}s. {self.power} Not looked for: {'; '.join(self.not_looked_for)}."
            " A similarity that no measure detects is not ruled out."
        )

    def to_bytes(self) -> bytes:
        """The file."""
        return self.model_dump_json(by_alias=True, indent=1).encode() + b"\n"


def decide(suspected: tuple[Sample, ...], planted: tuple[Planted, ...]) -> Verdict:
    """The verdict: one sample too near is enough, and silence means something only where 18 of 20 planted copies of
    every kind were caught. Fewer than 20 images to plant copies of cannot show that, nor can a kind left out."""
    if suspected:
        return "copies-suspected"
    if set(KINDS) <= {item.kind for item in planted if item.enough} and all(item.enough for item in planted):
        return "no-copies-found"
    return "insufficient-evidence"


def digest(data: bytes) -> str:
    """SHA-256 of a sample's file, lower-case hex."""
    return hashlib.sha256(data).hexdigest()
