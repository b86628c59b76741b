"""Reports of version 1, which old releases carry. They are read, never written, and no registry admits them any more.

They hold every patient's score to six digits beside the seed that made it: whoever holds a patient's image can compute
the score and look it up. `embhub.audits.report` turns their scores into the order of labels as soon as they are read.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

from embhub.audits.outdated import SCHEMA as SCHEMA
from embhub.audits.outdated import WARNING as WARNING

Verdict = Literal["leak-detected", "no-leak-detected", "insufficient-evidence"]
Count = Annotated[int, Field(ge=0)]
Score = Annotated[float, Field(allow_inf_nan=False)]
Scores = Annotated[tuple[Score, ...], FailFast(), Field(min_length=1, max_length=100_000)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Read(BaseModel):
    """Only what is used is read; the bytes are what was signed."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False, defer_build=True)


class Attack(_Read):
    """Scores of one attack, a unit each."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    models: Annotated[int, Field(ge=1, le=1000)] = 1
    member_scores: Scores
    nonmember_scores: Scores


class Group(_Read):
    """How many units and images stand on one side."""

    units: Count
    images: Count | None = None


class Design(_Read):
    """What was fixed beforehand, but for the seed."""

    draws: Count = 0
    reference_shadows: Count = 0
    target_shadows: Count = 0
    split: Literal[
        "by patient, kept back before training",
        "by image, kept back before training",
        "named by the caller",
        "given by the caller",
        "made up, in or out by a coin each",
    ]
    subject: Literal["embedding", "algorithm", "mechanism"] = "embedding"


class Claimed(_Read):
    """The epsilon and delta whose mechanism was tried."""

    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]


class Subject(_Read):
    """The audited file."""

    sha256: Digest


class Base(_Read):
    """The base model's fingerprint."""

    digest: Digest | None


class Report(_Read):
    """A report of version 1."""

    schema_: Literal["embhub.audit/1"] = Field(alias="schema")
    artifact: Subject
    base: Base
    suite: Literal["quick", "standard", "thorough", "mechanism"]
    unit: Literal["patient", "image", "canary"]
    members: Group
    nonmembers: Group
    design: Design
    headline: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    attacks: Annotated[tuple[Attack, ...], Field(min_length=1, max_length=20)]
    claim: Claimed | None = None
    verdict: Verdict
    statement: Annotated[str, Field(max_length=1000)]
    commitment: Digest | None = None
