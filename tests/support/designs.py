"""Registered audits for tests: designs, notices and results as a site signs them, and their entries in a log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from embhub.artifact.embedding import Embedding
from embhub.audits.report import Attempt, AuditReport
from embhub.cards import card
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.files import Release
from embhub.site.signing.keys import SigningKey
from embhub.trust import audit_designs, bundle, logged
from embhub.trust.audit_designs import Registration
from embhub.trust.bundle import Bundle
from tests.support import releases

COMMITMENT = "5e" * 32


@dataclass(frozen=True)
class Audit:
    """A registered audit of an embedding, with its report."""

    registration: Registration
    result: Bundle
    report: AuditReport
    key: SigningKey

    @property
    def before(self) -> list[bytes]:
        """The entries that the log holds before the audit runs: the notice, and the design after it."""
        return [entry(self.registration.notice, self.key), entry(self.registration.design, self.key)]

    @property
    def after(self) -> list[bytes]:
        """The entry of the result."""
        return [entry(self.result, self.key)]

    @property
    def files(self) -> dict[str, bytes]:
        """What a release holds of it."""
        return {
            release_files.AUDIT_DESIGN: bundle.to_json(self.registration.design.envelope),
            release_files.AUDIT_RESULT: bundle.to_json(self.result.envelope),
        }

    @property
    def row(self) -> dict[str, Any]:
        """A row of a registry's answer."""
        held = [self.registration.design, self.result]
        return dict(zip(("design", "result"), [json.loads(bundle.to_json(one.envelope)) for one in held], strict=True))


def entry(attestation: Bundle, key: SigningKey) -> bytes:
    """What the log holds of an attestation."""
    return logged.leaf_of(attestation.envelope, key.public).to_bytes()


def make_report(artifact: Embedding, *, number: int = 1, seed: int = 1, shift: float = 0.0) -> AuditReport:
    """As `releases.make_report`, numbered and with the commitment of its number."""
    plain = releases.make_report(artifact, seed=seed, shift=shift)
    return plain.model_copy(update={"attempt": Attempt(number=number, count=number), "commitment": commitment(number)})


def commitment(number: int) -> str:
    """What stands for the sides and seeds of audit `number`."""
    return f"{number:02x}" * 32


def register(
    artifact: Embedding, *, number: int = 1, key: SigningKey = releases.SITE, report: AuditReport | None = None,
    shift: float = 0.0, **changes: Any,
) -> Audit:  # fmt: skip
    """A registered audit, ended; `changes` go to its design."""
    report = report or make_report(artifact, number=number, shift=shift)
    facts = {
        "registry": releases.ORIGIN, "number": number, "suite": "quick", "shadows": 0,
        "bounds": report.design.bounds.model_dump(), "commitment": commitment(number), "tool": "embhub 0.1.0",
        "created": releases.NOW, **changes,
    }  # fmt: skip
    registration = audit_designs.register(audit_designs.build_design(artifact.digest, **facts), key=key)
    return Audit(registration, end(artifact, registration, report, key=key), report, key)


def end(artifact: Embedding, registration: Registration, report: AuditReport, *, key: SigningKey) -> Bundle:
    """The signed result of a registered audit."""
    result = audit_designs.build_result(
        artifact.digest, registry=releases.ORIGIN, design=registration.design.envelope.identity,
        report_digest=release_files.digest(report.to_bytes()), verdict=report.verdict, created=releases.NOW,
    )  # fmt: skip
    return audit_designs.sign_result(result, key=key)


def make_release(
    audit: Audit, artifact: Embedding, *, sheet: bytes | None = None, ledger: signing.HeadOf | None = None
) -> Release:
    """A signed release of a file with its registered audit."""
    changes = {} if sheet is None else {"samples": releases.record_of(sheet, artifact)}
    described = card.parse(releases.make_card(artifact, report=audit.report, **changes))
    files = {
        release_files.EMBEDDING: artifact.data, release_files.CARD: card.to_readme(described),
        release_files.AUDIT: audit.report.to_bytes(), **audit.files,
    }  # fmt: skip
    if sheet is not None:
        files[release_files.SAMPLES] = sheet
    return signing.sign(
        Release.from_files(files), registry=releases.ORIGIN, repository=releases.REPOSITORY, key=releases.SITE,
        now=releases.NOW, ledger=ledger,
    )  # fmt: skip
