"""The evidence pack as a folder: `index.html`, `evidence.json`, and `sacro/<attack>.json` for output checkers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from embhub.artifact import embedding
from embhub.audits.report import AuditReport
from embhub.errors import ArtifactError, PrivacyError, UsageError
from embhub.evidence import document, folders, page
from embhub.evidence.document import Evidence
from embhub.evidence.gathering import gather
from embhub.evidence.languages import CODES, load
from embhub.evidence.sections import sacro
from embhub.evidence.sections.concerns import list_concerns
from embhub.ledger.spent import spent_on
from embhub.privacy.claim import DEFAULT_DELTA, PrivacyClaim
from embhub.privacy.second_opinion import SecondOpinion
from embhub.refusals import ReleaseRefusedError
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.site.memory import runs

PAGE, DOCUMENT, SACRO = "index.html", "evidence.json", "sacro"
_TRANSLATED = "index.{}.html"


def write_pack(
    file: str | Path,
    folder: str | Path,
    *,
    report: str | Path | None = None,
    now: datetime | None = None,
    languages: Sequence[str] = (),
) -> Evidence:
    """Write the pack about an embedding and one audit report of it; returns what `evidence.json` says.

    The folder appears whole or not at all; an earlier pack there is replaced, anything else is refused.

    Args:
        file: `NAME.safetensors`; its card and what else lies beside it is read too.
        folder: where the pack goes.
        report: the audit report  [default: `NAME.audit.json` beside the file, else `NAME.site-audit.json`].
        now: time of making, with its zone  [default: the clock].
        languages: codes of languages in which page one and the form are written too, as `index.CODE.html`.

    Raises:
        UsageError: there is no such file or report, or no translation into a language, or no Babel.
        ArtifactError: embedding or report is malformed, or the report is about another embedding.
        ConfigError: the folder holds something else, or cannot be written; or the training's record is damaged.
        LedgerTamperedError: the site's privacy ledger was changed.
    """
    file, folder, now = Path(file), Path(folder), now or datetime.now(UTC)
    check_place(folder)
    translations = [load(code) for code in languages]
    audited, data, found = read_report(file, report)
    release, fault = _read_release(file)
    if audited.artifact.sha256 != release.embedding.digest:
        raise ArtifactError(f"{found} is about another embedding than {file}", f"embhub audit {file}")
    ledger = ask_ledger(release)
    concerns = list_concerns(release, audited, card_fault=fault, ledger=ledger)
    evidence = gather(
        release, audited, name=file.stem, report_digest=release_files.digest(data), card_fault=fault, now=now,
        concerns=concerns, ledger=ledger, second_opinion=find_second_opinion(release),
    )  # fmt: skip
    translated = {
        _TRANSLATED.format(language.code): page.render_translation(
            evidence, audited, concerns=concerns, language=language
        ).encode()
        for language in translations
    }
    folders.write_whole(folder, {**_render(evidence, audited, now), **translated})
    return evidence


def read_report(file: Path, report: str | Path | None) -> tuple[AuditReport, bytes, Path]:
    """The report named, or the one beside the embedding: parsed, as bytes, and where it lies.

    Raises:
        UsageError: there is none.
        ArtifactError: it is malformed.
    """
    found = Path(report) if report is not None else at_the_site.beside(file, at_the_site.AUDIT)
    stays = at_the_site.beside(file, at_the_site.SITE_AUDIT)  # about patients, beside a privacy claim
    if report is None and not found.is_file() and stays.is_file():
        found = stays
    if not found.is_file():
        raise UsageError(f"there is no audit report {found}", f"embhub audit {file}")
    data = release_files.read_file(found, limit=release_files.LIMITS[release_files.AUDIT])
    return AuditReport.parse(data), data, found


def check_place(folder: Path) -> None:
    """Refuse a folder that the pack cannot go to, before hours of attacks rather than after.

    Raises:
        ConfigError: it holds something that is no earlier pack, or cannot be written.
    """
    others = {PAGE, SACRO, *map(_TRANSLATED.format, CODES)}
    folders.check(folder, DOCUMENT, Evidence.parse, beside=others, what="evidence pack")


def ask_ledger(release: Release) -> document.Ledger | None:
    """What this site's ledger counts for those in the training; None where it knows nothing of it.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read.
    """
    claim = release.embedding.privacy
    delta = claim.delta if isinstance(claim, PrivacyClaim) else DEFAULT_DELTA
    spent = spent_on(release.embedding.digest, delta=delta)
    return None if spent is None else document.Ledger(trainings=spent.trainings, epsilon=spent.epsilon)


def find_second_opinion(release: Release) -> SecondOpinion | None:
    """What opacus said of the claim, by this site's record of the training; None where there is none.

    Raises:
        ConfigError: the record is damaged, or others can read it.
    """
    run = runs.find(release.embedding.digest)
    return None if run is None else run.second_opinion


def _read_release(file: Path) -> tuple[Release, str | None]:
    """What lies beside the file; without the card, and why, where the card is absent or not complete."""
    embedding.read(file)
    try:
        release = at_the_site.read(file)
        if release_files.CARD in release.files:
            _ = release.card
            return release, None
        return release, f"none lies beside {file.name}; embhub card init writes one"
    except (ArtifactError, PrivacyError, ReleaseRefusedError) as error:
        files = {release_files.EMBEDDING: embedding.read_bytes(file)}
        shipped = at_the_site.beside(file, at_the_site.AUDIT)
        if shipped.is_file():
            files[release_files.AUDIT] = release_files.read_file(
                shipped, limit=release_files.LIMITS[release_files.AUDIT]
            )
        return Release.from_files(files), error.message


def _render(evidence: Evidence, report: AuditReport, now: datetime) -> Mapping[str, bytes]:
    files = {PAGE: page.render(evidence, report).encode(), DOCUMENT: evidence.to_bytes()}
    for result in report.attacks:
        if not result.on_coins:
            continue  # its curve would reveal who was trained on, and a reader of this shape expects one
        exported = sacro.export(report, result, now=now)
        files[f"{SACRO}/{result.name}.json"] = json.dumps(exported, indent=1).encode() + b"\n"
    return files
