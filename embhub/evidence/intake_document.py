"""`intake.json`, schema `embhub.intake/1`: everything that the intake sheet says, for programs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from embhub.audits.attack_figures import Strict
from embhub.audits.report import Digest
from embhub.evidence.document import Audit, FormField, Privacy, Subject, Tool
from embhub.evidence.written import Written
from embhub.formats.instants import Instant


class Source(Strict):
    """Where the release came from, and when it was verified: `registry` is null where files on this disk were read."""

    asked: str
    registry: str | None
    commit: str | None


class Signature(Strict):
    """Who signed, by the keyring of `registry`; the name is the keyring's, never the card's."""

    namespace: str
    name: str | None
    fingerprint: str
    registry: str
    signed: str
    revoked: str | None


class Check(Strict):
    """One check that was made here, and how it came out."""

    check: str
    outcome: Literal["ok", "note", "warning", "failed"]
    text: str


class ControlFile(Strict):
    """A file of the release that shows what was done for a control."""

    name: str
    sha256: Digest


class Control(Strict):
    """A control of an environment: `done` is null where nothing here shows it, `missing` says what is not shown."""

    control: str
    clause: str
    done: str | None
    files: tuple[ControlFile, ...]
    checked_by: str
    missing: str


class Intake(Written):
    """The whole sheet. `audit` is null where there is no report; `privacy` is the claim, recomputed here. `controls`
    are those of each standard that was asked for.
    """

    KIND: ClassVar[str] = "intake sheet"
    COMMAND: ClassVar[str] = "embhub evidence TARGET --out DIR"
    MAX_BYTES: ClassVar[int] = 2_000_000

    schema_: Literal["embhub.intake/1"] = Field(default="embhub.intake/1", alias="schema")
    made: Instant
    review_by: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    tool: Tool
    source: Source
    repository: str
    version: str
    subject: Subject
    card_sha256: Digest
    report_sha256: Digest | None
    publisher: Signature
    auditor: Signature | None
    countersigned: bool
    yanked: str | None
    warnings: tuple[str, ...]
    audit: Audit | None
    audit_words: str
    further_audits: tuple[str, ...]
    privacy: Privacy
    base: dict[str, str]
    says: dict[str, str]
    checks: tuple[Check, ...]
    limits: tuple[str, ...]
    decide: tuple[str, ...]
    form: tuple[FormField, ...]
    controls: dict[str, tuple[Control, ...]] = Field(default_factory=dict)
