"""The copy check's report, `embhub.copy-check/1`: distances and verdicts, no training image and no hash of one.

It stays at the site: distances are measured from patients' images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.errors import ArtifactError

SCHEMA = "embhub.copy-check/1"
MAX_BYTES = 20_000_000
SMALLEST_SHARE = 0.9
"""Of planted copies of each kind, how many must be caught before silence means anything."""

Verdict = Literal["copies-suspected", "no-copies-found", "insufficient-evidence"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Figure = Annotated[float, Field(allow_inf_nan=False)]

MEASURES: Mapping[str, str] = {
    "pixel": "root mean square of the difference of pixels, at 64 x 64 at most; the least over"
    " mirroring and shifts by one pixel",
    "latent": "Euclidean distance in the latents of the base's own autoencoder; the least over mirroring",
    "perceptual": "Euclidean distance of normalised features of the encoder of the base's own autoencoder, at every"
    " depth, averaged over 8 x 8 places; the least over mirroring (the recipe of LPIPS without its learned weights)",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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


class Report(_Part):
    """A whole check. `threshold` is the p-value of one sample on one measure; `controls` their scores, sorted."""

    schema_: Literal["embhub.copy-check/1"] = Field(default="embhub.copy-check/1", alias="schema")
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
    verdict: Verdict

    @property
    def suspected(self) -> tuple[Sample, ...]:
        """The samples that came too near."""
        return tuple(sample for sample in self.samples if sample.suspected)

    @property
    def caught(self) -> float:
        """The smallest share of planted copies that was caught, over their kinds."""
        return min((item.caught / item.tried for item in self.planted), default=0.0)

    @property
    def statement(self) -> str:
        """The verdict in words that claim no more than was measured."""
        count = len(self.samples)
        tried = min((item.tried for item in self.planted), default=0)
        share = "all" if self.caught == 1 else f"{self.caught:.0%} or more"
        power = f"Of {tried} copies of each kind that were planted on purpose, {share} were caught."
        if self.verdict == "copies-suspected":
            return (
                f"{len(self.suspected)} of {count} images come nearer to a training image than images of other people"
                f" do: treat them as copies. {power}"
            )
        if self.verdict == "insufficient-evidence":
            return (
                f"None of {count} images was suspected, and that says little: {self.controls.units} {self.unit}s were"
                f" kept back to compare with, and this check misses copies. {power}"
            )
        return (
            f"None of {count} images comes strangely near to a training image, judged by {self.controls.units}"
            f" {self.unit}s kept back. {power} A likeness that none of the measures sees is not ruled out."
        )

    def to_bytes(self) -> bytes:
        """The file."""
        return self.model_dump_json(by_alias=True, indent=1).encode() + b"\n"


def parse(data: bytes) -> Report:
    """Read a report.

    Raises:
        ArtifactError: not one, or one whose verdict does not follow from its figures.
    """
    if len(data) > MAX_BYTES:
        raise ArtifactError("the copy check's report is too large", "run embhub copy-check again")
    try:
        report = Report.model_validate_json(data)
    except ValidationError as error:
        raise ArtifactError("the copy check's report is damaged", "run embhub copy-check again") from error
    follows = all(s.suspected == any(n.p <= report.threshold for n in s.measures.values()) for s in report.samples)
    if not follows or report.verdict != decide(report.suspected, report.planted):
        raise ArtifactError("the copy check's verdict does not follow from its figures", "run embhub copy-check again")
    return report


def decide(suspected: tuple[Sample, ...], planted: tuple[Planted, ...]) -> Verdict:
    """The verdict: one sample too near is enough, and silence means something only where planted copies were caught."""
    if suspected:
        return "copies-suspected"
    if planted and all(item.caught >= SMALLEST_SHARE * item.tried for item in planted):
        return "no-copies-found"
    return "insufficient-evidence"


def digest(data: bytes) -> str:
    """SHA-256 of a sample's file, lower-case hex."""
    return hashlib.sha256(data).hexdigest()
